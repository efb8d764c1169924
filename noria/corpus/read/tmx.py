"""TMX, the exchange format of translation memories, to pairs.

In: TMX 1.4 (XML), read as a stream. Out: a pair a unit: the source language that the header names,
or the first of the unit, with the first other; `columns = {input = "en", target = "zh"}` chooses
languages. A unit's line is that of its element.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, open_file
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.zipped import refuse_entities
from noria.errors import InputError
from noria.records import Pair, Source, text_content

MAX_UNIT_CHARACTERS = 1 << 20
MAX_DEPTH = 200
_CHUNK_BYTES = 1 << 16
_SKIPPED = {"bpt", "ept", "ph", "it", "ut"}  # codes of the formatting, no text


class _Units:
    """Collects the units of a stream of XML events."""

    def __init__(self, file: SourceFile, wanted: Wanted) -> None:
        self._file, self._wanted = file, wanted
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        refuse_entities(self.parser, file.name)
        self.found: list[Pair | Quarantined] = []
        self._source_language = ""
        self._language, self._line = "", 0
        self._path: list[str] = []
        self._texts: dict[str, str] = {}

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH:
            raise InputError(f"elements nested more than {MAX_DEPTH} deep", "TMX")
        if tag == "header":
            self._source_language = attributes.get("srclang", "").lower()
        elif tag == "tu":
            self._texts, self._line = {}, self.parser.CurrentLineNumber
        elif tag == "tuv":
            language = attributes.get("xml:lang") or attributes.get("lang", "")
            self._language = language.lower()
        elif tag == "seg":
            self._texts.setdefault(self._language, "")

    def _text(self, text: str) -> None:
        if "seg" in self._path and not _SKIPPED.intersection(self._path):
            known = self._texts[self._language]
            if len(known) <= MAX_UNIT_CHARACTERS:
                self._texts[self._language] = known + text

    def _end(self, tag: str) -> None:
        self._path.pop()
        if tag == "tu":
            self.found.append(self._pair())

    def _pair(self) -> Pair | Quarantined:
        texts = {name: text for name, text in self._texts.items() if text.strip()}
        source = self._pick("input", list(texts), self._source_language)
        target = self._pick("target", [name for name in texts if name != source], "")
        shown = " | ".join(self._texts.values())
        if source is None or target is None:
            return quarantined(self._file.name, self._line, shown, "a unit without two languages")
        if max(len(texts[source]), len(texts[target])) > MAX_UNIT_CHARACTERS:
            return quarantined(self._file.name, self._line, shown, "a unit that is too long")
        return Pair(
            text_content(texts[source].strip()),
            text_content(texts[target].strip()),
            Source(self._file.name, self._line),
            f"{self._file.name}:{self._line}",
        )

    def _pick(self, role: str, languages: list[str], preferred: str) -> str | None:
        """The language of a role: the recipe's, the header's, else the first."""
        named = self._wanted.columns.get(role, "").lower()
        for name in languages:
            wanted = named or preferred
            if wanted and (name == wanted or name.split("-")[0] == wanted):
                return name
        return languages[0] if languages and not named else None


def read_tmx(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the pairs of a translation memory. Raises InputError where it is no XML any more."""
    units = _Units(file, wanted)
    say("pair", "TMX")
    with open_file(file) as stream:
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            try:
                units.parser.Parse(chunk, not chunk)
            except InputError:
                yield from _taken(units)
                raise
            except (expat.ExpatError, ValueError, LookupError) as error:
                yield from _taken(units)
                raise InputError(f"no XML any more ({error})", "TMX") from error
            yield from _taken(units)
            if not chunk:
                return


def _taken(units: _Units) -> Iterator[Pair | Quarantined]:
    found, units.found = units.found, []
    yield from found
