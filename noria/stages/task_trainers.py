"""The ways to a model of an application, each a function: material in, the folder of a model out.

A folder is what `noria.tasks.task_model.load_part` reads back. Every way is given the same rows and
its own seconds; one that could not use all rows in that time takes some of them, and says so. This
module does not know recipes, and compares nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.baselines.crf import CrfPlan, train_crf
from noria.baselines.hmm import train_hmm
from noria.baselines.tfidf import train_tfidf
from noria.baselines.tfidf_many import train_tfidf_many
from noria.errors import UsageError
from noria.records import Span
from noria.task_settings import BASELINE
from noria.tasks.bio import tags_of
from noria.tasks.tag import passages_of
from noria.tasks.vectors import train_vectors
from noria.train.encoders import EncoderPlan, train_scratch_classifier, tune_classifier
from noria.train.taggers import train_scratch_tagger, tune_tagger

# How fast a way learns, on two cores that others use too: seconds a character of text, or a token.
FEATURE_S, FIT_S_A_CLASS = 2e-5, 6e-7  # of TF-IDF: its features, and its fit for a class
VECTOR_S = 6e-5
CRF_TOKEN_S = 3e-4
LEAST_CHINESE = 0.05  # share of the characters that makes a dictionary of Chinese words worth it
MAX_ORDER_2_TAGS = 30  # with more, a hidden Markov model whose tags depend on two before is slow
BASELINE_ROOM = 3.0  # so much more than its share a baseline may take before rows are left out

_CHINESE = re.compile("[\u4e00-\u9fff]")

Progress = Callable[[str, float, float], None]
Sequences = tuple[list[list[str]], list[list[str]]]  # tokens and their tags


@dataclass(frozen=True)
class Material:
    """What a way learns from: texts with their labels (or tags), and the spans of these.

    `base`: a folder with an encoder of ours, where the way starts from one.
    """

    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[Span, ...], ...]
    many: bool
    unlabelled: tuple[str, ...]
    base: Path | None
    seed: int
    seconds: float
    progress: Progress

    @property
    def plan(self) -> EncoderPlan:
        """What an encoder's training depends on."""
        return EncoderPlan(seconds=self.seconds, seed=self.seed, base=self.base)

    @property
    def every(self) -> list[int]:
        """The places of all rows."""
        return list(range(len(self.texts)))

    def labelled(self, places: Sequence[int]) -> tuple[list[str], list[tuple[str, ...]]]:
        """Some of the texts and their labels."""
        return [self.texts[one] for one in places], [self.labels[one] for one in places]

    def sequences(self, places: Sequence[int]) -> Sequences:
        """The passages of some of the texts as tokens, and their BIO tags."""
        tokens: list[list[str]] = []
        tags: list[list[str]] = []
        for place in places:
            some = passages_of(self.texts[place])
            every = [token for one in some for token in one.tokens]
            found, start = tags_of(every, self.spans[place]).tags, 0
            for one in some:
                end = start + len(one.tokens)
                tokens.append(one.words)
                tags.append(list(found[start:end]))
                start = end
        return tokens, tags


def _classical(material: Material, out: Path) -> dict[str, Any]:
    """TF-IDF with logistic regression."""
    num_classes = len({label for one in material.labels for label in one})
    chosen = within(material, (FEATURE_S + FIT_S_A_CLASS * num_classes) / BASELINE_ROOM)
    texts, labels = material.labelled(chosen)
    if material.many:
        train_tfidf_many(texts, labels).save(out)
    else:
        train_tfidf(texts, [one[0] for one in labels]).save(out)
    return {"num_rows": len(chosen)}


def _vectors(material: Material, out: Path) -> dict[str, Any]:
    """The base's sentence vectors, frozen, under a logistic regression."""
    assert material.base is not None
    chosen = within(material, VECTOR_S)
    texts, labels = material.labelled(chosen)
    train_vectors(material.base, texts, labels, material.many).save(out)
    return {"num_rows": len(chosen)}


