"""Intervals and p-values of every metric, in simulations whose truth is known."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from simulated import LABELS, at_its_rate, covered, drawn

from noria.errors import MissingExtra, UsageError
from noria.evaluate.classes import NONE, Classified, MultiLabelled, class_sums, label_sums
from noria.evaluate.exact import mcnemar, share_interval
from noria.evaluate.intervals import compare, measure
from noria.evaluate.metrics import Interval, student_quantile, student_two_tails
from noria.evaluate.spans import SpanAnswers, bio_spans, span_sums
from noria.evaluate.sums import Sums


def test_intervals_of_classification_cover_the_truth_at_their_rate() -> None:
    names = ("accuracy", "macro_f1", "micro_f1", "mcc", "brier", "calibration_error")
    names += ("f1, fee", "recall, fee", "precision, fee", "macro_recall")
    huge = class_sums(drawn(10**6, 400_000, 0.7))
    truth = {name: huge.value(name) for name in names} | {"calibration_error": 0.0}
    rates = covered(lambda seed: class_sums(drawn(seed, 120, 0.7)), names, truth, 120)
    assert all(at_its_rate(count, 120) for count in rates.values()), rates


def test_the_interval_of_a_calibration_error_that_is_there_covers_it() -> None:
    def overconfident(seed: int, num: int) -> Sums:
        answers = drawn(seed, num, 0.6)
        said = answers.probabilities.argmax(axis=1)
        sure = np.random.default_rng([seed, 2]).uniform(0.75, 1.0, size=num)
        probabilities = np.repeat((1 - sure)[:, None] / 3, 4, axis=1)
        probabilities[np.arange(num), said] = sure
        return class_sums(Classified(LABELS, answers.gold, probabilities))

    truth = {"calibration_error": overconfident(10**6, 400_000).value("calibration_error")}
    rates = covered(lambda seed: overconfident(seed, 150), tuple(truth), truth, 80)
    assert truth["calibration_error"] > 0.1
    assert at_its_rate(rates["calibration_error"], 80)


def test_intervals_of_many_labels_and_of_spans_cover_the_truth() -> None:
    def labels(seed: int, num: int) -> Sums:
        draw = np.random.default_rng(seed)
        gold = draw.random((num, 3)) < 0.4
        probabilities = np.clip(gold * 0.4 + draw.random((num, 3)) * 0.6, 0, 1)
        return label_sums(MultiLabelled(("a", "b", "c"), gold, probabilities))

    def spans(seed: int, num: int) -> Sums:
        draw = np.random.default_rng(seed)
        sides: tuple[list, list] = ([], [])  # type: ignore[type-arg]
        for _ in range(num):
            tags = draw.choice(["O", "B-PER", "I-PER", "B-LOC"], size=10, p=[0.5, 0.2, 0.2, 0.1])
            noise = draw.random(10) < draw.uniform(0, 0.3)  # errors of a sentence come together
            sides[0].append(bio_spans(list(tags)))
            sides[1].append(bio_spans(list(np.where(noise, "O", tags))))
        return span_sums(SpanAnswers(tuple(sides[0]), tuple(sides[1])))

    for make in (labels, spans):
        names = ("macro_f1", "micro_f1", "exact_match")
        huge = make(10**6, 20_000)
        truth = {name: huge.value(name) for name in names}
        rates = covered(lambda seed, make=make: make(seed, 60), names, truth, 80)  # type: ignore[misc]
        assert all(at_its_rate(count, 80) for count in rates.values()), rates


def test_examples_of_one_group_count_as_one_and_the_interval_covers_with_them() -> None:
    def threads(seed: int) -> tuple[Classified, tuple[str, ...]]:
        draw = np.random.default_rng(seed)
        skill = np.repeat(draw.choice([0.2, 0.9], size=30), 10)  # of a whole thread of ten texts
        gold = draw.integers(0, 4, size=300)
        said = np.where(draw.random(300) < skill, gold, (gold + 1) % 4)
        probabilities = np.eye(4)[said]
        return Classified(LABELS, gold, probabilities), tuple(str(i // 10) for i in range(300))

    hits = {True: 0, False: 0}
    for seed in range(60):
        answers, groups = threads(seed)
        for grouped in hits:
            sums = class_sums(answers, groups if grouped else ())
            found = measure([sums], seed=seed, num_resamples=200)["accuracy"]
            hits[grouped] += found.low <= 0.55 <= found.high
    assert at_its_rate(hits[True], 60)
    assert hits[False] < 45  # what an interval that does not know of threads is worth


def test_a_better_model_wins_and_an_equal_one_hardly_ever_does() -> None:
    names = ("accuracy", "macro_f1", "mcc", "brier")
    better = dict.fromkeys(names, 0)
    equal = dict.fromkeys(names, 0)
    for trial in range(80):
        worse = class_sums(drawn(5_000 + trial, 200, 0.6, gold_seed=trial))
        for skill, counts in ((0.8, better), (0.6, equal)):
            ours = class_sums(drawn(trial, 200, skill, gold_seed=trial))
            found = compare([ours], [worse], seed=trial, num_resamples=300)
            for name in names:
                if skill == 0.8:
                    counts[name] += found[name].better == 1
                else:
                    counts[name] += found[name].better != 0
    assert all(count / 80 >= 0.9 for count in better.values()), better
    assert all(count / 80 <= 0.12 for count in equal.values()), equal


def test_verdicts_follow_the_sign_that_is_good_and_a_model_equals_itself() -> None:
    good, bad = (class_sums(drawn(seed, 400, skill, 1)) for seed, skill in ((1, 0.9), (2, 0.5)))
    there, back = compare([good], [bad]), compare([bad], [good])
    for name in ("accuracy", "macro_f1", "brier", "risk"):
        assert (there[name].better, back[name].better) == (1, -1)
        assert there[name].difference.value == pytest.approx(-back[name].difference.value)
    assert there["accuracy"].difference.value > 0 > there["brier"].difference.value
    for one in compare([good], [good]).values():
        assert (one.better, one.p_value, one.difference.value) == (0, 1.0, 0.0)


def test_the_smallest_visible_difference_is_seen_four_times_out_of_five() -> None:
    pairs = [
        [class_sums(drawn(seed + 7_000 * side, 300, 0.6, gold_seed=seed)) for side in (0, 1)]
        for seed in range(40)
    ]
    visible = np.mean(
        [compare([a], [b], num_resamples=300)["macro_f1"].smallest_visible for a, b in pairs]
    )
    base = class_sums(drawn(1, 200_000, 0.6)).value("macro_f1")
    skills = np.linspace(0.6, 0.9, 61)
    reached = [class_sums(drawn(1, 200_000, s)).value("macro_f1") - base for s in skills[::6]]
    skill = float(np.interp(visible, reached, skills[::6]))
    seen = 0
    for trial in range(80):
        ours = class_sums(drawn(trial, 300, skill, gold_seed=trial))
        theirs = class_sums(drawn(9_000 + trial, 300, 0.6, gold_seed=trial))
        seen += compare([ours], [theirs], num_resamples=300)["macro_f1"].better == 1
    assert 0.68 <= seen / 80 <= 0.92


def test_several_seeds_widen_the_interval_by_what_lies_between_them() -> None:
    def run(seed: int, skill: float) -> Sums:
        return class_sums(drawn(seed, 400, skill, gold_seed=3))

    steady = measure([run(seed, 0.7) for seed in range(4)])["macro_f1"]
    shaky = measure([run(seed, skill) for seed, skill in enumerate((0.5, 0.6, 0.8, 0.9))])
    assert shaky["macro_f1"].high - shaky["macro_f1"].low > 2 * (steady.high - steady.low)
    values = [run(seed, 0.7).value("macro_f1") for seed in range(4)]
    assert steady.value == pytest.approx(np.mean(values))
    # two lucky runs of a shaky recipe do not beat another recipe
    lucky = compare([run(1, 0.9), run(2, 0.6)], [run(5, 0.65), run(6, 0.66)])["accuracy"]
    assert lucky.better == 0 and compare([run(1, 0.9)], [run(5, 0.65)])["accuracy"].better == 1


def test_recipes_of_the_same_quality_hardly_ever_differ_over_seeds() -> None:
    wrong = 0
    for trial in range(60):
        draw = np.random.default_rng([trial, 9])
        sides = [
            [
                class_sums(drawn(9 * trial + 3 * side + run, 200, draw.normal(0.7, 0.05), 1))
                for run in range(3)
            ]
            for side in (0, 1)
        ]
        wrong += compare(*sides, num_resamples=200)["macro_f1"].better != 0
    assert wrong <= 7


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # the ends solve the binomial equations; Clopper & Pearson (1934)
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (1, 1, 0.025, 1.0),
        (81, 263, None, None),
    ],
)
def test_the_exact_interval_solves_its_equations(
    successes: int, trials: int, low: float | None, high: float | None
) -> None:
    found = share_interval(successes, trials)
    if low is not None and high is not None:
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
        return

    def at_most(count: int, p: float) -> float:
        return sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count + 1))

    assert at_most(successes, found.high) == pytest.approx(0.025)
    assert 1 - at_most(successes - 1, found.low) == pytest.approx(0.025)


def test_mcnemar_counts_only_the_texts_on_which_the_models_differ() -> None:
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)
    gold = np.zeros(100, dtype=np.int64)
    ours, theirs = np.zeros(100, dtype=int), np.zeros(100, dtype=int)
    ours[:1], theirs[1:10] = 1, 1
    a, b = (class_sums(Classified(("x", "y"), gold, np.eye(2)[said])) for said in (ours, theirs))
    assert compare([a], [b])["accuracy"].p_value == pytest.approx(2 * (1 + 10) / 2**10)


def test_nothing_wrong_among_few_is_not_certainty() -> None:
    gold = np.arange(20) % 2
    found = measure([class_sums(Classified(("x", "y"), gold, np.eye(2)[gold]))])
    assert found["macro_f1"].value == 1.0
    assert found["macro_f1"].low == pytest.approx(0.025 ** (1 / 20))
    assert found["mcc"].low == pytest.approx(2 * 0.025 ** (1 / 20) - 1)  # it goes from -1 to 1
    assert found["brier"].high == pytest.approx(2 * (1 - 0.025 ** (1 / 20)))  # from 0 to 2
    assert found["risk"].high == pytest.approx(1 - 0.025 ** (1 / 20))
    one = measure([class_sums(Classified(("x", "y"), gold[:1], np.eye(2)[gold[:1]]))])
    assert one["macro_f1"] == Interval(1.0, 0.0, 1.0)


def test_what_is_not_defined_is_left_out_and_never_zero() -> None:
    gold, said = np.array([0, 0, 1, 0]), np.array([0, 0, 0, 0])
    found = measure([class_sums(Classified(("x", "y", "unseen"), gold, np.eye(3)[said]))])
    assert "precision, y" not in found and found["recall, y"].value == 0.0
    assert not any(name.endswith("unseen") for name in found)
    assert "out_of_scope_recall" not in found


def test_a_threshold_trades_coverage_for_risk() -> None:
    draw = np.random.default_rng(1)
    gold = draw.integers(0, 3, size=600)
    scores = draw.normal(size=(600, 3)) + 2 * np.eye(3)[gold]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gold[:100] = NONE
    found = [
        measure([class_sums(Classified(("x", "y", "z"), gold, probabilities, threshold))])
        for threshold in (0.0, 0.6, 0.9)
    ]
    coverage = [one["coverage"].value for one in found]
    risk = [one["risk"].value for one in found]
    assert coverage[0] == 1.0 and coverage == sorted(coverage, reverse=True)
    assert risk == sorted(risk, reverse=True) and risk[2] < risk[0] - 0.1
    assert found[2]["out_of_scope_recall"].value > found[1]["out_of_scope_recall"].value


def test_the_same_seed_gives_the_same_numbers() -> None:
    a, b = class_sums(drawn(1, 100, 0.7, 1)), class_sums(drawn(2, 100, 0.6, 1))
    assert measure([a], seed=3) == measure([a], seed=3) != measure([a], seed=4)
    assert compare([a], [b], seed=3) == compare([a], [b], seed=3)


def test_ten_thousand_classes_fit_into_memory() -> None:
    draw = np.random.default_rng(0)
    gold = draw.integers(0, 10_000, size=500)
    probabilities = np.zeros((500, 10_000), dtype=np.float32)
    probabilities[np.arange(500), np.where(draw.random(500) < 0.5, gold, 0)] = 1.0
    labels = tuple(str(index) for index in range(10_000))
    sums = class_sums(Classified(labels, gold, probabilities))
    found = measure([sums], num_resamples=50)
    assert 0.4 < found["accuracy"].value < 0.6


def test_wrong_input_is_told_and_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = drawn(1, 10, 0.5)
    with pytest.raises(UsageError, match="same examples"):
        compare([class_sums(answers)], [class_sums(drawn(1, 11, 0.5))])
    with pytest.raises(UsageError, match="a row for each example"):
        Classified(LABELS, answers.gold, answers.probabilities[:, :3])
    with pytest.raises(UsageError, match="from 0 to 1"):
        Classified(LABELS, answers.gold, answers.probabilities * 9)
    with pytest.raises(UsageError, match="gold class"):
        Classified(LABELS, answers.gold + 3, answers.probabilities)
    with pytest.raises(UsageError, match="tag 'PER'"):
        bio_spans(["O", "PER"])
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(MissingExtra, match="'eval'"):
        class_sums(answers)


def test_students_tails_are_the_inverse_of_its_quantiles() -> None:
    for freedom in (1, 2, 9, 200, 1_000):
        for tail in (0.4, 0.05, 0.01):
            quantile = student_quantile(1 - tail / 2, freedom)
            assert student_two_tails(quantile, freedom) == pytest.approx(tail, rel=1e-3)
