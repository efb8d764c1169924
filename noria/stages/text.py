"""From what a recipe names to token shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, acting, artifact_key, value_digest
from noria.corpus.deidentify import replacement_key
from noria.corpus.language import guess_script
from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.read import Request, Wanted
from noria.corpus.surrogates import fingerprint
from noria.errors import InputError
from noria.records import (
    Record,
    read_records,
    record_texts,
)
from noria.runtime import num_cores
from noria.stages.pace import Pace
from noria.stages.reading import (
    clean_beside,
    clean_documents,
    files_digest,
    source_files,
    source_requests,
)
from noria.stages.refused import Refused
from noria.stages.stage import Facts, plain, run_stage
from noria.text_settings import CorpusSettings
from noria.tokenizer.fertility import measure_fertility
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pack import encode_records, fitting_records, write_shard
from noria.tokenizer.train import train_tokenizer
from noria.workspace import Workspace

FIRST_CORPUS_SETTINGS = {  # always in the corpus's key; those that came later where they act
    "documents",
    "tagged",
    "conversations",
    "held_out",
    "test",
    "identities",
    "near_duplicates",
    "min_characters",
}
MAX_TOKENIZER_BYTES = 100_000_000  # of text that a vocabulary is learned from, all in memory
LANGUAGE_NAMES = {  # of those that a corpus mostly has: named ones, or scripts
    "en": "English",
    "zh-Hans": "simplified Chinese",
    "zh-Hant": "traditional Chinese",
    "zh": "Chinese",
    "latin": "Latin letters",
}
KIND_NAMES = {"bpe": "BPE", "unigram": "Unigram", "wordpiece": "WordPiece"}


def acting_replacements(settings: CorpusSettings, *, personal: bool) -> dict[str, Any]:
    """For a stage's key: what these later settings do to such a text; empty where they do nothing.

    So what was made before they came keeps its key.
    """
    acting: dict[str, Any] = {}
    if settings.names == "replace" or (personal and settings.names == "personal"):
        acting["names"] = "replace"
    if settings.replacement == "surrogate" and (personal or settings.identities == "replace"):
        acting["replacement"] = [settings.replacement, fingerprint(replacement_key())]
    return acting


def build_corpus(workspace: Workspace) -> Artifact:
    """Read, clean, de-identify, de-duplicate and split the recipe's text."""
    recipe = workspace.recipe
    workspace.watcher.begin("corpus")
    documents = source_files(workspace, recipe.corpus.documents)
    tagged = source_files(workspace, recipe.corpus.tagged)
    conversations = source_files(workspace, recipe.corpus.conversations)
    sources = source_requests(workspace)
    synthetic = source_files(workspace, recipe.corpus.synthetic)
    evaluation, evaluation_digest = clean_beside(workspace, recipe.corpus.evaluation)
    requests = [
        *requests_of(documents, tagged, conversations, sources),
        *(Request(file, Wanted(), synthetic=True) for file in synthetic),
    ]
    settings = {**_corpus_settings(recipe.corpus), "seed": recipe.seed}
    inputs = {
        "documents": files_digest(documents),
        **({"tagged": files_digest(tagged)} if tagged else {}),
        "conversations": files_digest(conversations),
        **({"sources": _sources_digest(workspace, sources)} if sources else {}),
        **({"evaluation": evaluation_digest} if evaluation else {}),
        **({"synthetic": files_digest(synthetic)} if synthetic else {}),
    }
    earlier = None
    if recipe.corpus.split == "stratified":
        earlier, inputs = _with_earlier(workspace, settings, inputs)
    unfinished = workspace.root / "unfinished"
    scratch = unfinished / f"corpus-{artifact_key('corpus', 1, settings, inputs, {})[:16]}"

    def make(folder: Path) -> Facts:
        for other in unfinished.glob("corpus-*"):  # of a recipe that has changed since
            if other != scratch:
                shutil.rmtree(other)
        pace = Pace(workspace.watcher)
        report = prepare_corpus(
            requests,
            recipe.corpus,
            recipe.seed,
            folder,
            pace.progress,
            evaluation,
            scratch,
            recipe.corpus.workers or num_cores(),
            earlier,
        )
        say_what_was_read(workspace, report)
        if not report["splits"]["train"]["records"]:
            raise InputError(
                "nothing is left to train on after cleaning",
                "at least a few pages of text",
                "add documents, or lower corpus.min_characters",
            )
        return report

    return run_stage(
        workspace, "corpus", make, settings=settings, inputs=inputs, result=_corpus_line
    )


