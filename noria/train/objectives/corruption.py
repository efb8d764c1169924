"""Text made incomplete, so that a model learns to complete it: tokens masked, spans cut out.

In: the ids of one sequence, and a source of randomness. Out: what the model sees, and what it has
to say. Which tokens are hidden depends on nothing but the randomness passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noria.errors import UsageError

Ids = npt.NDArray[np.int64]
MASK_SHARE = 0.15  # Devlin et al. 2018, section 3.1; Raffel et al. 2020, section 3.1.4
MEAN_SPAN_TOKENS = 3.0  # Raffel et al. 2020


@dataclass(frozen=True)
class MaskedTokens:
    """What the model sees, the original ids, and where they have to be guessed: each (T,)."""

    ids: Ids
    targets: Ids
    mask: npt.NDArray[np.bool_]


def mask_tokens(
    ids: Ids,
    maskable: npt.NDArray[np.bool_],
    mask_id: int,
    vocab_size: int,
    random: np.random.Generator,
    share: float = MASK_SHARE,
) -> MaskedTokens:
    """Choose a share of the tokens; hide 80% of them, replace 10% at random, leave 10% as they are.

    Devlin et al. 2018 (BERT), section 3.1. maskable: false for special tokens and padding. At least
    one token is chosen where one can be.
    """
    chosen = maskable & (random.random(len(ids)) < share)
    if not chosen.any() and maskable.any():
        chosen[random.choice(np.flatnonzero(maskable))] = True
    fate = random.random(len(ids))
    others = random.integers(0, vocab_size, len(ids))
    seen = np.where(chosen & (fate < 0.8), mask_id, ids)
    seen = np.where(chosen & (fate >= 0.9), others, seen)
    return MaskedTokens(seen, ids, chosen)


def cut_spans(
    ids: Ids,
    sentinel_ids: Sequence[int],
    end_id: int,
    random: np.random.Generator,
    share: float = MASK_SHARE,
    mean_span_tokens: float = MEAN_SPAN_TOKENS,
) -> tuple[Ids, Ids]:
    """Cut spans out of a text: the source with a sentinel for each, the target that restores them.

    Raffel et al. 2020 (T5), section 3.1.4 and figure 2: spans of random lengths that never touch,
    the first token always kept; both end with the end token. As many spans as there are sentinels
    at most. Raises UsageError for fewer than two tokens or no sentinel.
    """
    if len(ids) < 2 or not sentinel_ids:
        raise UsageError(
            f"{len(ids)} tokens and {len(sentinel_ids)} sentinels to cut spans with",
            "at least two tokens and one sentinel",
            "leave such a text out, or train the tokenizer with sentinels",
        )
    num_noise = min(max(1, round(len(ids) * share)), len(ids) - 1)
    num_spans = max(1, round(num_noise / mean_span_tokens))
    num_spans = min(num_spans, num_noise, len(ids) - num_noise, len(sentinel_ids))
    noise = _random_parts(num_noise, num_spans, random)
    kept = _random_parts(len(ids) - num_noise, num_spans, random)
    source: list[int] = []
    target: list[int] = []
    at = 0
    for sentinel, num_kept, num_cut in zip(sentinel_ids, kept, noise, strict=False):
        source += [*ids[at : at + num_kept], sentinel]
        target += [sentinel, *ids[at + num_kept : at + num_kept + num_cut]]
        at += num_kept + num_cut
    return (
        np.array([*source, end_id], dtype=np.int64),
        np.array([*target, end_id], dtype=np.int64),
    )


def _random_parts(total: int, num_parts: int, random: np.random.Generator) -> list[int]:
    """That many whole numbers above 0 with that sum, each way of cutting equally likely."""
    cuts = np.sort(random.choice(np.arange(1, total), num_parts - 1, replace=False))
    return [int(part) for part in np.diff([0, *cuts, total])]
