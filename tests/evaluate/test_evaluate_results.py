"""Stored answers come back as they were, and two of them are compared whole and by slice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noria.errors import FormatError, IntegrityError, UsageError
from noria.evaluate.classes import Classified, MultiLabelled
from noria.evaluate.compare import WHOLE, compare_results, most_different
from noria.evaluate.metrics import Likelihoods
from noria.evaluate.results import Answers, Provenance, Result, read_result, scores_of, write_result
from noria.evaluate.slices import slices_of
from noria.evaluate.spans import SpanAnswers
from noria.records import Labelled, Record, Source, Span, text_content

LABELS = ("card", "loan")
MADE_BY = Provenance("ab" * 32, "cd" * 32, 7, "torch-2.13.0-cpu", 1.79e9)
NUM = 120


def records() -> tuple[Record, ...]:
    """Half English, half Chinese; two folders; three lengths; two labels."""
    found = []
    for index in range(NUM):
        words = "my card is lost " if index % 2 else "我的贷款什么时候到账呢？"
        text = words * (1 + index % 3 * 4)
        source = Source(f"{'mail' if index < 40 else 'chat'}/{index}.txt", 1)
        found.append(Labelled(text_content(text), (LABELS[index // 2 % 2],), source))
    return tuple(found)


GOLD = np.array([index // 2 % 2 for index in range(NUM)])


def classified(seed: int, skill: float, chinese: float | None = None) -> Classified:
    """Right with that probability, on Chinese texts (the even ones) with another, if given."""
    draw = np.random.default_rng(seed)
    skills = np.where(np.arange(NUM) % 2 == 0, skill if chinese is None else chinese, skill)
    right = draw.random(NUM) < skills
    sure = draw.uniform(0.55, 0.99, NUM)
    probabilities = np.stack([1 - sure, sure], axis=1)
    flipped = np.where(right, GOLD, 1 - GOLD) == 0
    probabilities[flipped] = probabilities[flipped][:, ::-1]
    return Classified(LABELS, GOLD, probabilities, 0.5)


SPANS = SpanAnswers(
    tuple(frozenset({Span(0, 2, "PER")}) for _ in range(NUM)),
    tuple(frozenset({Span(0, 2 + i % 2, "PER"), Span(3, 4, "LOC")}) for i in range(NUM)),
)
EVERY_KIND: dict[str, Answers] = {
    "likelihoods": Likelihoods(np.linspace(1, 9, NUM), np.arange(1, NUM + 1), 500),
    "classes": classified(1, 0.8),
    "labels": MultiLabelled(LABELS, np.eye(2, dtype=bool)[GOLD], classified(1, 0.8).probabilities),
    "spans": SPANS,
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_result_is_read_back_as_it_was_written(kind: str, tmp_path: Path) -> None:
    result = Result(EVERY_KIND[kind], records(), MADE_BY)
    write_result(tmp_path / "made", result)
    found = read_result(tmp_path / "made")
    assert (found.records, found.made_by) == (result.records, MADE_BY)
    for row in compare_results(result, found):
        assert row.difference.p_value == 1.0 and row.difference.difference.value == 0
    assert most_different(result, found, 5) == []


def test_scores_of_a_result_carry_where_they_come_from() -> None:
    result = Result(classified(1, 0.8), records(), MADE_BY)
    scores = {one.metric: one for one in scores_of("intent", result)}
    one = scores["intent.macro_f1"]
    assert (one.weight_hash, one.lock_digest, one.seed, one.num_records) == (
        "ab" * 32, "cd" * 32, 7, NUM,
    )  # fmt: skip
    assert one.low < one.value < one.high and one.interval.startswith("bootstrap of 2000")
    assert scores["intent.accuracy"].interval == "Clopper–Pearson"
    assert "intent.f1, card" in scores


def test_a_changed_record_or_array_is_seen(tmp_path: Path) -> None:
    write_result(tmp_path, Result(classified(1, 0.8), records(), MADE_BY))
    text = (tmp_path / "records.jsonl").read_text(encoding="utf-8")
    (tmp_path / "records.jsonl").write_text(text.replace("lost", "here"), encoding="utf-8")
    with pytest.raises(IntegrityError, match="is not what was measured"):
        read_result(tmp_path)
    np.save(tmp_path / "gold.npy", GOLD[:5])
    with pytest.raises(FormatError, match="evaluate the model again"):
        read_result(tmp_path)
    facts = json.loads((tmp_path / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(facts | {"kind": "guesses"}))
    with pytest.raises(FormatError, match="guesses"):
        read_result(tmp_path)


def test_as_many_answers_as_records_and_the_same_records_are_wanted() -> None:
    with pytest.raises(UsageError, match="120 answers to 119 records"):
        Result(classified(1, 0.8), records()[1:], MADE_BY)
    turned = Result(classified(1, 0.8), records()[::-1], MADE_BY)
    with pytest.raises(UsageError, match="the same records"):
        compare_results(Result(classified(1, 0.8), records(), MADE_BY), turned)


def test_slices_are_by_source_language_length_and_label() -> None:
    found = slices_of(records())
    counts = {name: int(mask.sum()) for name, mask in found.items()}
    assert counts["source: mail"] == 40 and counts["source: chat"] == 80
    assert counts["language: zh"] == counts["language: latin"] == 60
    assert counts["label: card"] == counts["label: loan"] == 60
    lengths = [count for name, count in counts.items() if name.startswith("length")]
    assert sum(lengths) == NUM and len(lengths) == 3
    assert slices_of(records()[:1]) == {}


def test_a_model_that_is_better_in_one_language_only_is_told_so_there() -> None:
    ours = Result(classified(1, 0.75, chinese=0.98), records(), MADE_BY)
    theirs = Result(classified(2, 0.75, chinese=0.5), records(), MADE_BY)
    rows = {(row.slice, row.metric): row for row in compare_results(ours, theirs)}
    assert rows["language: zh", "accuracy"].verdict == "better"
    assert rows["language: latin", "accuracy"].verdict == "no difference seen"
    assert rows[WHOLE, "accuracy"].verdict == "better"
    back = {(row.slice, row.metric): row for row in compare_results(theirs, ours)}
    assert back["language: zh", "accuracy"].verdict == "worse"


def test_among_many_slices_an_equal_model_is_not_called_better() -> None:
    wrong = 0
    for trial in range(16):
        pair = [Result(classified(2 * trial + i, 0.7), records(), MADE_BY) for i in (0, 1)]
        rows = compare_results(*pair)
        sliced = [row for row in rows if row.slice != WHOLE]
        assert len(sliced) == 9
        wrong += any(row.verdict != "no difference seen" for row in sliced)
    assert wrong <= 3  # of 16; without Holm's correction about every fourth


def test_the_examples_are_those_that_differ_most() -> None:
    even = np.full((NUM, 2), 0.5)
    ours, theirs = even.copy(), even.copy()
    ours[7] = np.eye(2)[GOLD[7]]
    theirs[9] = np.eye(2)[GOLD[9]] * 0.8 + 0.1
    pair = (Result(Classified(LABELS, GOLD, p), records(), MADE_BY) for p in (ours, theirs))
    first, second = most_different(*pair, at_most=5)
    assert (first.place, first.gain, second.place) == (7, 0.5, 9)
    assert second.gain == pytest.approx(-0.4)
    assert first.a == f"{LABELS[GOLD[7]]} (1.00)"


def test_spans_are_compared_by_text() -> None:
    better = replace(SPANS, predicted=SPANS.gold)
    rows = compare_results(Result(better, records(), MADE_BY), Result(SPANS, records(), MADE_BY))
    found = {row.metric: row for row in rows if row.slice == WHOLE}
    assert found["micro_f1"].verdict == found["exact_match"].verdict == "better"
    assert found["micro_f1"].difference.a == 1.0
