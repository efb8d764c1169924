"""What would go wrong in training is said before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import CHOICES, CONFIG, PLAN, mixture_in

from noria.errors import TrainingError
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash
from noria.tokenizer.pack import open_shard, write_shard
from noria.train.batch import full_batch
from noria.train.objectives.losses import next_token
from noria.train.preflight import Finding, inspect_tokens, raise_fatal, rehearse

GOOD = ([5, 6, 7, 0], [0, 1, 1, 1])
OTHER = ([8, 9, 0], [1, 1, 1])


def findings(folder: Path, train: list[Any], held_out: list[Any], **settings: Any) -> list[Finding]:
    write_shard(folder / "train", train, 97)
    write_shard(folder / "held_out", held_out, 97)
    asked = {"stop_ids": frozenset({0}), "start_ids": (), "context_tokens": 16, "whole": True}
    shards = (open_shard(folder / name) for name in ("train", "held_out"))
    return inspect_tokens(*shards, **{**asked, **settings})


def test_good_tokens_have_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, [GOOD, GOOD, OTHER], [([10, 11, 0], None)]) == []


@pytest.mark.parametrize(
    ("train", "settings", "says", "fatal"),
    [
        ([([5, 6, 0], [0, 0, 0])], {}, "no token counts in the loss", True),
        ([([5, 6, 7], None)] * 3, {}, "3 of 3 sequences have no end token that counts", True),
        ([GOOD, ([5, 6, 0], [1, 1, 0])], {}, "1 of 2 sequences have no end token", False),
        (
            [([3, 3, 5, 0], None), GOOD],
            {"start_ids": (3,)},
            "1 of 2 sequences begin with two",
            False,
        ),
        (
            [([*range(10, 40), 0], None), GOOD, GOOD],
            {},
            "1 of 3 sequences are longer than 16 tokens and are cut (half are shorter than 4,",
            False,
        ),
    ],
)
def test_each_mistake_is_named_with_its_numbers(
    tmp_path: Path, train: list[Any], settings: dict[str, Any], says: str, fatal: bool
) -> None:
    found = findings(tmp_path, train, [([10, 11, 0], None)], **settings)
    assert [one.fatal for one in found] == [fatal]
    assert says in str(found[0])
    if fatal:
        with pytest.raises(TrainingError):
            raise_fatal(found)
    else:
        raise_fatal(found)


def test_held_out_text_that_is_trained_on_is_named(tmp_path: Path) -> None:
    some = findings(tmp_path / "some", [GOOD, OTHER], [OTHER, ([10, 11, 0], None)])
    assert [str(one)[:22] for one in some] == ["1 of 2 held-out sequen"]
    assert not some[0].fatal
    every = findings(tmp_path / "every", [GOOD, OTHER], [OTHER])
    with pytest.raises(TrainingError, match="1 of 1 held-out sequences"):
        raise_fatal(every)


def test_a_rehearsal_leaves_the_model_as_it_was_and_says_what_does_not_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    model = build_decoder(CONFIG, 5)
    before = model_weight_hash(model)
    longest, held_out = full_batch(4, 16), mixture_in(tmp_path / "shard").batch(0)
    rehearse(model, longest, held_out, PLAN, CHOICES, next_token())
    assert model_weight_hash(model) == before
    assert all(parameter.grad is None for parameter in model.parameters())

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noria.train.preflight.save_checkpoint", no_room)
    with pytest.raises(TrainingError, match=r"No space left on device.*train\.recompute"):
        rehearse(model, longest, held_out, PLAN, CHOICES, next_token())
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="does not go through"):
        rehearse(model, longest, held_out, PLAN, CHOICES, lambda *_: torch.empty(1 << 60))
