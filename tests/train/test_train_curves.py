"""Fifty steps of every objective, beside the curves that are stored: a refactor changes none.

The curves are in curves.json; `python tests/train/test_train_curves.py` writes them anew, after a
change that means to change them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import CHOICES, CONFIG, VOCAB_SIZE
from torch import Tensor, nn

from noria.model.headed import build_headed_model
from noria.model.heads import HeadConfig
from noria.model.infill import Sentinels, infill_order
from noria.model.transformer import build_decoder, build_model
from noria.train.batch import Batch, LabelBatch, PreferenceBatch, SourceBatch, TokenBatch
from noria.train.loop import train
from noria.train.objectives import losses
from noria.train.objectives.corruption import cut_spans, mask_tokens
from noria.train.objectives.losses import answers_of
from noria.train.plan import TrainPlan

STORED = Path(__file__).with_name("curves.json")
NUM_STEPS, NUM_ROWS, NUM_TOKENS = 50, 8, 16
TOLERANCE = 0.005  # of the loss: other processors round other sums
ENCODER = replace(CONFIG, family="encoder")
BOTH = replace(CONFIG, family="encoder-decoder", num_encoder_layers=2)
FIRST_SENTINEL, END_ID, MASK_ID, PROMPT_TOKENS = 90, 0, 96, 6


def walk(step: int, num_tokens: int = NUM_TOKENS + 1) -> Tensor:
    """Rows in which a token is followed by itself and 3 or 5 more. (B, T)."""
    random = np.random.default_rng([7, step])
    steps = random.choice([3, 5], (NUM_ROWS, num_tokens))
    first = random.integers(0, 80, (NUM_ROWS, 1))
    return torch.from_numpy((first + np.cumsum(steps, 1)) % 80 + 1)


def running(step: int) -> TokenBatch:
    ids = walk(step)
    return TokenBatch(ids[:, :-1], ids[:, 1:], torch.ones(NUM_ROWS, NUM_TOKENS, dtype=torch.bool))


def answered(step: int) -> TokenBatch:
    """Only what follows the prompt counts."""
    plain = running(step)
    return replace(plain, mask=plain.mask & (torch.arange(NUM_TOKENS) >= PROMPT_TOKENS))


def prompted(step: int) -> TokenBatch:
    return replace(answered(step), prefix_tokens=torch.full((NUM_ROWS,), PROMPT_TOKENS))


def filled(step: int) -> TokenBatch:
    """Beginning and end of a text, and then its middle, which counts."""
    marks = Sentinels(*range(FIRST_SENTINEL, FIRST_SENTINEL + 3))
    ids = torch.tensor([infill_order(row.tolist(), 4, 9, marks) for row in walk(step, 14)])
    mask = torch.zeros(NUM_ROWS, NUM_TOKENS, dtype=torch.bool)
    mask[:, -5:] = True
    return TokenBatch(ids[:, :-1], ids[:, 1:], mask)


def hidden(step: int) -> TokenBatch:
    ids, random = walk(step, NUM_TOKENS), np.random.default_rng([8, step])
    rows = [
        mask_tokens(row.numpy(), np.ones(NUM_TOKENS, bool), MASK_ID, VOCAB_SIZE, random)
        for row in ids
    ]
    shown = torch.from_numpy(np.stack([one.ids for one in rows]))
    return TokenBatch(shown, ids, torch.from_numpy(np.stack([one.mask for one in rows])))


def sided(pairs: list[tuple[Any, Any]]) -> SourceBatch:
    """Sources and targets of uneven length; a target's first input is the end token."""
    sides = [
        nn.utils.rnn.pad_sequence([torch.as_tensor(one[side]) for one in pairs], True, -1)
        for side in (0, 1)
    ]
    source, targets = sides
    begun = torch.cat([torch.full((len(pairs), 1), END_ID), targets[:, :-1]], 1)
    return SourceBatch(
        source.clamp(min=0), source >= 0, begun.clamp(min=0), targets.clamp(min=0), targets >= 0
    )


def cut(step: int) -> SourceBatch:
    random, sentinels = np.random.default_rng([9, step]), range(FIRST_SENTINEL, 96)
    return sided([cut_spans(row.numpy(), sentinels, END_ID, random, 0.3) for row in walk(step, 15)])


def turned(step: int) -> SourceBatch:
    return sided([(row, row.flip(0)) for row in walk(step, 8)])


