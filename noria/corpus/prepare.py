"""All steps of the corpus, in order: files in, three splits and a report out.

In: the files that the recipe names. Out: `train.jsonl`, `held_out.jsonl`, `test.jsonl`,
`dropped.jsonl` (what was left out, why, and what it duplicates), `quarantine.jsonl` (what could not
be read, where and why) and `report.json`; records of shapes that nothing trains on yet lie in a
folder of their shape, split likewise.
The same files and settings give the same bytes. This module does not know tokens.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from noria.corpus.clean import clean_text
from noria.corpus.contents import map_texts
from noria.corpus.decontaminate import drop_contaminated
from noria.corpus.deduplicate import RecordT, drop_duplicates, source_order, whole_text
from noria.corpus.deidentify import replace_identities
from noria.corpus.language import guess_language
from noria.corpus.read import Intake, Request, SourceFile, Wanted, read_requests
from noria.corpus.split import SPLITS, split_records
from noria.errors import InputError
from noria.recipe import CorpusSettings
from noria.records import (
    Content,
    Conversation,
    Document,
    Record,
    Source,
    Tagged,
    content_text,
    record_texts,
    text_content,
    write_records,
)

REPORT_FORMAT = 1
TRAINED = ("document", "conversation")
OTHERS = ("labelled", "tagged", "pair", "preference")  # stored in folders of their own
Progress = Callable[[str, int, int], None]


@dataclass
class _Tally:
    """What the steps counted, and what they dropped."""

    changed: int = 0
    too_short: int = 0
    exact: int = 0
    near: int = 0
    contaminated: int = 0
    identities: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, reason: str, source: Source, **more: Any) -> None:
        self.dropped.append({"reason": reason, "source": asdict(source), **more})


def prepare_corpus(
    files_documents: list[SourceFile],
    files_tagged: list[SourceFile],
    files_conversations: list[SourceFile],
    settings: CorpusSettings,
    seed: int,
    out: Path,
    progress: Progress,
    sources: Sequence[Request] = (),
) -> dict[str, Any]:
    """Write the three splits, what is in quarantine and the report into `out`; returns the report.

    `progress` gets (step, done, total). Raises InputError for a file that changes meanwhile, or if
    fewer than three records are left.
    """
    tally = _Tally()
    requests = [
        *(Request(file, Wanted(shape="document")) for file in files_documents),
        *(Request(file, Wanted(shape="document", format="tagged")) for file in files_tagged),
        *(Request(file, Wanted(shape="conversation")) for file in files_conversations),
        *sources,
    ]
    out.mkdir(parents=True, exist_ok=True)
    hide = _hidden if settings.identities == "replace" else str
    intake = read_requests(requests, out / "quarantine.jsonl", hide, progress)
    num_read = {f"{name}s": len(intake.records[name]) for name in TRAINED}
    num_read |= {name: len(intake.records[name]) for name in OTHERS if intake.records[name]}
    total = sum(num_read.values())
    documents = [one for one in intake.records["document"] if isinstance(one, Document)]
    chats = [one for one in intake.records["conversation"] if isinstance(one, Conversation)]
    if not documents and not chats:
        raise _nothing_to_train_on(intake)
    documents = _clean_documents(documents, settings, tally, progress, total)
    chats = _clean_conversations(chats, settings, tally, progress, total)
    documents = _distinct(documents, settings, tally, progress)
    chats = _distinct(chats, settings, tally, progress)
    try:
        splits = _split(documents, chats, settings, seed)
    except InputError as error:
        raise InputError(f"{error.given}{_lost(intake)}", error.expected, error.fix) from error
    others = _other_shapes(intake, settings, seed, tally, progress)
    measured = [
        record for some in (splits, *others.values()) for record in some["held_out"] + some["test"]
    ]
    for some in (splits, *others.values()):
        some["train"], contaminated = drop_contaminated(
            some["train"], measured, lambda done, of: progress("decontaminate", done, of)
        )
        tally.contaminated += len(contaminated)
        for record in contaminated:
            tally.drop("contaminated", record.source)
    if not splits["train"]:
        raise InputError(
            "nothing is left to train on: every document shares a passage with a held-out one",
            "documents that differ",
            "add text, or lower corpus.held_out and corpus.test",
        )
    report = _report([request.file for request in requests], num_read, tally, splits)
    report |= intake.report()
    for shape, some in others.items():
        report["splits_by_shape"] = report.get("splits_by_shape", {})
        report["splits_by_shape"][shape] = {name: _sizes(some[name]) for name in SPLITS}
        _write_splits(out / shape, some)
    _write(out, splits, tally, report, progress)
    return report


def _hidden(text: str) -> str:
    return replace_identities(text)[0]


def _nothing_to_train_on(intake: Intake) -> InputError:
    """Why a corpus without documents and conversations can't be made."""
    read = [f"{len(some):,} {name}" for name, some in intake.records.items() if some]
    return InputError(
        f"no document and no conversation was read, but {', '.join(read) or 'nothing'}"
        f"{_lost(intake)}",
        "text to train on",
        "mend the files, or say what they are under [sources.NAME]",
    )