def _scratch_classifier(material: Material, out: Path) -> dict[str, Any]:
    """A small encoder from random weights, which reads all texts before it learns labels."""
    texts, labels = material.labelled(material.every)
    more = material.unlabelled
    train_scratch_classifier(
        texts, labels, material.many, more, material.plan, out, material.progress
    )
    return {"num_rows": len(texts), "num_unlabelled": len(more)}


def _tuned_classifier(material: Material, out: Path) -> dict[str, Any]:
    """The base, tuned."""
    texts, labels = material.labelled(material.every)
    tune_classifier(texts, labels, material.many, material.plan, out, material.progress)
    return {"num_rows": len(texts)}


def _dictionary(material: Material, out: Path) -> dict[str, Any]:
    """The same, which also sees the words of a dictionary and their kinds."""
    text = "".join(material.texts)
    if len(_CHINESE.findall(text)) < LEAST_CHINESE * len(text):
        raise UsageError("text without Chinese words", "Chinese", "nothing: classical sees as much")
    return _crf(material, out, words_by="dictionary")


def _crf(material: Material, out: Path, words_by: str = "spaces") -> dict[str, Any]:
    """A conditional random field over words and their shapes."""
    sizes = [sum(len(one.tokens) for one in passages_of(text)) for text in material.texts]
    chosen = within(material, CRF_TOKEN_S / BASELINE_ROOM, sizes)
    tokens, tags = material.sequences(chosen)
    train_crf(
        list(zip(tokens, tags, strict=True)), CrfPlan(seconds=material.seconds, words_by=words_by)
    ).save(out)
    return {"num_rows": len(chosen)}


def _hmm(material: Material, out: Path) -> dict[str, Any]:
    """Tags that follow tags, and the words that each has; counted, so no row is left out."""
    tokens, tags = material.sequences(material.every)
    num_tags = len({tag for some in tags for tag in some})
    order = 2 if num_tags <= MAX_ORDER_2_TAGS else 1
    train_hmm(list(zip(tokens, tags, strict=True)), order).save(out)
    return {"num_rows": len(material.texts)}


def _scratch_tagger(material: Material, out: Path) -> dict[str, Any]:
    """A small encoder from random weights, which reads all texts before it learns tags."""
    tokens, tags = material.sequences(material.every)
    more = [one.words for text in material.unlabelled for one in passages_of(text)]
    train_scratch_tagger(tokens, tags, more, material.plan, out, material.progress)
    return {"num_rows": len(material.texts), "num_unlabelled": len(material.unlabelled)}


def _tuned_tagger(material: Material, out: Path) -> dict[str, Any]:
    """The base, tuned."""
    tokens, tags = material.sequences(material.every)
    tune_tagger(tokens, tags, material.plan, out, material.progress)
    return {"num_rows": len(material.texts)}


def within(
    material: Material, seconds_a_piece: float, sizes: Sequence[int] | None = None
) -> list[int]:
    """The places of the rows that fit into the time, all of them if they do; each class stays.

    `sizes`: how many pieces each row has; its characters, if nothing is given. Which rows, only
    their texts decide; of every label one is among them.
    """
    allowed = material.seconds / seconds_a_piece
    sizes = sizes or [len(text) for text in material.texts]
    if sum(sizes) <= allowed:
        return material.every
    order = sorted(material.every, key=lambda place: _digest(material.texts[place]))
    seen: set[str] = set()
    first = []
    for place in order:
        if not seen.issuperset(material.labels[place]):
            seen.update(material.labels[place])
            first.append(place)
    chosen, used = set(first), sum(sizes[place] for place in first)
    for place in order:
        if place not in chosen and used + sizes[place] <= allowed:
            chosen.add(place)
            used += sizes[place]
    return sorted(chosen)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


TRAINERS: Mapping[str, Mapping[str, Callable[[Material, Path], dict[str, Any]]]] = {
    "classify": {
        BASELINE: _classical,
        "vectors": _vectors,
        "scratch": _scratch_classifier,
        "tuned": _tuned_classifier,
    },
    "tag": {
        BASELINE: _crf,
        "dictionary": _dictionary,
        "hmm": _hmm,
        "scratch": _scratch_tagger,
        "tuned": _tuned_tagger,
    },
}
