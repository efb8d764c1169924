"""Which records are measured, and the same measurement language by language."""

from __future__ import annotations

import math

import numpy as np
import pytest

from noria.evaluate.metrics import Likelihoods
from noria.records import Document, Source, content_text, text_content
from noria.stages.measuring import parts_by_language, sampled, sampled_by_language

ENGLISH, CHINESE = "The whale swam on and on.", "鲸鱼继续游，继续游。"


def _documents(texts: list[str]) -> list[Document]:
    return [Document(text_content(text), Source("a.txt", n)) for n, text in enumerate(texts)]


def test_a_sample_is_evenly_spaced_and_the_same_each_time() -> None:
    assert sampled(range(100), 4) == [0, 25, 50, 75]
    assert sampled(range(3), 4) == [0, 1, 2]


def test_each_language_has_a_sample_of_its_own() -> None:
    records = _documents([ENGLISH] * 50 + [CHINESE] * 6 + [ENGLISH] * 50)
    kept = sampled_by_language(records, 8)
    texts = [content_text(record.content) for record in kept if isinstance(record, Document)]
    assert (texts.count(ENGLISH), texts.count(CHINESE)) == (8, 6)
    assert [record.source.line for record in kept] == sorted(record.source.line for record in kept)


def test_the_parts_are_the_same_numbers_language_by_language() -> None:
    records = _documents([ENGLISH, CHINESE] * 20)
    random = np.random.default_rng(1)
    nats = np.where(np.arange(40) % 2, 20.0, 10.0) + random.normal(size=40)
    num_bytes = np.where(np.arange(40) % 2, 30, 25)
    ours = Likelihoods(nats, num_bytes, 40)
    theirs = Likelihoods(nats + np.where(np.arange(40) % 2, -1.0, 2.0), num_bytes, 40)
    parts = parts_by_language("corpus", records, ours, theirs, seed=1)
    assert set(parts) == {"corpus, latin", "corpus, zh"}
    assert parts["corpus, latin"]["gap"]["value"] == pytest.approx(-2 / math.log(2) / 25)
    assert parts["corpus, zh"]["gap"]["value"] == pytest.approx(1 / math.log(2) / 30)
    assert parts["corpus, latin"]["num_records"] == 20
    for part in parts.values():
        assert part["model"] - part["rival"] == pytest.approx(part["gap"]["value"])


def test_one_language_has_no_parts() -> None:
    records = _documents([ENGLISH] * 3)
    measured = Likelihoods(np.ones(3), np.full(3, 25), 3)
    assert parts_by_language("corpus", records, measured, measured, seed=1) == {}
