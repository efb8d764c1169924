"""From files and packages to token shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, value_digest
from noria.corpus.clean import clean_text
from noria.corpus.deidentify import deidentifier_of, replacement_key
from noria.corpus.packages import fetch_package
from noria.corpus.prepare import prepare_corpus
from noria.corpus.read import SourceFile, find_files, read_conversations, read_documents
from noria.corpus.surrogates import fingerprint
from noria.errors import InputError
from noria.recipe import CorpusSettings
from noria.records import (
    Conversation,
    Document,
    Message,
    Record,
    content_text,
    read_records,
    record_texts,
    text_content,
)
from noria.stages.stage import Facts, plain, run_stage
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.pack import encode_records, write_shard
from noria.tokenizer.train import train_tokenizer
from noria.workspace import Workspace


def fetch_packages(workspace: Workspace, globs: Sequence[str]) -> dict[str, Path]:
    """The unpacked packages that these globs read from, fetched into the user's cache if new."""
    wanted = {glob.removeprefix("package:").split("/")[0] for glob in globs if ":" in glob}
    return {
        name: fetch_package(settings, workspace.cache)
        for name, settings in workspace.recipe.packages.items()
        if name in wanted
    }


def source_files(workspace: Workspace, globs: Sequence[str]) -> list[SourceFile]:
    """Every file that the globs name. Raises InputError for a glob that names none."""
    if not globs:
        return []
    return find_files(globs, workspace.folder, fetch_packages(workspace, globs))


def files_digest(files: Sequence[SourceFile]) -> str:
    """SHA-256 (hex) over names and contents: changes when any file does."""
    return value_digest([[file.name, file.sha256] for file in files])


def clean_documents(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Document], str]:
    """The documents of these globs, cleaned and de-identified, and the digest of their files.

    For text beside the corpus: nothing is dropped, nothing is split off.
    """
    files = source_files(workspace, globs)
    documents = []
    for file in files:
        for document in read_documents(file):
            (text,) = _cleaned(workspace, [content_text(document.content)])
            if text:
                documents.append(Document(text_content(text), document.source, document.group))
    return documents, files_digest(files)


def clean_chats(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Conversation], str]:
    """The conversations of these globs, likewise; one with an empty message is left out."""
    files = source_files(workspace, globs)
    chats = []
    for file in files:
        for chat in read_conversations(file):
            texts = _cleaned(workspace, [content_text(one.content) for one in chat.messages])
            if all(texts):
                messages = tuple(
                    Message(one.role, text_content(text))
                    for one, text in zip(chat.messages, texts, strict=True)
                )
                chats.append(replace(chat, messages=messages))
    return chats, files_digest(files)


def _cleaned(workspace: Workspace, texts: Sequence[str]) -> list[str]:
    """The texts of one record, cleaned and de-identified together."""
    cleaned = [clean_text(text) for text in texts]
    settings = workspace.recipe.corpus
    if settings.identities == "replace":
        cleaned, _ = deidentifier_of(settings, personal=False).replace_together(cleaned)
    return cleaned


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


def _settings_of_key(settings: CorpusSettings) -> dict[str, Any]:
    earlier = {k: v for k, v in plain(settings).items() if k not in ("names", "replacement")}
    return earlier | acting_replacements(settings, personal=False)


def build_corpus(workspace: Workspace) -> Artifact:
    """Read, clean, de-identify, de-duplicate and split the recipe's text."""
    recipe = workspace.recipe
    workspace.watcher.begin("corpus")
    documents = source_files(workspace, recipe.corpus.documents)
    tagged = source_files(workspace, recipe.corpus.tagged)
    conversations = source_files(workspace, recipe.corpus.conversations)

    def make(folder: Path) -> Facts:
        report = prepare_corpus(
            documents,
            tagged,
            conversations,
            recipe.corpus,
            recipe.seed,
            folder,
            lambda step, done, total: workspace.watcher.progress(step, done, total),
        )
        if not report["splits"]["train"]["records"]:
            raise InputError(
                "nothing is left to train on after cleaning",
                "at least a few pages of text",
                "add documents, or lower corpus.min_characters",
            )
        return report

    return run_stage(
        workspace,
        "corpus",
        make,
        settings={**_settings_of_key(recipe.corpus), "seed": recipe.seed},
        inputs={
            "documents": files_digest(documents),
            **({"tagged": files_digest(tagged)} if tagged else {}),
            "conversations": files_digest(conversations),
        },
        result=_corpus_line,
    )


def _corpus_line(facts: Facts) -> str:
    splits = facts["splits"]
    sizes = ", ".join(f"{name} {part['bytes'] / 1e6:.2f} MB" for name, part in splits.items())
    dropped = ("too_short", "exact_duplicates", "near_duplicates", "contaminated")
    return (
        f"{sum(facts['read'].values()):,} records from {facts['files']} files; "
        f"dropped {sum(facts[name] for name in dropped):,} "
        f"(duplicates {facts['exact_duplicates'] + facts['near_duplicates']:,}, "
        f"overlap with held-out text {facts['contaminated']:,}); "
        f"identities replaced {sum(facts['identities'].values()):,}; {sizes}"
    )


def _texts(path: Path) -> Iterator[str]:
    for record in read_records(path):
        yield from record_texts(record)


def build_tokenizer(workspace: Workspace, corpus: Artifact) -> Artifact:
    """Train the byte-level BPE on the training split."""
    chat_format = "chatml" if workspace.recipe.corpus.conversations else "plain"
    vocab_size = workspace.recipe.tokenizer.vocab_size

    def make(folder: Path) -> Facts:
        return train_tokenizer(_texts(corpus.path / "train.jsonl"), vocab_size, folder, chat_format)

    return run_stage(
        workspace,
        "tokenizer",
        make,
        settings={"vocab_size": vocab_size, "chat_format": chat_format},
        inputs={"corpus": corpus.key},
        result=lambda facts: (
            f"byte-level BPE, {facts['vocab_size']:,} tokens, "
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
        facts = {}
        if replay:
            sequences = encode_records(loaded, replay)
            facts["replay"] = write_shard(
                folder / "replay", sequences, loaded.vocab_size, loaded.end_id
            )
        for split in ("train", "held_out"):
            records = _watched(
                workspace,
                read_records(corpus.path / f"{split}.jsonl"),
                corpus.facts["splits"][split]["records"],
            )
            sequences = encode_records(loaded, records)
            facts[split] = write_shard(folder / split, sequences, loaded.vocab_size, loaded.end_id)
        return facts

    return run_stage(
        workspace,
        "tokens",
        make,
        inputs={
            "corpus": corpus.key,
            "tokenizer": tokenizer.key,
            **({"replay": replay_digest} if replay else {}),
        },
        result=lambda facts: (
            f"{facts['train']['num_tokens']:,} tokens to train on, "
            f"{facts['held_out']['num_tokens']:,} held out"
        ),
    )
