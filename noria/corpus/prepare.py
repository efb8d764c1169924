"""All steps of the corpus, in order: files in, three splits and a report out.

In: the files that the recipe names. Out: `train.jsonl`, `held_out.jsonl`, `test.jsonl`,
`dropped.jsonl` (what was left out, why, and what it duplicates) and `report.json`.
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
from noria.corpus.decontaminate import drop_contaminated
from noria.corpus.deduplicate import RecordT, drop_duplicates, source_order, whole_text
from noria.corpus.deidentify import deidentifier_of
from noria.corpus.language import guess_language
from noria.corpus.read import SourceFile, read_conversations, read_documents, read_tagged_text
from noria.corpus.split import SPLITS, split_records
from noria.errors import InputError
from noria.recipe import CorpusSettings
from noria.records import (
    Content,
    Conversation,
    Document,
    Source,
    content_text,
    text_content,
    write_records,
)

REPORT_FORMAT = 1
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
) -> dict[str, Any]:
    """Write the three splits and the report into `out`; returns the report.

    `progress` gets (step, done, total). Raises InputError for a file that can't be read, or if
    fewer than three records are left.
    """
    tally = _Tally()
    files = files_documents + files_tagged + files_conversations
    documents: list[Document] = []
    chats: list[Conversation] = []
    for done, file in enumerate(files):
        if done < len(files_documents):
            documents += read_documents(file)
        elif done < len(files_documents) + len(files_tagged):
            documents += read_tagged_text(file)
        else:
            chats += read_conversations(file)
        progress("read", done + 1, len(files))
    num_read = {"documents": len(documents), "conversations": len(chats)}
    total = len(documents) + len(chats)
    documents = _clean_documents(documents, settings, tally, progress, total)
    chats = _clean_conversations(chats, settings, tally, progress, total)
    documents = _distinct(documents, settings, tally, progress)
    chats = _distinct(chats, settings, tally, progress)
    splits = _split(documents, chats, settings, seed)
    measured = splits["held_out"] + splits["test"]
    splits["train"], contaminated = drop_contaminated(
        splits["train"], measured, lambda done, of: progress("decontaminate", done, of)
    )
    tally.contaminated = len(contaminated)
    for record in contaminated:
        tally.drop("contaminated", record.source)
    if not splits["train"]:
        raise InputError(
            "nothing is left to train on: every document shares a passage with a held-out one",
            "documents that differ",
            "add text, or lower corpus.held_out and corpus.test",
        )
    report = _report(files, num_read, tally, splits)
    _write(out, splits, tally, report, progress)
    return report


def _clean_content(
    contents: Sequence[Content], settings: CorpusSettings, tally: _Tally
) -> list[Content]:
    """The contents of one record, cleaned: the same value has the same placeholder in all."""
    texts = [content_text(content) for content in contents]
    cleaned = [clean_text(text) for text in texts]
    tally.changed += sum(map(str.__ne__, texts, cleaned))
    if settings.identities == "replace":
        cleaned, counts = deidentifier_of(settings, personal=False).replace_together(cleaned)
        tally.identities.update(counts)
    return [text_content(text) for text in cleaned]


def _clean_documents(
    documents: list[Document],
    settings: CorpusSettings,
    tally: _Tally,
    progress: Progress,
    total: int,
) -> list[Document]:
    kept = []
    for index, record in enumerate(documents):
        (content,) = _clean_content([record.content], settings, tally)
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
        contents = _clean_content([one.content for one in record.messages], settings, tally)
        messages = tuple(
            replace(message, content=content)
            for message, content in zip(record.messages, contents, strict=True)
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
) -> dict[str, list[Document | Conversation]]:
    """Each shape is split by itself, so that each is trained on and measured.

    Fewer than three records of the one shape beside enough of the other are trained on.
    """
    enough = len(documents) >= 3 or len(chats) >= 3
    splits: dict[str, list[Document | Conversation]] = {name: [] for name in SPLITS}
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
    splits: dict[str, list[Document | Conversation]],
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


def _sizes(records: Sequence[Document | Conversation]) -> dict[str, int]:
    texts = [whole_text(record) for record in records]
    return {
        "records": len(records),
        "characters": sum(map(len, texts)),
        "bytes": sum(len(text.encode("utf-8")) for text in texts),
    }


def _write(
    out: Path,
    splits: dict[str, list[Document | Conversation]],
    tally: _Tally,
    report: dict[str, Any],
    progress: Progress,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(SPLITS):
        write_records(out / f"{name}.jsonl", splits[name])
        progress("write", index + 1, len(SPLITS))
    lines = (json.dumps(drop, ensure_ascii=False, sort_keys=True) for drop in tally.dropped)
    (out / "dropped.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (out / "report.json").write_text(
        json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8"
    )
