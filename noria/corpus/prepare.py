"""All steps of the corpus, in order: files in, three splits and a report out.

In: the files that the recipe names. Out: `train.jsonl`, `held_out.jsonl`, `test.jsonl`,
`dropped.jsonl` (what was left out, why, and what it duplicates) and `report.json`.
The same files and settings give the same bytes. This module does not know tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from noria.corpus.balance import balance_sources, parse_weights
from noria.corpus.clean import choices_of, clean_text
from noria.corpus.deidentify import replace_identities
from noria.corpus.language import language_namer
from noria.corpus.quality import quality_facts
from noria.corpus.read import SourceFile, read_conversations, read_documents, read_tagged_text
from noria.corpus.report import Tally, corpus_report
from noria.corpus.split import SPLITS, split_rule
from noria.corpus.steps import (
    Progress,
    distinct_records,
    split_shapes,
    uncontaminated,
    without_boilerplate,
    worth_learning,
)
from noria.errors import InputError
from noria.recipe import CorpusSettings
from noria.records import (
    Content,
    Conversation,
    Document,
    content_text,
    text_content,
    write_records,
)


def prepare_corpus(
    files_documents: list[SourceFile],
    files_tagged: list[SourceFile],
    files_conversations: list[SourceFile],
    settings: CorpusSettings,
    seed: int,
    out: Path,
    progress: Progress,
    evaluation: Sequence[Document | Conversation] = (),
    synthetic: Sequence[Document | Conversation] = (),
) -> dict[str, Any]:
    """Write the three splits and the report into `out`; returns the report.

    Nothing that shares a passage with a record of `evaluation` (clean ones) is trained on.
    Records of `synthetic` (clean ones) are trained on, marked, and never measured on.
    `progress` gets (step, done, total). Raises InputError for a file that can't be read, or if
    fewer than three records are left.
    """
    choices_of(settings).check()  # what is not installed is said before the work
    language_namer(settings.language)
    split_rule(settings, seed)
    tally = Tally()
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
    num_read |= {"synthetic": len(synthetic)} if synthetic else {}
    total = len(documents) + len(chats)
    documents = _clean_documents(documents, settings, tally, progress, total)
    chats = _clean_conversations(chats, settings, tally, progress, total)
    marked = [replace(one, synthetic=True) for one in synthetic]
    documents += [one for one in marked if isinstance(one, Document)]
    chats += [one for one in marked if isinstance(one, Conversation)]
    documents = without_boilerplate(documents, settings, tally)
    documents = worth_learning(documents, settings, tally, progress)
    documents = distinct_records(documents, settings, seed, tally, progress)
    chats = distinct_records(chats, settings, seed, tally, progress)
    splits = split_shapes(documents, chats, settings, seed)
    splits["train"] = uncontaminated(splits, evaluation, tally, progress)
    if not splits["train"]:
        raise InputError(
            "nothing is left to train on: every document shares a passage with a measured one",
            "documents that differ",
            "add text, or lower corpus.held_out and corpus.test",
        )
    if settings.weights or settings.temperature != 1:
        weights = parse_weights(settings.weights)
        splits["train"], tally.balance = balance_sources(
            splits["train"], weights, settings.temperature, seed
        )
    report = corpus_report(files, num_read, tally, splits)
    if settings.quality.judge != "off":
        report["quality"] = quality_facts(tally.beyond, settings.quality)
    _write(out, splits, tally, report, progress)
    return report


def _clean_content(content: Content, settings: CorpusSettings, tally: Tally) -> Content:
    text = content_text(content)
    cleaned = clean_text(text, choices_of(settings))
    tally.changed += cleaned != text
    if settings.identities == "replace":
        cleaned, counts = replace_identities(cleaned)
        tally.identities.update(counts)
    return text_content(cleaned)


def _clean_documents(
    documents: list[Document],
    settings: CorpusSettings,
    tally: Tally,
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
    tally: Tally,
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


def _write(
    out: Path,
    splits: dict[str, list[Document | Conversation]],
    tally: Tally,
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