def _with_earlier(
    workspace: Workspace, settings: dict[str, Any], inputs: dict[str, str]
) -> tuple[Path | None, dict[str, str]]:
    """The newest corpus, whose decisions the next one keeps, and the inputs with its key.

    A corpus that was made of these very inputs is its own; what it went on from is told again.
    """
    corpora = [one for one in workspace.store.all() if one.manifest.stage == "corpus"]
    for one in reversed(corpora):
        before = dict(one.manifest.inputs)
        before.pop("earlier", None)
        if (one.manifest.settings, before) == (settings, inputs):
            return None, one.manifest.inputs
    if not corpora:
        return None, inputs
    return corpora[-1].path, {**inputs, "earlier": corpora[-1].key}


def _corpus_settings(settings: CorpusSettings) -> dict[str, Any]:
    """What is in the corpus's key: the first settings always, later ones where they act."""
    whole = plain(settings)
    del whole["names"], whole["replacement"], whole["workers"]
    names = FIRST_CORPUS_SETTINGS | acting(settings, whole.keys()).keys()
    kept = {name: value for name, value in whole.items() if name in names}
    return kept | acting_replacements(settings, personal=False)


def _sources_digest(workspace: Workspace, sources: Sequence[Request]) -> str:
    """SHA-256 (hex) over what the recipe says of its sources and over their files."""
    said = {name: asdict(one) for name, one in workspace.recipe.sources.items()}
    return value_digest([said, files_digest([one.file for one in sources])])


def say_what_was_read(workspace: Workspace, report: Facts) -> None:
    """What was understood of the files, and the first examples of what could not be read."""
    for one in report["understood"]:
        files = f"{one['files']:,} file{'s' if one['files'] != 1 else ''}"
        workspace.watcher.say(f"{one['shape']}: {one['records']:,} from {files}, {one['as']}")
    for reason, found in report["quarantined"]["reasons"].items():
        first = found["examples"][0]
        place = f"{first['file']}:{first['line']}" if first["line"] else first["file"]
        workspace.watcher.say(f"quarantine: {found['count']:,} × {reason}; the first {place}")


def _corpus_line(facts: Facts) -> str:
    splits = facts["splits"]
    sizes = ", ".join(f"{name} {part['bytes'] / 1e6:.2f} MB" for name, part in splits.items())
    lost = facts.get("quarantined", {}).get("total", 0)  # none in a corpus older than quarantine
    dropped = ("too_short", "exact_duplicates", "near_duplicates", "contaminated")
    return (
        f"{sum(facts['read'].values()):,} records from {facts['files']} files; "
        f"{f'in quarantine {lost:,}; ' if lost else ''}"
        f"dropped {sum(facts[name] for name in dropped):,} "
        f"(duplicates {facts['exact_duplicates'] + facts['near_duplicates']:,}, "
        f"overlap with held-out text {facts['contaminated']:,}{_cut(facts)}); "
        f"identities replaced {sum(facts['identities'].values()):,}; {sizes}"
    )


def _cut(facts: Facts) -> str:
    judged = facts.get("quality", {})
    return f", quality {judged['documents']:,}" if judged.get("judge") == "cut" else ""


def _texts(path: Path, every: int) -> Iterator[str]:
    for record in islice(read_records(path), 0, None, every):
        yield from record_texts(record)


def _has_chats(workspace: Workspace, corpus: Artifact) -> bool:
    return bool(workspace.recipe.corpus.conversations or corpus.facts["read"]["conversations"])


