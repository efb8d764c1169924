"""Which reader for which file, and reading it so that nothing stops the run or vanishes.

The recipe's `format`, else the ending of the name (behind .gz and the like), else what the shape
asks for, decides. Records of another shape than the recipe asks for are refused as a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from noria.artifacts import file_digest
from noria.corpus.read.archives import is_archive, read_archive
from noria.corpus.read.code import LANGUAGES, read_code
from noria.corpus.read.columns import Wanted
from noria.corpus.read.compressed import TORN
from noria.corpus.read.conll import read_conll
from noria.corpus.read.dialogues import read_dialogues
from noria.corpus.read.docx import read_docx
from noria.corpus.read.epub import read_epub
from noria.corpus.read.files import SourceFile, plain_name
from noria.corpus.read.gettext import read_mo, read_po
from noria.corpus.read.jsonrows import read_json, read_json_lines
from noria.corpus.read.mail import read_mail
from noria.corpus.read.markup import read_html
from noria.corpus.read.parquet import read_parquet
from noria.corpus.read.pdf import read_pdf
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.small import is_place, read_small_texts
from noria.corpus.read.tables import read_table
from noria.corpus.read.tagged import read_tagged_text
from noria.corpus.read.text import read_running_text
from noria.corpus.read.tmx import read_tmx
from noria.errors import InputError
from noria.records import Record, record_texts, shape_of

Reader = Callable[[SourceFile, Wanted, Say], Found]


@dataclass(frozen=True)
class Format:
    """A format: its reader, and the endings of the files that are in it."""

    read: Reader
    endings: tuple[str, ...]


FORMATS: dict[str, Format] = {
    "text": Format(read_running_text, (".txt", ".text", ".md", ".markdown", ".rst", ".log")),
    "tagged": Format(read_tagged_text, ()),
    "csv": Format(read_table, (".csv",)),
    "tsv": Format(read_table, (".tsv", ".tab")),
    "jsonl": Format(read_json_lines, (".jsonl", ".ndjson", ".jsonlines")),
    "json": Format(read_json, (".json",)),
    "yaml": Format(read_dialogues, (".yml", ".yaml")),
    "conll": Format(read_conll, (".conll", ".conllu", ".bio", ".iob", ".bmes", ".ner")),
    "html": Format(read_html, (".html", ".htm", ".xhtml")),
    "pdf": Format(read_pdf, (".pdf",)),
    "docx": Format(read_docx, (".docx",)),
    "epub": Format(read_epub, (".epub",)),
    "parquet": Format(read_parquet, (".parquet", ".pq")),
    "mail": Format(read_mail, (".mbox", ".eml")),
    "po": Format(read_po, (".po", ".pot")),
    "mo": Format(read_mo, (".mo", ".gmo")),
    "tmx": Format(read_tmx, (".tmx",)),
    "code": Format(read_code, tuple(LANGUAGES)),
}
_BY_SHAPE = {"conversation": "jsonl", "tagged": "conll", "labelled": "csv", "pair": "tsv"}
_BY_SHAPE["preference"] = "jsonl"


def format_of(file: SourceFile, wanted: Wanted) -> str:
    """The name of the format that a file is read in; text where nothing says otherwise."""
    if wanted.format:
        return wanted.format
    name = plain_name(file)
    for format_, one in FORMATS.items():
        if name.endswith(one.endings):
            return format_
    return _BY_SHAPE.get(wanted.shape, "text")


def _reader(file: SourceFile, wanted: Wanted) -> Reader:
    """The reader of a file; a text may be many small ones."""
    name = format_of(file, wanted)
    if name == "text" and (wanted.whole or is_place(wanted)):
        return read_small_texts
    return FORMATS[name].read


def read_file(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the records of a file and what is wrong with it, in order.

    A file that can't be read, or not to its end, is one Quarantined with line 0. Raises InputError
    only if the file changed meanwhile, MissingExtra where an optional library is needed.
    """
    num_found = 0
    try:
        if is_archive(file.name):
            every = read_archive(file, wanted, say, read_file)
        else:
            every = _reader(file, wanted)(file, wanted, say)
        for found in every:
            num_found += 1
            yield _checked(file, found, wanted)
    except (InputError, WrongRow, *TORN, OSError, MemoryError, RecursionError) as error:
        behind = f" (behind {num_found:,} that were read)" if num_found else ""
        what = str(error) or type(error).__name__
        yield quarantined(file.name, 0, "", f"{what}{behind}")
    else:
        if not num_found:
            yield quarantined(file.name, 0, "", "nothing to read in it")
    if file_digest(file.path) != file.sha256:
        raise InputError(
            f"{file.name} changed while it was read",
            "files that keep still",
            "run the same command again",
        )


def _checked(file: SourceFile, found: Record | Quarantined, wanted: Wanted) -> Record | Quarantined:
    """A record of the shape that is wanted and that can be written down."""
    if isinstance(found, Quarantined):
        return found
    shape = shape_of(found)
    if wanted.shape and shape != wanted.shape:
        raise InputError(
            f"holds records of the shape {shape}",
            f"the shape {wanted.shape}",
            "name it in a source of its own: [sources.NAME]",
        )
    texts = (*record_texts(found), found.group, *getattr(found, "labels", ()))
    texts += tuple(span.tag for span in getattr(found, "spans", ()))
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        reason = "half a surrogate pair, which is no character"
        return quarantined(file.name, found.source.line, "\n".join(texts), reason)
    return found
