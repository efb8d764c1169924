"""LSTMs learn what word counts can't see, and say the same alone, together, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_data import Corpus, joined

from noria.baselines.interface import Classifier
from noria.baselines.lstm_classifier import (
    LstmClassifier,
    load_lstm_classifier,
    train_lstm_classifier,
)
from noria.baselines.lstm_language import (
    READ_TOKENS,
    LstmLanguageModel,
    load_lstm_language_model,
    train_lstm_language_model,
)
from noria.baselines.ngram import train_ngram
from noria.baselines.recurrent import LstmPlan
from noria.errors import FormatError, InputError, TrainingError, UsageError

torch.set_num_threads(1)
END = 0
SMALL = LstmPlan(width=32, num_epochs=12, batch_sequences=8, learning_rate=0.02, dropout=0.1)


def cycles(num: int, seed: int) -> list[list[int]]:
    """1 2 3 4 1 2 3 4 … or 1 3 2 4 1 3 2 4 …, from any place in it."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        cycle = [[1, 2, 3, 4], [1, 3, 2, 4]][random.integers(2)]
        start = int(random.integers(4))
        found.append((cycle * 6)[start : start + 16])
    return found


@pytest.fixture(scope="module")
def model() -> LstmLanguageModel:
    return train_lstm_language_model(joined(cycles(400, 1), END), 6, end_id=END, plan=SMALL)


def test_on_repeating_text_it_is_far_better_than_a_unigram_model(model: LstmLanguageModel) -> None:
    tokens, held_out = joined(cycles(400, 1), END), joined(cycles(40, 2), END)
    unigram = train_ngram(tokens, 6, 1, end_id=END)
    assert model.log_probs(held_out).mean() > 0.25 * unigram.log_probs(held_out).mean()


def test_it_goes_on_from_what_stood_far_before(model: LstmLanguageModel) -> None:
    seen = [2, 3, 4, 1, 2, 3, 4, 1]
    other = [3, 2, 4, 1, 3, 2, 4, 1]
    likely = [np.exp(model.log_probs([*one, 2])[-1]) for one in (seen, other)]
    assert likely[0] > 0.9 > 0.1 > likely[1]  # after "4 1", which both end with


def test_probabilities_of_all_tokens_sum_to_one(model: LstmLanguageModel) -> None:
    total = sum(np.exp(model.log_probs([1, 2, token])[-1]) for token in range(6))
    assert total == pytest.approx(1.0, abs=1e-6)


def test_contexts_do_not_cross_the_end_of_a_document(model: LstmLanguageModel) -> None:
    one, other = [1, 2, 3, END], [4, 1, 3, 2]
    apart = np.concatenate([model.log_probs(one), model.log_probs(other)])
    assert model.log_probs([*one, *other]) == pytest.approx(apart, abs=1e-6)
    assert model.log_probs([]).shape == (0,)


def test_a_document_read_in_parts_equals_one_read_at_once(model: LstmLanguageModel) -> None:
    ids = ([1, 2, 3, 4] * READ_TOKENS)[: 2 * READ_TOKENS + 3]
    with torch.no_grad():
        hidden, _ = model.network(torch.tensor([[END, *ids[:-1]]]))
        at_once = model.network.logits(hidden)[0].log_softmax(dim=-1)
    wanted = at_once[torch.arange(len(ids)), torch.tensor(ids)].numpy()
    assert model.log_probs(ids) == pytest.approx(wanted, abs=1e-5)


