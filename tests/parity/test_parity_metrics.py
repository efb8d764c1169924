"""Every metric against scikit-learn, nltk or the harness, or a slow formula where none has it."""

from __future__ import annotations

import math
import random

import lm_eval.api.metrics as harness
import numpy as np
import pytest
import sklearn
from nltk.chunk.util import ChunkScore, conlltags2tree
from nltk.tree import Tree
from sklearn import metrics as sk

from noria.evaluate.classes import (
    NONE,
    Classified,
    MultiLabelled,
    class_sums,
    label_sums,
)
from noria.evaluate.confusion import NOTHING, confusion, reliability
from noria.evaluate.metrics import Likelihoods, bits_per_byte
from noria.evaluate.spans import SpanAnswers, bio_spans, match_sums, span_sums
from noria.evaluate.sums import Sums

NUM_CASES = 1_000
FEW_CASES = 200


def values(sums: Sums) -> dict[str, float]:
    return {name: sums.value(name) for name in sums.metrics}


def random_classes(seed: int) -> Classified:
    """From 1 to 60 texts of 2 to 8 classes, some rare; every other case has NONE on both sides."""
    draw = np.random.default_rng(seed)
    num, num_classes = int(draw.integers(1, 60)), int(draw.integers(2, 9))
    gold = np.minimum(draw.geometric(0.4, num) - 1, num_classes - 1)
    scores = draw.normal(size=(num, num_classes))
    scores[np.arange(num), gold] += draw.uniform(0, 3)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if seed % 2:
        gold[draw.random(num) < 0.2] = NONE
    labels = tuple(f"class {index}" for index in range(num_classes))
    return Classified(labels, gold, probabilities, 0.5 if seed % 2 else 0.0)


@pytest.fixture(autouse=True)
def unchecked():  # type: ignore[no-untyped-def]
    """scikit-learn spends most of its time on looking at the arguments."""
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        yield


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_classes_equal_scikit_learns_on_a_thousand_random_cases() -> None:
    for seed in range(NUM_CASES):
        answers = random_classes(seed)
        gold, predicted = answers.gold, answers.predicted
        found = values(class_sums(answers))
        every = np.arange(len(answers.labels))
        seen = [one for one in every if one in gold or one in predicted]
        assert found["accuracy"] == pytest.approx(sk.accuracy_score(gold, predicted))
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(gold, predicted), abs=1e-12)
        rows = sk.precision_recall_fscore_support(gold, predicted, labels=every, zero_division=0)
        names = ("precision", "recall", "f1")
        for name, row in zip(names, rows, strict=False):
            mean = row[seen].mean() if seen else math.nan
            assert found[f"macro_{name}"] == pytest.approx(mean, nan_ok=True)
            for index, label in enumerate(answers.labels):
                ours = found[f"{name}, {label}"]
                assert (0.0 if math.isnan(ours) else ours) == pytest.approx(row[index])
        micro = sk.precision_recall_fscore_support(
            gold, predicted, labels=every, average="micro", zero_division=0
        )
        for name, value in zip(names, micro, strict=False):
            ours = found[f"micro_{name}"]
            assert (0.0 if math.isnan(ours) else ours) == pytest.approx(value)
        if not seed % 2:
            brier = sk.brier_score_loss(
                gold, answers.probabilities, labels=every, scale_by_half=False
            )
            assert found["brier"] == pytest.approx(brier)


def test_abstention_scope_and_calibration_equal_slow_formulas() -> None:
    for seed in range(NUM_CASES):
        answers = random_classes(seed)
        found = values(class_sums(answers))
        rows = list(zip(answers.gold, answers.predicted, answers.probabilities, strict=True))
        inside = [row for row in rows if row[0] != NONE]
        outside = [row for row in rows if row[0] == NONE]
        answered = [row for row in rows if row[1] != NONE]
        expected = {
            "coverage": share([row[1] != NONE for row in rows]),
            "risk": share([row[0] != row[1] for row in answered]),
            "in_scope_accuracy": share([row[0] == row[1] for row in inside]),
            "out_of_scope_recall": share([row[1] == NONE for row in outside]),
            "out_of_scope_precision": share([row[0] == NONE for row in rows if row[1] == NONE]),
        }
        gaps = 0.0
        for low in range(15):
            some = [r for r in inside if low / 15 < max(r[2]) <= (low + 1) / 15]
            gaps += abs(sum(max(r[2]) - (int(r[2].argmax()) == r[0]) for r in some))
        expected["calibration_error"] = gaps / len(inside) if inside else math.nan
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, nan_ok=True), name


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


