"""From files and packages to token shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, acting, value_digest
from noria.corpus.clean import choices_of, clean_text
from noria.corpus.cleaning import clean_records
from noria.corpus.deidentify import deidentifier_of, replacement_key
from noria.corpus.language import guess_script
from noria.corpus.packages import fetch_package
from noria.corpus.prepare import prepare_corpus
from noria.corpus.read import Quarantined, Request, SourceFile, Wanted, find_files, read_file
from noria.corpus.report import Tally
from noria.corpus.surrogates import fingerprint
from noria.errors import InputError
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
from noria.text_settings import CorpusSettings
from noria.tokenizer.fertility import measure_fertility
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pack import encode_records, write_shard
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
LANGUAGE_NAMES = {  # of those that a corpus mostly has: named ones, or scripts
    "en": "English",
    "zh-Hans": "simplified Chinese",
    "zh-Hant": "traditional Chinese",
    "zh": "Chinese",
    "latin": "Latin letters",
}
KIND_NAMES = {"bpe": "BPE", "unigram": "Unigram", "wordpiece": "WordPiece"}


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
    packages = fetch_packages(workspace, globs)
    return find_files(globs, workspace.folder, packages, workspace.cache)


def files_digest(files: Sequence[SourceFile]) -> str:
    """SHA-256 (hex) over names and contents: changes when any file does."""
    return value_digest([[file.name, file.sha256] for file in files])


def records_beside(
    workspace: Workspace, files: Sequence[SourceFile], shape: str
) -> Iterator[Record]:
    """The records of files beside the corpus. Says how many places in them can't be read."""
    lost: list[Quarantined] = []
    for file in files:
        for found in read_file(file, Wanted(shape=shape), lambda shape, how: None):
            if isinstance(found, Quarantined):
                lost.append(found)
            else:
                yield found
    if lost:
        first = lost[0]
        workspace.watcher.say(
            f"{len(lost):,} in quarantine, the first {first.file}:{first.line}: {first.reason}"
        )


def clean_documents(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Document], str]:
    """The documents of these globs, cleaned and de-identified, and the digest of their files.

    For text beside the corpus: what can't be read is said, nothing is split off.
    """
    files = source_files(workspace, globs)
    documents = []
    for document in records_beside(workspace, files, "document"):
        if isinstance(document, Document):
            (text,) = _cleaned(workspace, [content_text(document.content)])
            if text:
                documents.append(Document(text_content(text), document.source, document.group))
    return documents, files_digest(files)


def clean_chats(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Conversation], str]:
    """The conversations of these globs, likewise; one with an empty message is left out."""
    files = source_files(workspace, globs)
    chats = []
    for chat in records_beside(workspace, files, "conversation"):
        if isinstance(chat, Conversation):
            texts = _cleaned(workspace, [content_text(one.content) for one in chat.messages])
            if all(texts):
                messages = tuple(
                    Message(one.role, text_content(text))
                    for one, text in zip(chat.messages, texts, strict=True)
                )
                chats.append(replace(chat, messages=messages))
    return chats, files_digest(files)


def source_requests(workspace: Workspace) -> list[Request]:
    """Every file of the recipe's `[sources]`, with what the recipe says of it."""
    return [
        Request(file, Wanted(one.shape, one.format, one.columns, one.encoding, one.group))
        for one in workspace.recipe.sources.values()
        for file in source_files(workspace, one.files)
    ]


def _cleaned(workspace: Workspace, texts: Sequence[str]) -> list[str]:
    """The texts of one record, cleaned and de-identified together."""
    cleaned = [clean_text(text, choices_of(workspace.recipe.corpus)) for text in texts]
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


def build_corpus(workspace: Workspace) -> Artifact:
    """Read, clean, de-identify, de-duplicate and split the recipe's text."""
    recipe = workspace.recipe
    workspace.watcher.begin("corpus")
    documents = source_files(workspace, recipe.corpus.documents)
    tagged = source_files(workspace, recipe.corpus.tagged)
    conversations = source_files(workspace, recipe.corpus.conversations)
    sources = source_requests(workspace)

    evaluation, evaluation_digest = _clean_records(workspace, recipe.corpus.evaluation)
    synthetic, synthetic_digest = _clean_records(workspace, recipe.corpus.synthetic)

    def make(folder: Path) -> Facts:
        report = prepare_corpus(
            documents,
            tagged,
            conversations,
            recipe.corpus,
            recipe.seed,
            folder,
            lambda step, done, total: workspace.watcher.progress(step, done, total),
            sources,
            evaluation,
            synthetic,
        )
        _say_what_was_read(workspace, report)
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
        settings={**_corpus_settings(recipe.corpus), "seed": recipe.seed},
        inputs={
            "documents": files_digest(documents),
            **({"tagged": files_digest(tagged)} if tagged else {}),
            "conversations": files_digest(conversations),
            **({"sources": _sources_digest(workspace, sources)} if sources else {}),
            **({"evaluation": evaluation_digest} if evaluation else {}),
            **({"synthetic": synthetic_digest} if synthetic else {}),
        },
        result=_corpus_line,
    )


def _clean_records(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Record], str]:
    """Records of any shape, cleaned as the corpus is, however short; the digest of their files."""
    files = source_files(workspace, globs)
    settings = replace(workspace.recipe.corpus, min_characters=1)
    records = list(records_beside(workspace, files, ""))
    cleaned = clean_records(records, settings, Tally(), workspace.watcher.progress)
    return cleaned, files_digest(files)


def _corpus_settings(settings: CorpusSettings) -> dict[str, Any]:
    """What is in the corpus's key: the first settings always, later ones where they act."""
    whole = plain(settings)
    del whole["names"], whole["replacement"]
    names = FIRST_CORPUS_SETTINGS | acting(settings, whole.keys()).keys()
    kept = {name: value for name, value in whole.items() if name in names}
    return kept | acting_replacements(settings, personal=False)


def _sources_digest(workspace: Workspace, sources: Sequence[Request]) -> str:
    """SHA-256 (hex) over what the recipe says of its sources and over their files."""
    said = {name: asdict(one) for name, one in workspace.recipe.sources.items()}
    return value_digest([said, files_digest([one.file for one in sources])])


def _say_what_was_read(workspace: Workspace, report: Facts) -> None:
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


def _texts(path: Path) -> Iterator[str]:
    for record in read_records(path):
        yield from record_texts(record)


def _has_chats(workspace: Workspace, corpus: Artifact) -> bool:
    return bool(workspace.recipe.corpus.conversations or corpus.facts["read"]["conversations"])


def build_tokenizer(workspace: Workspace, corpus: Artifact) -> Artifact:
    """Train the tokenizer on the training split."""
    chat_format = "chatml" if _has_chats(workspace, corpus) else "plain"
    settings = workspace.recipe.tokenizer

    def make(folder: Path) -> Facts:
        texts = _texts(corpus.path / "train.jsonl")
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
        + (f"; bytes a token: {', '.join(found)}" if found else "")
    )
