"""Many labels a text: each label's regression equals scikit-learn's own, from text to probability;
and so many classes that no solver's tables would fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from noria.baselines import logistic
from noria.baselines.interface import Labeller
from noria.baselines.tfidf import TfidfPlan, feature_matrix, train_tfidf
from noria.baselines.tfidf_many import load_tfidf_many, train_tfidf_many
from noria.errors import FormatError, UsageError

SMALL = TfidfPlan(max_characters=3)


@pytest.fixture(scope="module")
def marked(labelled: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Who wrote a paragraph, whether it has a number, and a label that all have."""
    texts = [text for text, _ in labelled]
    found = []
    for text, author in labelled:
        digits = ("number",) if any(one.isdigit() for one in text) else ()
        found.append(("text", *(() if author == "Melville" else (author,)), *digits))
    return texts, found


def test_each_label_is_scikit_learns_regression(
    marked: tuple[list[str], list[tuple[str, ...]]], tmp_path: Path
) -> None:
    texts, labels = marked
    ours = train_tfidf_many(texts[::2], labels[::2], SMALL)
    assert isinstance(ours, Labeller)
    assert ours.labels == ("Cleveland", "Jefferson", "number", "text")
    found = ours.label_probabilities(texts[1::2])
    matrix = feature_matrix(texts[::2], ours.parts.features)
    asked = feature_matrix(texts[1::2], ours.parts.features)
    for column, name in enumerate(ours.labels[:3]):
        holds = [name in some for some in labels[::2]]
        theirs = LogisticRegression(C=SMALL.inverse_penalty, max_iter=1000).fit(matrix, holds)
        assert found[:, column] == pytest.approx(theirs.predict_proba(asked)[:, 1], abs=1e-6)
        right = (found[:, column] > 0.5) == [name in some for some in labels[1::2]]
        assert right.mean() > 0.8
    assert (found[:, 3] > 0.99).all()
    assert found.sum(axis=1).max() > 1.5
    ours.save(tmp_path)
    back = load_tfidf_many(tmp_path)
    assert back.weight_hash == ours.weight_hash
    assert (
        back.label_probabilities(["", *texts[:3]])[1:] == ours.label_probabilities(texts[:3])
    ).all()
    with pytest.raises(FormatError):
        load_tfidf_many(tmp_path / "none")


def test_texts_without_labels_are_an_error(marked: tuple[list[str], list[tuple[str, ...]]]) -> None:
    with pytest.raises(UsageError, match="some for each"):
        train_tfidf_many(marked[0], marked[1][1:])
    with pytest.raises(UsageError, match="without any label"):
        train_tfidf_many(["a b", "b a"], [(), ()])


def test_of_too_many_classes_the_mean_rows_are_taken(
    labelled: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = [text for text, _ in labelled], [label for _, label in labelled]
    asked = train_tfidf(texts[::2], labels[::2], SMALL).probabilities(texts[1::2])
    monkeypatch.setattr(logistic, "MOST_SCORES", 10)
    monkeypatch.setattr(logistic, "MOST_MEANS", 3 * 2000)
    means = train_tfidf(texts[::2], labels[::2], SMALL)
    assert 100 < len(means.features.idf) <= 2000
    found = means.probabilities(texts[1::2])
    assert found.sum(axis=1) == pytest.approx(np.ones(len(found)))
    assert (found.argmax(axis=1) == asked.argmax(axis=1)).mean() > 0.8
