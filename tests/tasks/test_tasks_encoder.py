"""What a trained encoder answers: the same in any batch, to any text, of any length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_texts import CHINESE, authors

from noria.baselines.interface import Classifier, Labeller
from noria.errors import FormatError, InputError
from noria.model.config import ModelConfig
from noria.model.headed import build_headed_model
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels
from noria.tasks.encoder import (
    MAX_WINDOWS,
    READ_CHARACTERS,
    EncoderClassifier,
    EncoderLabeller,
    load_encoder_classifier,
    text_windows,
)
from noria.tokenizer.bert import train_bert_tokenizer

WINDOW = 20
STRANGE = ["", "   ", "\n", "\ud800", "\0", "🀄︎", "水车 wheel مرحبا", "x" * 5000, "word " * 3000]


@pytest.fixture(scope="module")
def classifier() -> EncoderClassifier:
    texts = [text for text, _ in authors(20) + CHINESE]
    tokenizer = train_bert_tokenizer(texts, 500)
    config = ModelConfig(tokenizer.vocab_size, WINDOW, 1, 32, 2, 2, 64, family="encoder")
    model = build_headed_model(config, HeadConfig("sequence", num_classes=3), 5).eval()
    with torch.no_grad():
        model.head.classes.weight.mul_(50)  # type: ignore[operator, union-attr]
    return EncoderClassifier(model, tokenizer, HeadLabels(("a", "b", "c"), False, WINDOW))


def test_an_answer_does_not_depend_on_its_batch_and_every_text_has_one(
    classifier: EncoderClassifier,
) -> None:
    texts = STRANGE + [text for text, _ in authors(10)]
    together = classifier.probabilities(texts)
    alone = np.concatenate([classifier.probabilities([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert together.sum(axis=1) == pytest.approx(np.ones(len(texts)))
    assert np.ptp(together, axis=0).max() > 0.05, "answers differ"
    assert (together[0] == together[1]).all(), "spaces are as nothing"
    assert classifier.probabilities([]).shape == (0, 3)
    assert isinstance(classifier, Classifier)
    assert not isinstance(classifier, Labeller)


def test_a_long_text_is_the_mean_of_windows_from_its_first_to_its_last_token(
    classifier: EncoderClassifier,
) -> None:
    words = [text.split()[0] for text, _ in authors(20)]
    text = " ".join(words * 20)
    (ids,) = classifier.tokenizer.encode_batch([text])
    rows, owners = text_windows(classifier.tokenizer, ["", text], WINDOW)
    assert [len(row) for row in rows] == [2, *[WINDOW] * MAX_WINDOWS]
    assert owners.tolist() == [0, *[1] * MAX_WINDOWS]
    assert rows[1][1:-1] == ids[: WINDOW - 2]
    assert rows[-1][1:-1] == ids[-(WINDOW - 2) :]
    scores = []
    with torch.inference_mode():
        for row in rows[1:]:
            every = torch.ones(1, WINDOW, dtype=torch.bool)
            scores.append(classifier.model(torch.tensor([row]), every).double().softmax(-1)[0])
    found = classifier.probabilities([text])[0]
    assert found == pytest.approx(torch.stack(scores).mean(0).numpy(), abs=1e-6)


def test_of_a_megabyte_its_beginning_middle_and_end_are_read(
    classifier: EncoderClassifier,
) -> None:
    filler, mark = "the " * (1 << 18), " 水 "
    (water,) = classifier.tokenizer.encode_batch(["水"])
    rows, _ = text_windows(classifier.tokenizer, [filler + mark], WINDOW)
    assert len(rows) == MAX_WINDOWS
    assert water[0] in rows[-1]
    assert len(filler) > 3 * READ_CHARACTERS
    assert classifier.probabilities([filler, filler[:100]]).shape == (2, 3)


def test_a_folder_gives_the_same_classifier_back(
    classifier: EncoderClassifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    back = load_encoder_classifier(tmp_path)
    assert isinstance(back, EncoderClassifier)
    assert back.weight_hash == classifier.weight_hash
    assert back.labels == ("a", "b", "c")
    assert (back.probabilities(STRANGE) == classifier.probabilities(STRANGE)).all()


def test_many_labels_are_a_sigmoid_each(classifier: EncoderClassifier, tmp_path: Path) -> None:
    labels = HeadLabels(("a", "b", "c"), True, WINDOW)
    EncoderLabeller(classifier.model, classifier.tokenizer, labels).save(tmp_path)
    back = load_encoder_classifier(tmp_path)
    assert isinstance(back, EncoderLabeller)
    assert isinstance(back, Labeller)
    one = classifier.probabilities(["A short text."])[0]
    each = back.label_probabilities(["A short text."])[0]
    scores = np.log(each) - np.log1p(-each)
    assert np.exp(scores) / np.exp(scores).sum() == pytest.approx(one, abs=1e-6)


def test_a_damaged_folder_is_refused(classifier: EncoderClassifier, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_encoder_classifier(tmp_path)
    classifier.save(tmp_path)
    path = tmp_path / "labels.json"
    sound = json.loads(path.read_text(encoding="utf-8"))
    for wrong in (
        {"names": ["a", "b"]},
        {"names": ["a", "b", "b"]},
        {"names": ["a", "b", 3]},
        {"many": 1},
        {"window_tokens": 10**6},
        {"window_tokens": True},
        {"format": 2},
    ):
        path.write_text(json.dumps(sound | wrong), encoding="utf-8")
        with pytest.raises(FormatError, match=r"labels\.json"):
            load_encoder_classifier(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"labels\.json"):
        load_encoder_classifier(tmp_path)
