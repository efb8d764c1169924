"""Encoders that learn classes of real text, from nothing and from a base, within a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_texts import CHINESE, authors

from noria.bases.catalogue import resolve_base
from noria.bases.importing import import_encoder
from noria.errors import FormatError, TrainingError, UsageError
from noria.runtime import cache_folder
from noria.tasks.encoder import EncoderClassifier, EncoderLabeller, load_encoder_classifier
from noria.train import lessons
from noria.train.encoders import train_scratch_classifier, tune_classifier
from noria.train.lessons import PRETRAINING, SCRATCH, TUNING, EncoderPlan, LessonSteps, stated_steps

STEPS = (LessonSteps(20, "float32", 1), LessonSteps(200, "float32", 1))
SMALL = EncoderPlan(
    steps=STEPS,
    num_layers=1,
    width=64,
    vocab_size=900,
    window_tokens=32,
    dropout=0.0,
    pretraining=replace(PRETRAINING, batch_rows=16),
    scratch=replace(SCRATCH, batch_rows=16, learning_rate=3e-3),
)


@pytest.fixture(scope="module")
def written() -> list[tuple[str, str]]:
    """English of three authors and Chinese of two kinds, together."""
    return authors(60) + CHINESE * 6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base")
    facts = import_encoder(resolve_base("all-minilm-l6-v2", Path(), cache_folder()), out)
    assert (facts.vocab_size, facts.context_tokens, facts.chat_format) == (30522, 512, "")
    return out


def right(classifier: EncoderClassifier, asked: list[tuple[str, str]]) -> float:
    found = classifier.probabilities([text for text, _ in asked])
    assert found.sum(axis=1) == pytest.approx(np.ones(len(asked)))
    return float(
        np.mean(
            [
                classifier.labels[one] == label
                for one, (_, label) in zip(found.argmax(1), asked, strict=True)
            ]
        )
    )


def trained(
    written: list[tuple[str, str]], plan: EncoderPlan, out: Path, unlabelled: list[str]
) -> EncoderClassifier:
    texts, labels = [text for text, _ in written], [(label,) for _, label in written]
    seen: list[tuple[str, int, int]] = []
    train_scratch_classifier(
        texts, labels, False, unlabelled, plan, out, lambda *one: seen.append(one)
    )
    assert {name for name, _, _ in seen} == {"hidden tokens", "classes"}
    assert seen[-1][1] == seen[-1][2]
    found = load_encoder_classifier(out)
    assert isinstance(found, EncoderClassifier)
    return found


def test_an_encoder_from_nothing_learns_and_the_same_plan_gives_the_same_weights(
    written: list[tuple[str, str]], tmp_path: Path
) -> None:
    unlabelled = ["Call me Ishmael.", "", "水车由河水推动"]
    first = trained(written[::2], SMALL, tmp_path / "a", unlabelled)
    assert first.labels == ("Cleveland", "Jefferson", "Melville", "体育", "财经")
    assert right(first, written[1::2]) > 0.5  # 0.3 by always saying the same
    assert stated_steps(tmp_path / "a") == STEPS
    plan = replace(SMALL, steps=stated_steps(tmp_path / "a"))
    assert trained(written[::2], plan, tmp_path / "b", unlabelled).weight_hash == first.weight_hash
    other = replace(plan, seed=1)
    assert trained(written[::2], other, tmp_path / "c", unlabelled).weight_hash != first.weight_hash


def test_time_is_turned_into_steps_and_too_little_is_refused(
    written: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "num_cores", lambda: 1)  # two threads would wait for each other
    plan = replace(
        SMALL,
        steps=(),
        seconds=1000.0,
        pretraining_share=0.2,
        pretraining=replace(SMALL.pretraining, max_steps=4),
        scratch=replace(SMALL.scratch, max_passes=3),
    )
    trained(written[::2], plan, tmp_path / "enough", [])
    found = [one.num_steps for one in stated_steps(tmp_path / "enough")]
    assert found == [4, 3 * 8], "114 texts, 16 at a time"
    with pytest.raises(TrainingError, match="time for 20 steps"):
        trained(written[::2], replace(plan, seconds=0.0), tmp_path / "none", [])
    assert not (tmp_path / "none" / "training.json").exists()


def test_a_tuned_base_knows_more_after_little(
    written: list[tuple[str, str]], base: Path, tmp_path: Path
) -> None:
    plan = replace(
        SMALL,
        base=base,
        steps=(LessonSteps(6, "float32", 1),),
        tuning=replace(TUNING, batch_rows=8),
    )
    few = written[:36]
    texts, labels = [text for text, _ in few], [(label,) for _, label in few]
    tune_classifier(texts, labels, False, plan, tmp_path)
    found = load_encoder_classifier(tmp_path)
    assert isinstance(found, EncoderClassifier)
    assert right(found, written[90:150]) > 0.55  # 0.33 by chance, of twelve texts each
    with pytest.raises(UsageError, match="no base"):
        tune_classifier(texts, labels, False, SMALL, tmp_path)


def test_many_labels_hold_each_by_itself(tmp_path: Path) -> None:
    texts = [text for text, _ in CHINESE] * 8 + ["", "其他"] * 4
    labels: list[tuple[str, ...]] = [
        (label, "新闻") + (("今",) if "今" in text else ()) for text, label in CHINESE
    ] * 8 + [(), ()] * 4
    train_scratch_classifier(texts, labels, True, [], SMALL, tmp_path)
    found = load_encoder_classifier(tmp_path)
    assert isinstance(found, EncoderLabeller)
    assert found.labels == ("今", "体育", "新闻", "财经")
    said = found.label_probabilities(texts) > 0.5
    wanted = np.array([[name in some for name in found.labels] for some in labels])
    assert (said == wanted).mean() > 0.9
    assert wanted.any(axis=0).all()


def test_ten_thousand_classes_and_texts_of_marks_alone_are_learned(tmp_path: Path) -> None:
    texts = [f"{number // 100} {number % 100}" for number in range(10_000)]
    labels = [(str(number),) for number in range(10_000)]
    steps = (LessonSteps(2, "float32", 1), LessonSteps(3, "float32", 1))
    train_scratch_classifier(
        ["", "   ", *texts],
        [("0",), ("1",), *labels],
        False,
        [],
        replace(SMALL, steps=steps),
        tmp_path,
    )
    found = load_encoder_classifier(tmp_path)
    assert isinstance(found, EncoderClassifier)
    assert found.probabilities(["12 34", ""]).shape == (2, 10_000)


@pytest.mark.parametrize(
    ("texts", "labels", "many", "said"),
    [
        (["a", "b"], [("x",), ("x",)], False, "1 classes"),
        (["a", "b"], [("x",)], False, "2 texts and labels for 1"),
        (["a", "b"], [("x",), ()], False, "text 2 with 0 labels"),
        (["a", "b"], [("x", "y"), ("x",)], False, "text 1 with 2 labels"),
        (["a", "b"], [(), ()], True, "0 classes"),
        (["", "  "], [("x",), ("y",)], False, "all empty"),
    ],
)
def test_what_can_not_be_learned_is_an_error(
    texts: list[str], labels: list[tuple[str, ...]], many: bool, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        train_scratch_classifier(texts, labels, many, [], SMALL, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_folder_without_steps_is_refused(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text('{"lessons": [{}]}', encoding="utf-8")
    with pytest.raises(FormatError, match="without steps"):
        stated_steps(tmp_path)