def _lost(intake: Intake) -> str:
    """What went into quarantine, as a remark behind what an error says; nothing if nothing did."""
    if not intake.num_quarantined:
        return ""
    one = next(iter(intake.examples.values()))[0]
    place = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
    return f" ({intake.num_quarantined:,} in quarantine, the first {place}: {one['reason'][:200]})"


def _other_shapes(
    intake: Intake, settings: CorpusSettings, seed: int, tally: _Tally, progress: Progress
) -> dict[str, dict[str, list[Record]]]:
    """Cleaned, distinct and split records of the shapes that no training reads yet."""
    splits = {}
    for shape in OTHERS:
        records = intake.records[shape]
        cleaned = []
        for index, record in enumerate(records):
            found = map_texts(record, lambda text: _clean_text(text, settings, tally))
            if not all(record_texts(found)) or _has_identity(found, settings):
                tally.too_short += 1
                tally.drop("too short", record.source)
            else:
                cleaned.append(found)
            progress("clean", index + 1, len(records))
        kept = _distinct(cleaned, settings, tally, progress)
        if kept:
            few = len(kept) < 3
            dealt = {name: [] for name in SPLITS} if few else split_records(kept, settings, seed)
            if few:
                dealt["train"] = kept
            splits[shape] = {name: sorted(dealt[name], key=source_order) for name in SPLITS}
    return splits


def _has_identity(record: Record, settings: CorpusSettings) -> bool:
    """Whether an identity runs over the edge of a tag, where no piece showed it."""
    if settings.identities != "replace" or not isinstance(record, Tagged):
        return False
    return bool(replace_identities(content_text(record.content))[1])


def _clean_content(content: Content, settings: CorpusSettings, tally: _Tally) -> Content:
    return text_content(_clean_text(content_text(content), settings, tally))


def _clean_text(text: str, settings: CorpusSettings, tally: _Tally) -> str:
    cleaned = clean_text(text)
    tally.changed += cleaned != text
    if settings.identities == "replace":
        cleaned, counts = replace_identities(cleaned)
        tally.identities.update(counts)
    return cleaned


def _clean_documents(
    documents: list[Document],
    settings: CorpusSettings,
    tally: _Tally,
    progress: Progress,
    total: int,
) -> list[Document]:
    kept = []
    for index, record in enumerate(documents):
        content = _clean_content(record.content, settings, tally)
        if len(content_text(content)) >= settings.min_characters:
            kept.append(replace(record, content=content))
        else:
            tally.too_short += 1
            tally.drop("too short", record.source)
        progress("clean", index + 1, total)
    return kept