def check_confusion(seed: int) -> None:
    answers = random_classes(seed)
    names = (*answers.labels, NOTHING)
    matrix = np.zeros((len(names), len(names)), dtype=int)
    for one in confusion(answers):
        matrix[names.index(one.gold), names.index(one.predicted)] = one.count
    order = [*range(len(answers.labels)), NONE]
    assert (matrix == sk.confusion_matrix(answers.gold, answers.predicted, labels=order)).all()
    bins = reliability(answers)
    num_inside = int((answers.gold != NONE).sum())
    assert sum(one.count for one in bins) == num_inside
    gaps = sum(one.count * abs(one.confidence - one.right.value) for one in bins)
    if num_inside:
        error = class_sums(answers).value("calibration_error")
        assert gaps / num_inside == pytest.approx(error)


def test_the_confusion_matrix_equals_scikit_learns_and_bins_hold_every_text_in_scope() -> None:
    for seed in range(FEW_CASES):  # `make prove` has a thousand of each
        check_confusion(seed)


def check_labels(seed: int) -> None:
    draw = np.random.default_rng(seed)
    num, num_labels = int(draw.integers(2, 40)), int(draw.integers(2, 7))
    gold = draw.random((num, num_labels)) < 0.3
    probabilities = np.clip(gold * 0.3 + draw.random((num, num_labels)) * 0.7, 0, 1)
    answers = MultiLabelled(tuple("abcdefg"[:num_labels]), gold, probabilities)
    given = answers.predicted
    found = values(label_sums(answers))
    assert found["exact_match"] == pytest.approx(sk.accuracy_score(gold, given))
    assert found["hamming_loss"] == pytest.approx(sk.hamming_loss(gold, given))
    cells = sk.matthews_corrcoef(gold.ravel(), given.ravel())
    assert found["mcc"] == pytest.approx(cells, abs=1e-12)
    assert found["brier"] == pytest.approx(((probabilities - gold) ** 2).mean())
    seen = gold.any(axis=0) | given.any(axis=0)
    rows = sk.precision_recall_fscore_support(gold, given, zero_division=0)
    micro = sk.precision_recall_fscore_support(gold, given, average="micro", zero_division=0)
    for name, row, all_of_it in zip(("precision", "recall", "f1"), rows, micro, strict=False):
        if seen.any():
            assert found[f"macro_{name}"] == pytest.approx(row[seen].mean())
        ours = found[f"micro_{name}"]
        assert (0.0 if math.isnan(ours) else ours) == pytest.approx(all_of_it)


def test_many_labels_equal_scikit_learns() -> None:
    for seed in range(FEW_CASES):  # `make prove` has a thousand of each
        check_labels(seed)


def slow_spans(tags: list[str], strict: bool) -> set[tuple[int, int, str]]:
    """Every stretch of tokens, asked whether it is a span."""
    found = set()
    for start, first in enumerate(tags):
        for end in range(start + 1, len(tags) + 1):
            name = first[2:]
            continued = start > 0 and tags[start - 1][2:] == name and tags[start - 1] != "O"
            begins = first.startswith("B-") or (
                first.startswith("I-") and not continued and not strict
            )
            inside = all(tag == f"I-{name}" for tag in tags[start + 1 : end])
            ends = end == len(tags) or tags[end] != f"I-{name}"
            if begins and inside and ends:
                found.add((start, end, name))
    return found