def test_the_seed_alone_decides_and_the_random_state_stays() -> None:
    tokens, plan = joined(cycles(10, 3), END), LstmPlan(width=8, num_epochs=1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train_lstm_language_model(tokens, 6, end_id=END, plan=plan)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = train_lstm_language_model(tokens, 6, end_id=END, plan=plan)
    other = train_lstm_language_model(
        tokens, 6, end_id=END, plan=LstmPlan(width=8, num_epochs=1, seed=1)
    )
    assert first.weight_hash == again.weight_hash != other.weight_hash


def test_progress_counts_every_step_to_the_end() -> None:
    steps: list[tuple[int, int]] = []
    plan = LstmPlan(width=8, num_layers=2, num_epochs=2, batch_sequences=2)
    tokens = joined(cycles(20, 3), END)
    train_lstm_language_model(
        tokens, 6, end_id=END, plan=plan, progress=lambda *step: steps.append(step)
    )
    num_steps = 2 * -(-(len(tokens) // 2) // 64)
    assert steps == [(step, num_steps) for step in range(1, num_steps + 1)]


def test_a_saved_model_is_the_same_when_loaded(model: LstmLanguageModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = load_lstm_language_model(tmp_path)
    ids = joined(cycles(5, 4), END)
    assert np.array_equal(loaded.log_probs(ids), model.log_probs(ids))
    assert loaded.weight_hash == model.weight_hash
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    (tmp_path / "model.safetensors").unlink()
    assert np.array_equal(loaded.log_probs(ids), model.log_probs(ids))  # it owns its weights


def test_a_folder_of_other_tensors_is_refused(model: LstmLanguageModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    path = tmp_path / "config.json"
    facts = json.loads(path.read_text())
    facts["config"]["width"] = 1 << 20
    path.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match=r"embedding\.weight"):
        load_lstm_language_model(tmp_path)
    facts["config"]["width"] = 0
    path.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match="width = 0"):
        load_lstm_language_model(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        load_lstm_language_model(tmp_path / "none")


def test_ids_outside_the_vocabulary_and_a_loss_that_explodes_are_refused(
    model: LstmLanguageModel,
) -> None:
    with pytest.raises(UsageError, match="0 to 5"):
        model.log_probs([6])
    with pytest.raises(UsageError, match="no token"):
        train_lstm_language_model(np.array([END]), 6, end_id=END)
    with pytest.raises(TrainingError, match="not a number"):
        plan = LstmPlan(width=8, num_epochs=4, learning_rate=float("inf"))
        train_lstm_language_model(joined(cycles(300, 5), END), 6, end_id=END, plan=plan)


ORDERED = ["the dog saw the cat", "the cat saw the dog"]  # the same words, another order


@pytest.fixture(scope="module")
def classifier(corpus: Corpus) -> LstmClassifier:
    texts = [text + end for text in ORDERED for end in ("", ".", "!", " again", " then", " 吗")]
    labels = ["dog"] * 6 + ["cat"] * 6
    plan = LstmPlan(width=24, num_epochs=25, batch_sequences=4, learning_rate=0.01)
    return train_lstm_classifier(texts, labels, corpus.tokenizer_folder, plan)


def test_a_class_told_by_the_order_of_words_alone_is_learnt(classifier: LstmClassifier) -> None:
    found = classifier.probabilities([text + " now" for text in ORDERED])
    assert isinstance(classifier, Classifier)
    assert classifier.labels == ("cat", "dog")
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert found[0, 1] > 0.9
    assert found[1, 0] > 0.9


def test_texts_read_together_give_what_each_gives_alone(classifier: LstmClassifier) -> None:
    texts = ["", "a", "the cat " * 60, *ORDERED * 20]
    together = classifier.probabilities(texts)
    alone = np.concatenate([classifier.probabilities([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)
    assert classifier.probabilities([]).shape == (0, 2)


def test_a_saved_classifier_is_the_same_when_loaded(
    classifier: LstmClassifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    loaded = load_lstm_classifier(tmp_path)
    assert np.array_equal(loaded.probabilities(ORDERED), classifier.probabilities(ORDERED))
    assert (loaded.labels, loaded.weight_hash) == (classifier.labels, classifier.weight_hash)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    path = tmp_path / "config.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "labels": ["one"]}))
    with pytest.raises(FormatError, match="1 labels of 2 classes"):
        load_lstm_classifier(tmp_path)