def _clean_conversations(
    chats: list[Conversation],
    settings: CorpusSettings,
    tally: _Tally,
    progress: Progress,
    total: int,
) -> list[Conversation]:
    """Clean every message; a chat in which one is empty then is left out."""
    kept = []
    for index, record in enumerate(chats):
        messages = tuple(
            replace(message, content=_clean_content(message.content, settings, tally))
            for message in record.messages
        )
        if all(content_text(message.content) for message in messages):
            kept.append(replace(record, messages=messages))
        else:
            tally.too_short += 1
            tally.drop("too short", record.source)
        progress("clean", total - len(chats) + index + 1, total)
    return kept


def _distinct(
    records: list[RecordT], settings: CorpusSettings, tally: _Tally, progress: Progress
) -> list[RecordT]:
    result = drop_duplicates(
        records,
        settings.near_duplicates,
        lambda done, total: progress("deduplicate", done, total),
    )
    tally.exact += len(result.exact)
    tally.near += len(result.near)
    for reason, drops in (("exact duplicate", result.exact), ("near duplicate", result.near)):
        for drop in drops:
            tally.drop(
                reason,
                drop.source,
                duplicate_of=asdict(drop.duplicate_of),
                similarity=round(drop.similarity, 4),
            )
    for record in result.kept:
        tally.languages[guess_language(whole_text(record))] += 1
    return result.kept


def _split(
    documents: list[Document], chats: list[Conversation], settings: CorpusSettings, seed: int
) -> dict[str, list[Record]]:
    """Each shape is split by itself, so that each is trained on and measured.

    Fewer than three records of the one shape beside enough of the other are trained on.
    """
    enough = len(documents) >= 3 or len(chats) >= 3
    splits: dict[str, list[Record]] = {name: [] for name in SPLITS}
    if len(documents) >= 3 or (documents and not enough) or not chats:
        for name, some in split_records(documents, settings, seed).items():
            splits[name] += some
    else:
        splits["train"] += documents
    if len(chats) >= 3 or (chats and not enough):
        for name, these in split_records(chats, settings, seed).items():
            splits[name] += these
    else:
        splits["train"] += chats
    return {name: sorted(records, key=source_order) for name, records in splits.items()}


def _report(
    files: Sequence[SourceFile],
    num_read: dict[str, int],
    tally: _Tally,
    splits: dict[str, list[Record]],
) -> dict[str, Any]:
    groups = [{record.group for record in splits[name]} for name in SPLITS]
    return {
        "format": REPORT_FORMAT,
        "files": len(files),
        "read": num_read,
        "cleaned": tally.changed,
        "identities": dict(sorted(tally.identities.items())),
        "too_short": tally.too_short,
        "exact_duplicates": tally.exact,
        "near_duplicates": tally.near,
        "contaminated": tally.contaminated,
        "languages": dict(sorted(tally.languages.items())),
        "groups": len(set().union(*groups)),
        "groups_in_several_splits": sum(map(len, groups)) - len(set().union(*groups)),
        "splits": {name: _sizes(splits[name]) for name in SPLITS},
    }


def _sizes(records: Sequence[Record]) -> dict[str, int]:
    texts = [whole_text(record) for record in records]
    return {
        "records": len(records),
        "characters": sum(map(len, texts)),
        "bytes": sum(len(text.encode("utf-8")) for text in texts),
    }


def _write_splits(out: Path, splits: dict[str, list[Record]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in SPLITS:
        write_records(out / f"{name}.jsonl", splits[name])


def _write(
    out: Path,
    splits: dict[str, list[Record]],
    tally: _Tally,
    report: dict[str, Any],
    progress: Progress,
) -> None:
    _write_splits(out, splits)
    progress("write", 1, 1)
    lines = (json.dumps(drop, ensure_ascii=False, sort_keys=True) for drop in tally.dropped)
    (out / "dropped.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (out / "report.json").write_text(
        json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8"
    )
