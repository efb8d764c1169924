"""TF-IDF with logistic regression against scikit-learn's own pipeline, from text to probability."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline

from noria.baselines.labels import likeliest_label
from noria.baselines.tfidf import TfidfPlan, load_tfidf, train_tfidf
from noria.errors import FormatError, MissingExtra, UsageError

Labelled = list[tuple[str, str]]
SMALL = TfidfPlan(max_characters=3)
CHINESE = [
    ("股市  今天大涨，指数创新高", "财经"),
    ("央行下调利率，股市\n\n反应积极", "财经"),
    ("A股指数收盘上涨1.5%", "财经"),
    ("球队昨晚赢得比赛，晋级决赛", "体育"),
    ("国足比赛今晚开球", "体育"),
    ("决赛今晚打响，两队争冠", "体育"),
]


def reference(plan: TfidfPlan) -> Pipeline:
    def vectorizer(analyzer: str, longest: int) -> TfidfVectorizer:
        return TfidfVectorizer(
            analyzer=analyzer,
            ngram_range=(1, longest),
            min_df=plan.min_texts,
            sublinear_tf=True,
        )

    kinds = (("words", "word", plan.max_words), ("pieces", "char", plan.max_characters))
    union = FeatureUnion([(name, vectorizer(kind, longest)) for name, kind, longest in kinds])
    return make_pipeline(union, LogisticRegression(C=plan.inverse_penalty, max_iter=1000))


@pytest.mark.parametrize("num_classes", [2, 3])
def test_probabilities_equal_scikit_learns_pipeline(labelled: Labelled, num_classes: int) -> None:
    names = ["Cleveland", "Jefferson", "Melville"][:num_classes]
    texts, labels = zip(*[one for one in labelled if one[1] in names], strict=True)
    ours = train_tfidf(texts[::2], labels[::2], SMALL)
    theirs = reference(SMALL).fit(list(texts[::2]), list(labels[::2]))
    asked = [*texts[1::2], "", "zzz 我", "  two \n\n lines  "]
    assert list(ours.labels) == list(theirs.classes_) == names
    assert ours.probabilities(asked) == pytest.approx(theirs.predict_proba(asked), abs=1e-6)
    assert len(ours.features.words) > 500
    right = ours.probabilities(asked).argmax(axis=1)[: len(texts[1::2])]
    assert (
        np.mean([names[one] == label for one, label in zip(right, labels[1::2], strict=True)]) > 0.8
    )


def test_chinese_without_spaces_is_classified_by_its_characters() -> None:
    texts, labels = zip(*CHINESE, strict=True)
    ours = train_tfidf(texts, labels, SMALL)
    theirs = reference(SMALL).fit(list(texts), list(labels))
    asked = ["今晚的决赛", "股市与利率"]
    assert ours.probabilities(asked) == pytest.approx(theirs.predict_proba(asked), abs=1e-6)
    assert [likeliest_label(ours)(one) for one in asked] == ["体育", "财经"]


def test_a_saved_classifier_answers_the_same_without_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = zip(*CHINESE, strict=True)
    model = train_tfidf(texts, labels)
    wanted = model.probabilities(texts)
    for name in ("sklearn", "sklearn.linear_model", "scipy", "scipy.sparse"):
        monkeypatch.setitem(sys.modules, name, None)
    model.save(tmp_path)
    loaded = load_tfidf(tmp_path)
    assert np.array_equal(loaded.probabilities(texts), wanted)
    assert loaded.weight_hash == model.weight_hash
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npy"}
    with pytest.raises(MissingExtra, match=r"noria\[eval\]"):
        train_tfidf(texts, labels)


def test_a_damaged_folder_and_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    texts, labels = zip(*CHINESE, strict=True)
    train_tfidf(texts, labels).save(tmp_path)
    np.save(tmp_path / "biases.npy", np.zeros(5, dtype=np.float32))
    with pytest.raises(FormatError, match="other lengths"):
        load_tfidf(tmp_path)
    (tmp_path / "tfidf.json").write_text("[]", encoding="utf-8")
    with pytest.raises(FormatError, match="TF-IDF classifier"):
        load_tfidf(tmp_path)
    with pytest.raises(UsageError, match="1 classes"):
        train_tfidf(texts, ["体育"] * 6)
    with pytest.raises(UsageError, match="6 texts and 5 labels"):
        train_tfidf(texts, labels[:5])
    with pytest.raises(UsageError, match="no word"):
        train_tfidf(["a", "b"], ["x", "y"])
    with pytest.raises(UsageError, match="max_words = 0"):
        TfidfPlan(max_words=0)


def test_a_text_repeated_for_its_weight_makes_no_word_common() -> None:
    texts, labels = zip(*CHINESE, strict=True)
    once = train_tfidf(texts, labels)
    again = train_tfidf(texts * 3, labels * 3)
    assert again.features.pieces == once.features.pieces
    assert np.array_equal(again.features.idf, once.features.idf)
    assert not np.array_equal(again.weights, once.weights)  # the rows count three times


@pytest.mark.parametrize("words_by", ["dictionary", "dictionary without stop words"])
def test_chinese_words_by_dictionary_are_features_and_survive_saving(
    tmp_path: Path, words_by: str
) -> None:
    texts, labels = zip(*CHINESE, strict=True)
    plan = TfidfPlan(words_by=words_by, min_texts=1)
    model = train_tfidf(texts, labels, plan)
    assert {"股市", "比赛"} <= set(model.features.words)
    model.save(tmp_path)
    loaded = load_tfidf(tmp_path)
    assert loaded.weight_hash == model.weight_hash
    assert np.array_equal(loaded.probabilities(texts), model.probabilities(texts))
    with_the = train_tfidf(["the lamp is lit", "the boat is late"], ["a", "b"], plan)
    assert ("the" in with_the.features.words) == (words_by == "dictionary")


def test_words_by_spaces_keep_the_files_they_had(tmp_path: Path) -> None:
    texts, labels = zip(*CHINESE, strict=True)
    train_tfidf(texts, labels).save(tmp_path)
    assert "words_by" not in (tmp_path / "tfidf.json").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="words_by = 'ear'"):
        TfidfPlan(words_by="ear")
