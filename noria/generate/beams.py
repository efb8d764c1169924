"""Beam search: the likeliest whole answers, instead of the likeliest next token each time.

In: a prompt's ids. Out: answers, the best first. All beams have one length, so they share one
rectangular cache. This module does not know text.
Legend: B beams, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from noria.errors import UsageError
from noria.generate.engine import checked_prompt
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.model.cache import KVCache
from noria.tokenizer.chat import stop_ids

MAX_BEAMS = 64


@dataclass(frozen=True)
class Beam:
    """An answer's ids, its end token included, and ln P of all of them."""

    ids: tuple[int, ...]
    log_prob: float

    def score(self, length_penalty: float) -> float:
        """What answers of different lengths are compared by: ln P / length^penalty."""
        return self.log_prob / float(max(len(self.ids), 1) ** length_penalty)


@torch.inference_mode()
def beam_search(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    num_beams: int,
    max_tokens: int,
    length_penalty: float = 1.0,
) -> list[Beam]:
    """The best answers that `num_beams` beams find, at most as many, the best first.

    length_penalty: 0 compares ln P, 1 its mean over the tokens (Wu et al. 2016, section 7, without
    their constant). It stops when no beam can still become better than the worst of the finished.
    Raises UsageError as `generate_tokens` does, and for a number of beams or a penalty that can't
    be.
    """
    if not 1 <= num_beams <= MAX_BEAMS or not 0 <= length_penalty <= 10:
        raise UsageError(
            f"{num_beams} beams, length_penalty = {length_penalty}",
            f"1 to {MAX_BEAMS} beams, a penalty from 0 to 10",
        )
    waiting, num_left = checked_prompt(model, prompt_ids, Sampling(max_tokens=max_tokens))
    cache = KVCache(model.model.config, 1, len(waiting) + num_left)
    ends = stop_ids(model.tokenizer)
    beams, finished = [Beam((), 0.0)], list[Beam]()
    new_ids = [waiting]
    for _ in range(num_left):
        log_probs = _log_probs(model, new_ids, cache)
        ended, going_on, rows = _extended(beams, log_probs, num_beams, ends)
        finished = sorted(finished + ended, key=lambda one: -one.score(length_penalty))[:num_beams]
        beams = going_on
        if len(finished) == num_beams:
            # ln P only falls, and what it is divided by is largest for the longest answer
            hope = max(one.log_prob / num_left**length_penalty for one in beams)
            if hope <= finished[-1].score(length_penalty):
                return finished
        cache.select(torch.tensor(rows))
        new_ids = [[one.ids[-1]] for one in beams]
    found = sorted(finished + beams, key=lambda one: -one.score(length_penalty))
    return found[:num_beams]


def _log_probs(
    model: LanguageModel, new_ids: Sequence[Sequence[int]], cache: KVCache
) -> Float[Tensor, "B V"]:
    hidden = model.model(torch.tensor(new_ids), cache)[:, -1]
    logits = model.model.logits(hidden)[:, : model.tokenizer.vocab_size]
    return logits.float().log_softmax(dim=-1)


def _extended(
    beams: Sequence[Beam], log_probs: Float[Tensor, "B V"], num_beams: int, ends: frozenset[int]
) -> tuple[list[Beam], list[Beam], list[int]]:
    """All beams by one token: those that end, the best of those that go on, and their old rows.

    One that ends counts if it is among the `num_beams` best of all.
    """
    vocab_size = log_probs.shape[1]
    totals = (log_probs + torch.tensor([[one.log_prob] for one in beams])).flatten()
    num_looked_at = min(num_beams * (len(ends) + 1), len(totals))
    values, places = totals.topk(num_looked_at)
    ended: list[Beam] = []
    going_on: list[Beam] = []
    rows: list[int] = []
    for rank, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
        row, token_id = divmod(place, vocab_size)
        beam = Beam((*beams[row].ids, token_id), value)
        if token_id in ends:
            if rank < num_beams:
                ended.append(beam)
        elif len(going_on) < num_beams:
            going_on.append(beam)
            rows.append(row)
    return ended, going_on, rows
