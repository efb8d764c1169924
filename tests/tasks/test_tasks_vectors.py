"""Sentence vectors of the named base under a logistic regression, from few labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from noria.errors import FormatError, UsageError
from noria.tasks.vectors import (
    INVERSE_PENALTY,
    VectorClassifier,
    VectorLabeller,
    load_vectors,
    train_vectors,
)

TRAINED = [
    ("Where is the card that I ordered?", "card"),
    ("My new card has not come yet.", "card"),
    ("How long until the card arrives?", "card"),
    ("Give me my money back.", "refund"),
    ("I want to return this and be paid.", "refund"),
    ("Can I get a refund for the purchase?", "refund"),
    ("It says the password is wrong.", "access"),
    ("I can't sign in to my account.", "access"),
    ("The app does not let me log in.", "access"),
]
ASKED = [
    ("When will they deliver my bank card?", "card"),
    ("Please reimburse me.", "refund"),
    ("Login fails every time.", "access"),
]


def test_a_class_is_known_from_three_texts_by_their_meaning(minilm: Path, tmp_path: Path) -> None:
    texts, labels = [text for text, _ in TRAINED], [(label,) for _, label in TRAINED]
    found = train_vectors(minilm, texts, labels, False)
    assert isinstance(found, VectorClassifier)
    asked = [text for text, _ in ASKED]
    said = found.probabilities(asked)
    assert [found.labels[one] for one in said.argmax(1)] == [label for _, label in ASKED]
    assert said.sum(axis=1) == pytest.approx(np.ones(len(asked)))
    found.save(tmp_path)
    back = load_vectors(tmp_path)
    assert isinstance(back, VectorClassifier)
    assert back.weight_hash == found.weight_hash
    assert (back.probabilities(asked) == said).all()
    vectors = back.vectors([*texts, *asked])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)))
    theirs = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000)
    theirs.fit(vectors[: len(texts)], [label for _, label in TRAINED])
    assert said == pytest.approx(theirs.predict_proba(vectors[len(texts) :]), abs=1e-3)


def test_many_labels_and_strange_texts(minilm: Path, tmp_path: Path) -> None:
    texts = [text for text, _ in TRAINED] + [""]
    labels: list[tuple[str, ...]] = [(label, "bank") for _, label in TRAINED] + [()]
    found = train_vectors(minilm, texts, labels, True)
    assert isinstance(found, VectorLabeller)
    said = found.label_probabilities([text for text, _ in ASKED])
    assert (said[:, list(found.labels).index("bank")] > 0.5).all()
    strange = found.label_probabilities(["", "水车", "\ud800", "word " * 5000])
    assert np.isfinite(strange).all()
    assert found.label_probabilities([]).shape == (0, 4)
    found.save(tmp_path)
    assert isinstance(load_vectors(tmp_path), VectorLabeller)
    np.save(tmp_path / "weights.npy", np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(FormatError, match="weights of shape"):
        load_vectors(tmp_path)


def test_one_class_or_several_labels_where_one_is_wanted_are_errors(minilm: Path) -> None:
    with pytest.raises(UsageError, match="1 classes"):
        train_vectors(minilm, ["a", "b"], [("x",), ("x",)], False)
    with pytest.raises(UsageError, match="exactly one"):
        train_vectors(minilm, ["a", "b"], [("x",), ("x", "y")], False)