def build_tokenizer(workspace: Workspace, corpus: Artifact) -> Artifact:
    """Train the tokenizer on the training split; of a large one on every so many records."""
    chat_format = "chatml" if _has_chats(workspace, corpus) else "plain"
    settings = workspace.recipe.tokenizer

    every = -(-corpus.facts["splits"]["train"]["bytes"] // MAX_TOKENIZER_BYTES)

    def make(folder: Path) -> Facts:
        texts = _texts(corpus.path / "train.jsonl", max(1, every))
        return train_tokenizer(texts, settings.vocab_size, folder, chat_format, settings.kind)

    return run_stage(
        workspace,
        "tokenizer",
        make,
        settings={
            "vocab_size": settings.vocab_size,
            "chat_format": chat_format,
            **acting(settings, ("kind",)),
        },
        inputs={"corpus": corpus.key},
        result=lambda facts: (
            f"byte-level {KIND_NAMES[settings.kind]}, {facts['vocab_size']:,} tokens, "
            f"{facts['bytes_per_token']:.2f} bytes a token"
        ),
    )


def _watched(workspace: Workspace, records: Iterator[Record], num_records: int) -> Iterator[Record]:
    for number, record in enumerate(records, start=1):
        if number % 500 == 0:
            workspace.watcher.progress("encoding", number, num_records)
        yield record


def build_shards(workspace: Workspace, corpus: Artifact, tokenizer: Artifact) -> Artifact:
    """Encode the training and the held-out split, and what is replayed, into shards."""
    replay, replay_digest = clean_documents(workspace, workspace.recipe.adapter.replay)

    def make(folder: Path) -> Facts:
        loaded = load_tokenizer(tokenizer.path)
        facts: dict[str, Facts] = {}
        refused = Refused(folder)
        if replay:
            fitting = fitting_records(loaded, replay, refused.add)
            sequences = encode_records(loaded, fitting)
            facts["replay"] = write_shard(
                folder / "replay", sequences, loaded.vocab_size, loaded.end_id
            )
        for split in ("train", "held_out"):
            records = _watched(
                workspace,
                read_records(corpus.path / f"{split}.jsonl"),
                corpus.facts["splits"][split]["records"],
            )
            fitting = fitting_records(loaded, records, refused.add)
            sequences = encode_records(loaded, fitting)
            facts[split] = write_shard(folder / split, sequences, loaded.vocab_size, loaded.end_id)
        facts |= refused.facts(workspace.watcher.say)
        return {**facts, "fertility": _fertility(loaded, corpus.path / "held_out.jsonl")}

    return run_stage(
        workspace,
        "tokens",
        make,
        inputs={
            "corpus": corpus.key,
            "tokenizer": tokenizer.key,
            **({"replay": replay_digest} if replay else {}),
        },
        result=_tokens_line,
    )


def _fertility(tokenizer: Tokenizer, held_out: Path) -> dict[str, Facts]:
    """What the tokenizer makes of the held-out text of each language, or else script, in it."""
    texts: dict[str, list[str]] = {}
    for record in read_records(held_out):
        for text in record_texts(record):
            language = getattr(record, "language", "") or guess_script(text)
            texts.setdefault(language, []).append(text)
    return {language: measure_fertility(tokenizer, texts[language]) for language in sorted(texts)}


def _tokens_line(facts: Facts) -> str:
    found = [
        f"{LANGUAGE_NAMES[name]} {part['bytes_per_token']:.2f}"
        for name, part in facts.get("fertility", {}).items()  # older artifacts have none
        if name in LANGUAGE_NAMES
    ]
    return (
        f"{facts['train']['num_tokens']:,} tokens to train on, "
        f"{facts['held_out']['num_tokens']:,} held out"
        + (
            f"; in quarantine {lost:,}"
            if (lost := facts.get("quarantined", {}).get("total"))
            else ""
        )
        + (f"; bytes a token: {', '.join(found)}" if found else "")
    )
