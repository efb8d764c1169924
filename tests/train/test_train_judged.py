"""Pairs and thumbs teach what they say: DPO and KTO through the trainer, from real ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import CHOICES

from noria.errors import TrainingError
from noria.model.config import ModelConfig
from noria.model.transformer import Decoder, build_decoder
from noria.records import Pair, Source, text_content
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.train import train_tokenizer
from noria.train.batch import PreferenceBatch
from noria.train.judged import (
    InTurn,
    Thumbed,
    by_kind,
    pair_batches,
    thumb_batches,
)
from noria.train.loop import train
from noria.train.objectives.losses import answers_of
from noria.train.plan import TrainPlan

TEXTS = ["the whale is white and large", "the ship is old and slow", "the sea is deep and blue"]
SOURCE = Source("feedback")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokens")
    train_tokenizer(TEXTS, 320, folder, "plain")
    return load_tokenizer(folder)


def pair(prompt: str, answer: str) -> Pair:
    return Pair(text_content(prompt), text_content(answer), SOURCE)


PAIRS = [
    (pair(f"the {one} is", " good"), pair(f"the {one} is", " bad")) for one in ("whale", "ship")
] + [(pair("the sea is", " blue"), pair("the sea is", " red"))]


def fresh(tokenizer: Tokenizer) -> Decoder:
    return build_decoder(ModelConfig(tokenizer.vocab_size, 32, 2, 32, 2, 2, 64), seed=1)


def said(model: Decoder, batch: PreferenceBatch) -> torch.Tensor:
    with torch.no_grad():
        return answers_of(model.eval(), batch)


def test_pairs_raise_the_better_answer_above_the_worse(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = fresh(tokenizer)
    source = pair_batches(tokenizer, model, PAIRS, 32, 3, seed=1)
    batch = source.batch(0)
    before = said(model, batch)
    assert torch.allclose(before, batch.reference, atol=1e-4)  # the reference is where it starts
    log = train(model, source, TrainPlan(25, 3e-3), CHOICES, tmp_path, objective=by_kind())
    gain = said(model, batch) - before
    assert (gain[0::2] > gain[1::2]).all()
    assert log[-1]["loss"] < log[0]["loss"] == pytest.approx(0.693, abs=0.02)


def test_thumbs_raise_what_was_liked_and_lower_what_was_not(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = fresh(tokenizer)
    thumbs = [
        Thumbed(pair("the whale is", " white"), pair("the whale is", " slow"), True),
        Thumbed(pair("the ship is", " slow"), pair("the ship is", " white"), False),
    ]
    source = thumb_batches(tokenizer, model, thumbs, 32, 2, seed=1)
    batch = source.batch(0)
    assert batch.liked is not None
    before = said(model, batch)
    train(model, source, TrainPlan(40, 3e-3), CHOICES, tmp_path, objective=by_kind())
    gain = (said(model, batch) - before)[0::2]
    liked, disliked = gain[batch.liked], gain[~batch.liked]
    assert liked.item() > disliked.item()


def test_sources_take_turns_and_every_example_is_seen_once_a_pass(tokenizer: Tokenizer) -> None:
    model = fresh(tokenizer)
    one, two = (pair_batches(tokenizer, model, PAIRS, 32, 1, seed=seed) for seed in (1, 2))
    both = InTurn((one, two))
    assert [both.describe(step) for step in range(4)] == [
        one.describe(0),
        two.describe(0),
        one.describe(1),
        two.describe(1),
    ]
    seen = sorted(one.describe(step) for step in range(3))
    assert seen == ["pairs 0", "pairs 1", "pairs 2"]
    assert both.batch(1).num_counted == 1


def test_answers_that_do_not_fit_are_left_and_none_is_an_error(tokenizer: Tokenizer) -> None:
    model = fresh(tokenizer)
    long = (pair("the sea is", " deep" * 99), pair("the sea is", " red"))
    kept = pair_batches(tokenizer, model, [*PAIRS, long], 32, 8, seed=1)
    assert len(kept.ids) == 2 * len(PAIRS)
    with pytest.raises(TrainingError, match="no judged answer"):
        pair_batches(tokenizer, model, [long], 32, 8, seed=1)