def test_spans_equal_a_slow_reading_on_a_thousand_random_cases() -> None:
    draw = random.Random(5)
    kinds = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    for case in range(NUM_CASES):
        strict = bool(case % 2)
        pairs = []
        for _ in range(draw.randint(1, 6)):
            gold = [draw.choice(kinds) for _ in range(draw.randint(1, 8))]
            pairs.append((gold, [t if draw.random() < 0.7 else draw.choice(kinds) for t in gold]))
        slow = [tuple(slow_spans(tags, strict) for tags in pair) for pair in pairs]
        sides = [[bio_spans(pair[side], strict) for pair in pairs] for side in (0, 1)]
        for (gold_slow, _), spans in zip(slow, sides[0], strict=True):
            assert {(one.start, one.end, one.tag) for one in spans} == gold_slow
        found = values(span_sums(SpanAnswers(tuple(sides[0]), tuple(sides[1]))))
        right = sum(len(a & b) for a, b in slow)
        wanted, given = (sum(len(pair[side]) for pair in slow) for side in (0, 1))
        expected = 2 * right / (wanted + given) if wanted + given else math.nan
        assert found["micro_f1"] == pytest.approx(expected, nan_ok=True)
        assert found["exact_match"] == pytest.approx(share([a == b for a, b in slow]))


def test_spans_equal_nltks_on_a_thousand_random_cases() -> None:
    draw = random.Random(7)
    kinds = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    for _ in range(NUM_CASES):
        gold, given = [], []
        for _ in range(draw.randint(1, 5)):
            tags = [draw.choice(kinds) for _ in range(draw.randint(1, 9))]
            gold.append(tags)
            given.append([t if draw.random() < 0.7 else draw.choice(kinds) for t in tags])
        theirs = ChunkScore()
        for right, said in zip(gold, given, strict=True):
            theirs.score(tree(right), tree(said))
        sides = [tuple(bio_spans(tags) for tags in side) for side in (gold, given)]
        found = values(span_sums(SpanAnswers(*sides)))
        for name, value in (
            ("micro_precision", theirs.precision()),
            ("micro_recall", theirs.recall()),
            ("micro_f1", theirs.f_measure()),
        ):
            ours = found[name]  # nltk says 0 where there is nothing
            assert (0.0 if math.isnan(ours) else ours) == pytest.approx(value, abs=1e-12)


def tree(tags: list[str]) -> Tree:
    """A sentence as nltk takes it; each token is another word, so that places can't be mixed up."""
    return conlltags2tree([(str(place), "X", tag) for place, tag in enumerate(tags)])


def test_perplexity_and_bits_per_byte_equal_the_harnesss_on_a_thousand_random_cases() -> None:
    for seed in range(NUM_CASES):
        draw = np.random.default_rng(seed)
        num = int(draw.integers(1, 50))
        nll, num_bytes = draw.gamma(2, 40, num), draw.integers(1, 400, num)
        found = bits_per_byte(Likelihoods(nll, num_bytes, 0), num_resamples=1).value
        items = list(zip((-nll).tolist(), num_bytes.tolist(), strict=True))
        assert found == pytest.approx(harness.bits_per_byte(items))
        assert 2**found == pytest.approx(harness.weighted_perplexity(items))  # of a byte


def test_exact_match_equals_scikit_learns_accuracy_on_a_thousand_random_cases() -> None:
    draw = random.Random(3)
    for _ in range(NUM_CASES):
        gold = [draw.choice(["Friday", "周五", "a b", ""]) for _ in range(draw.randint(1, 20))]
        given = [one if draw.random() < 0.6 else draw.choice(["x", "周六"]) for one in gold]
        spaced = [draw.choice(["", " ", "\n"]) + one + draw.choice(["", "\t"]) for one in given]
        assert match_sums(gold, spaced).value("exact_match") == pytest.approx(
            sk.accuracy_score(gold, given)
        )


def test_an_answer_matches_but_for_the_white_space_around_it() -> None:
    found = match_sums(["Friday", "周五", "a b"], [" Friday\n", "周六", "ab"])
    assert found.value("exact_match") == pytest.approx(1 / 3)
