"""The tokens of one answer, drawn one by one: what stands there already, and chance.

In: the logits that follow the tokens so far. Out: the next token, with what was asked to be told
of it. Each answer has a source of chance of its own, so that it does not depend on which others
are drawn beside it. This module does not know models. Legend: V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from noria.errors import UsageError
from noria.generate.constrain import matcher_for
from noria.generate.picking import pick, random_source
from noria.generate.sampling import Sampling
from noria.tokenizer.load import Tokenizer


@dataclass(frozen=True)
class Drawn:
    """A token of an answer.

    log_prob: its natural logarithm of probability before any setting; None if it was not asked
    for. best: the likeliest ids there with theirs, the likeliest first.
    """

    token_id: int
    log_prob: float | None = None
    best: tuple[tuple[int, float], ...] = ()


@final
class Drawer:
    """Draws one answer.

    Raises UsageError for a bias of an id that is not in the vocabulary, and as `matcher_for` does.
    """

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int], tokenizer: Tokenizer) -> None:
        vocab_size = tokenizer.vocab_size
        for one, _ in sampling.logit_bias:
            if one >= vocab_size:
                raise UsageError(f"logit_bias of the id {one}", f"ids from 0 to {vocab_size - 1}")
        self._sampling = sampling
        self._generator = random_source(sampling)
        self._written: Counter[int] = Counter()
        form = sampling.constraint
        self._matcher = None if form is None else matcher_for(tokenizer, form)
        self._read = set(prompt_ids) if sampling.repetition_penalty != 1 else set()

    def draw(self, logits: Float[Tensor, " V"]) -> Drawn:
        """Choose the next token. Raises IntegrityError if the logits are not numbers."""
        token_id = pick(self._weighed(logits), self._sampling, self._generator)
        self._written[token_id] += 1
        if self._matcher is not None:
            self._matcher.push(token_id)
        if self._sampling.log_probs is None:
            return Drawn(token_id)
        scores = logits.float().log_softmax(dim=-1)
        values, ids = scores.topk(min(self._sampling.log_probs, len(scores)))
        best = tuple(zip(ids.tolist(), values.tolist(), strict=True))
        return Drawn(token_id, float(scores[token_id]), best)

    def _weighed(self, logits: Float[Tensor, " V"]) -> Float[Tensor, " V"]:
        """The logits after penalties and biases, of what the form allows."""
        sampling = self._sampling
        written = self._written
        if sampling.repetition_penalty != 1:
            seen = torch.tensor(sorted(self._read | written.keys()))
            found = logits[seen]
            factor = sampling.repetition_penalty
            logits = logits.index_copy(
                0, seen, torch.where(found > 0, found / factor, found * factor)
            )
        if written and (sampling.presence_penalty or sampling.frequency_penalty):
            ids, counts = torch.tensor(list(written)), torch.tensor(list(written.values()))
            loss = sampling.presence_penalty + sampling.frequency_penalty * counts
            logits = logits.index_add(0, ids, -loss.to(logits.dtype))
        if sampling.logit_bias:
            ids = torch.tensor([one for one, _ in sampling.logit_bias])
            biases = torch.tensor([bias for _, bias in sampling.logit_bias], dtype=logits.dtype)
            logits = logits.index_add(0, ids, biases)
        if self._matcher is not None:
            logits = logits.masked_fill(~self._matcher.allowed(), float("-inf"))
        return logits
