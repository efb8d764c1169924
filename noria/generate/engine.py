"""One answer, alone: a prompt's ids in, the answer's ids out, one at a time.

The prompt is read in one pass (prefill); then each token costs one step over the KV cache. An
encoder-decoder's prompt is its source, and its answer begins with the tokenizer's first token. Many
answers at once are the business of `batching`, whose answers are compared with these.
This module does not know text, chats or stop strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from noria.errors import UsageError
from noria.generate.drawing import Drawer, Drawn
from noria.generate.loaded import Answering, LanguageModel
from noria.generate.sampling import Sampling
from noria.model.cache import KVCache
from noria.tokenizer.chat import stop_ids


def fitted_prompt(prompt_ids: Sequence[int], sampling: Sampling, context_tokens: int) -> list[int]:
    """The last tokens of a prompt that leave room for the answer.

    Room is `max_tokens`, but at most half the context, so that a large limit can't push the
    question out.
    """
    room_tokens = min(sampling.max_tokens, context_tokens // 2)
    return list(prompt_ids)[-(context_tokens - room_tokens) :]


def checked_prompt(
    model: LanguageModel, prompt_ids: Sequence[int], sampling: Sampling
) -> tuple[list[int], int]:
    """What is read of a prompt, and how many tokens the answer has at most.

    Raises UsageError for an empty prompt or an id that the tokenizer does not have.
    """
    _check_ids(model, prompt_ids)
    context_tokens = model.model.config.context_tokens
    kept = fitted_prompt(prompt_ids, sampling, context_tokens)
    return kept, min(sampling.max_tokens, context_tokens - len(kept))


def _check_ids(model: Answering, prompt_ids: Sequence[int]) -> None:
    vocab_size = model.tokenizer.vocab_size
    if not prompt_ids or not all(0 <= one < vocab_size for one in prompt_ids):
        raise UsageError(
            "an empty prompt" if not prompt_ids else "a prompt with unknown token ids",
            f"one or more ids from 0 to {vocab_size - 1}",
            "encode the prompt with the model's own tokenizer",
        )


@dataclass(frozen=True)
class Begun:
    """How an answer begins: the source, if there is one, the ids before it, tokens at most."""

    source: list[int]
    ids: list[int]
    num_left: int


def begun(model: Answering, prompt_ids: Sequence[int], sampling: Sampling) -> Begun:
    """How the answer to a prompt begins; to an encoder-decoder the prompt is the source.

    Raises UsageError as `checked_prompt` does, and for a source that is longer than the context.
    """
    if isinstance(model, LanguageModel):
        kept, num_left = checked_prompt(model, prompt_ids, sampling)
        return Begun([], kept, num_left)
    context_tokens = model.model.config.context_tokens
    _check_ids(model, prompt_ids)
    if len(prompt_ids) > context_tokens:
        raise UsageError(
            f"a source of {len(prompt_ids)} tokens", f"at most {context_tokens}", "shorten it"
        )
    first = list(model.tokenizer.start_ids or (model.tokenizer.end_id,))
    num_left = min(sampling.max_tokens, context_tokens - len(first))
    return Begun(list(prompt_ids), first, num_left)


def generate_tokens(
    model: Answering, prompt_ids: Sequence[int], sampling: Sampling
) -> Iterator[int]:
    """Yield the answer's ids; an id that ends the answer (`stop_ids`) is yielded last.

    Without one the answer ends after `max_tokens`, or when the context is full: its finish reason
    is "length". Raises UsageError for an empty prompt or an id that the tokenizer does not have.
    """
    for drawn in draw_tokens(model, prompt_ids, sampling):
        yield drawn.token_id


def draw_tokens(model: Answering, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Drawn]:
    """As `generate_tokens`, with the probabilities that the settings ask for."""
    asked = begun(model, prompt_ids, sampling)
    waiting = asked.ids
    drawer = Drawer(sampling, waiting, model.tokenizer)
    cache = KVCache(model.model.config, 1, len(waiting) + asked.num_left)
    ends = stop_ids(model.tokenizer)
    memory = _encoded(model, asked.source)
    for _ in range(asked.num_left):
        logits = _next_logits(model, waiting, cache, memory)
        drawn = drawer.draw(logits)
        yield drawn
        if drawn.token_id in ends:
            return
        waiting = [drawn.token_id]


@torch.inference_mode()
def _encoded(model: Answering, source: list[int]) -> Tensor | None:
    """The encoder's output, (1, S, C), where there is an encoder."""
    if isinstance(model, LanguageModel):
        return None
    return model.model.encode(torch.tensor([source]))


@torch.inference_mode()
def _next_logits(
    model: Answering, new_ids: list[int], cache: KVCache, memory: Tensor | None
) -> Tensor:
    """Read new tokens and score what follows the last; only ids that the tokenizer has.

    Inference mode covers one step, never a `yield`: it would leak into the caller's code.
    """
    ids = torch.tensor([new_ids])
    if isinstance(model, LanguageModel):
        hidden = model.model(ids, cache)  # (1, T, C)
    else:
        assert memory is not None
        hidden = model.model.decode(ids, memory, cache=cache)
    return model.model.logits(hidden[0, -1])[: model.tokenizer.vocab_size]  # (V,)
