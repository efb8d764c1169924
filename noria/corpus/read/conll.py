"""CoNLL and BIO files to tagged records.

In: a token a line with its columns, a blank line between sentences. Out: a Tagged record a
sentence, with its first line and its bytes. The token is the first column and the tag the last,
unless the recipe names them by number; in CoNLL-U (ten columns) the word and its part of speech.
A sentence with a wrong line is quarantined whole: without one token its tags would mean others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from noria.corpus.read.bio import tagged_record
from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.lines import Line, find_encoding, text_lines
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.errors import InputError
from noria.records import Source

MAX_TOKENS = 10_000  # of a sentence; without blank lines a file would be one
_CONLLU_COLUMNS = 10
_MARK = re.compile(r"-DOCSTART-|# \S+ = ")  # begins a document, or is CoNLL-U's comment


def read_conll(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the sentences of a file. Raises InputError for no text, or columns without numbers."""
    encoding = find_encoding(file, wanted.encoding)
    token, tag = _columns(wanted)
    say("tagged", f"a token a line, {encoding.says()}")
    for sentence in _sentences(text_lines(file, encoding)):
        first = sentence[0].line if isinstance(sentence[0], Quarantined) else sentence[0].number
        wrong = [one for one in sentence if isinstance(one, Quarantined)]
        lines = [one for one in sentence if isinstance(one, Line)]
        if wrong:
            yield from wrong
            if lines:
                shown = "\n".join(line.text for line in lines[:20])
                yield quarantined(file.name, first, shown, "a sentence with a wrong line")
            continue
        try:
            fields = [_fields(line.text, token, tag) for line in lines]
            source = Source(file.name, first, lines[0].start, lines[-1].end)
            tokens, tags = [one for one, _ in fields], [one for _, one in fields]
            yield tagged_record(list(tokens), list(tags), source, f"{file.name}:{first}")
        except WrongRow as error:
            shown = "\n".join(line.text for line in lines[:20])
            yield quarantined(file.name, first, shown, error.reason)


def _columns(wanted: Wanted) -> tuple[int | None, int | None]:
    numbers: list[int | None] = []
    for role in ("tokens", "tags"):
        named = wanted.columns.get(role, "")
        if named and not (named.isdecimal() and int(named) > 0):
            raise InputError(f"{role} = {named!r}", "the number of a column, from 1")
        numbers.append(int(named) - 1 if named else None)
    return numbers[0], numbers[1]


def _sentences(lines: Iterator[Line | Quarantined]) -> Iterator[list[Line | Quarantined]]:
    """Neighbouring lines without a blank one between, comments and document marks left out."""
    sentence: list[Line | Quarantined] = []
    last = 0
    for line in lines:
        number = line.line if isinstance(line, Quarantined) else line.number
        if sentence and (number != last + 1 or len(sentence) >= MAX_TOKENS):
            yield sentence
            sentence = []
        last = number
        if isinstance(line, Line) and _MARK.match(line.text):
            continue
        sentence.append(line)
    if sentence:
        yield sentence


def _fields(text: str, token: int | None, tag: int | None) -> tuple[str, str]:
    """The token and the tag of a line."""
    fields = text.rstrip("\r").split("\t") if "\t" in text else text.split()
    if token is None and tag is None and len(fields) == _CONLLU_COLUMNS:
        token, tag = 1, 3
    token, tag = token or 0, len(fields) - 1 if tag is None else tag
    if len(fields) < 2 or max(token, tag) >= len(fields):
        raise WrongRow(f"a line without token and tag: {text[:40]!r}", text)
    return fields[token].strip(), fields[tag].strip()