def judged(step: int, reference: nn.Module, thumbs: bool) -> PreferenceBatch:
    """A text that goes on as texts do, beside one that goes on at random."""
    ids = walk(step)
    random = torch.from_numpy(np.random.default_rng([10, step]).integers(1, 80, ids.shape))
    ids[1::2] = torch.where(torch.arange(NUM_TOKENS + 1) < PROMPT_TOKENS, ids[0::2], random[1::2])
    if thumbs:  # every second answer is one at random, and disliked
        ids.view(NUM_ROWS // 2, 2, -1)[1::2] = ids.view(NUM_ROWS // 2, 2, -1)[1::2].flip(1)
    mask = answered(step).mask
    batch = PreferenceBatch(ids[:, :-1], ids[:, 1:], mask, torch.zeros(NUM_ROWS))
    with torch.no_grad():
        known = answers_of(reference, batch)  # type: ignore[arg-type]
    liked = torch.arange(NUM_ROWS // 2) % 2 == 0 if thumbs else None
    return replace(batch, reference=known, liked=liked)


def labelled(step: int, kind: str) -> LabelBatch:
    ids = walk(step, NUM_TOKENS)
    real = torch.ones_like(ids, dtype=torch.bool)
    rows = torch.ones(NUM_ROWS, dtype=torch.bool)
    if kind == "token":
        return LabelBatch(ids, real, ids % 4, real)
    if kind == "span":
        first = ids.argmin(1)
        return LabelBatch(ids, real, torch.stack([first, ids.argmax(1)], 1), rows)
    return LabelBatch(ids, real, ids[:, 0] // 28, rows)


@dataclass(frozen=True)
class Source:
    make: Callable[[int], Batch]

    def batch(self, step: int) -> Batch:
        return self.make(step)

    def describe(self, step: int) -> str:
        return f"step {step}"


def lesson(name: str) -> tuple[nn.Module, Source, losses.Objective]:
    """Model, batches and objective."""
    decoder, reference = build_decoder(CONFIG, 5), build_decoder(CONFIG, 5)
    tagged = HeadConfig("token", num_classes=4)
    ways: dict[str, tuple[nn.Module, Callable[[int], Batch], losses.Objective]] = {
        "causal": (decoder, running, losses.next_token()),
        "smoothed": (decoder, running, losses.next_token(0.1)),
        "chat": (decoder, answered, losses.next_token()),
        "prefix": (decoder, prompted, losses.next_token()),
        "middle": (decoder, filled, losses.next_token()),
        "masked": (
            build_headed_model(ENCODER, HeadConfig("masked"), 5),
            hidden,
            losses.masked_token(),
        ),
        "cut spans": (build_model(BOTH, 5), cut, losses.target_token()),
        "two texts": (build_model(BOTH, 5), turned, losses.target_token()),
        "pairs": (decoder, lambda n: judged(n, reference, False), losses.preferred(0.3)),
        "thumbs": (decoder, lambda n: judged(n, reference, True), losses.liked(0.3)),
        "distilled": (decoder, running, losses.distilled(build_decoder(CONFIG, 6), 2.0, 0.5)),
        "class": (
            build_headed_model(ENCODER, HeadConfig("sequence", num_classes=3), 5),
            lambda n: labelled(n, "class"),
            losses.one_class(),
        ),
        "tags": (
            build_headed_model(ENCODER, tagged, 5),
            lambda n: labelled(n, "token"),
            losses.one_class(),
        ),
        "span": (
            build_headed_model(ENCODER, HeadConfig("span"), 5),
            lambda n: labelled(n, "span"),
            losses.span(),
        ),
    }
    model, make, objective = ways[name]
    return model, Source(make), objective


WORDS = "causal smoothed chat prefix middle masked pairs thumbs distilled class tags span"
NAMES = [*WORDS.split(), "cut spans", "two texts"]


def curve(name: str) -> list[float]:
    torch.set_num_threads(1)
    model, source, objective = lesson(name)
    plan = TrainPlan(NUM_STEPS, 0.003, seed=3)
    with tempfile.TemporaryDirectory() as folder:
        found = train(model, source, plan, CHOICES, Path(folder), objective=objective)
    return [round(entry["loss"], 5) for entry in found]


@pytest.mark.parametrize("name", NAMES)
def test_the_curve_is_the_stored_one_and_falls(name: str) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    assert len(stored) == NUM_STEPS
    assert curve(name) == pytest.approx(stored, rel=TOLERANCE)
    assert np.mean(stored[-5:]) < 0.97 * np.mean(stored[:5])


if __name__ == "__main__":
    curves = {name: curve(name) for name in NAMES}
    lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in curves.items()]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
