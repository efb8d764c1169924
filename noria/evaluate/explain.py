"""Why this answer: how likely each of its tokens was, what else could have stood there, and what
the model looked at when it came to a token.

In: a loaded model, and an answer that is stored or its ids. Out: plain values for a page or a
terminal. Probabilities are those before any temperature. Attention says where a head read, not why
the answer is what it is (Jain and Wallace 2019, "Attention is not Explanation"): it is shown as
what it is.
This module knows no HTTP and no store. Legend: L layers, H heads, T tokens.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from noria.errors import UsageError
from noria.feedback.interactions import Interaction
from noria.generate.loaded import LanguageModel
from noria.generate.scoring import score_tokens
from noria.model.trace import trace
from noria.tokenizer.chat import answer_lead, render_chat
from noria.tokenizer.load import Tokenizer

NUM_ALTERNATIVES = 6
MAX_ATTENTION_BYTES = 256 << 20  # of all heads' weights, which exist together for a moment
_DECIMALS = 5


@dataclass(frozen=True)
class Alternative:
    """What could have stood in a token's place; `chosen` is what does."""

    text: str
    probability: float
    chosen: bool


@dataclass(frozen=True)
class ExplainedToken:
    """A token of the prompt or the answer, and how likely it was after those before it.

    `text` is what it adds to the text: nothing for a token that only begins a character, which the
    one that ends it adds; a special token's name. The first token of all has no probability.
    """

    place: int
    text: str
    probability: float | None
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Explanation:
    """The tokens that were read and written, in order; the answer begins at `answer_start`."""

    tokens: tuple[ExplainedToken, ...]
    answer_start: int


def explain(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    num_alternatives: int = NUM_ALTERNATIVES,
) -> Explanation:
    """Score every token of an answer and of the prompt before it.

    What is longer than the context loses its first tokens. Raises UsageError for an empty answer
    or unknown ids.
    """
    ids, answer_start = _fitted(model, prompt_ids, answer_ids)
    scores = score_tokens(model, ids, num_alternatives)
    texts = _texts(model.tokenizer, ids)
    tokens = [ExplainedToken(0, texts[0], None, ())]
    for place in range(1, len(ids)):
        probability = math.exp(scores.log_probs[place - 1])
        likeliest = dict(scores.best[place - 1])
        likeliest.setdefault(ids[place], scores.log_probs[place - 1])
        others = tuple(
            Alternative(_name(model.tokenizer, one), math.exp(log_prob), one == ids[place])
            for one, log_prob in likeliest.items()
        )
        tokens.append(ExplainedToken(place, texts[place], probability, others))
    return Explanation(tuple(tokens), answer_start)


def attention_before(
    model: LanguageModel, prompt_ids: Sequence[int], answer_ids: Sequence[int], place: int
) -> list[list[list[float]]]:
    """Where each layer and head read when the model chose the token at `place` (of `explain`).

    Returns L lists of H lists of `place` weights, which sum to 1. Raises UsageError for a place
    that is none, or so far behind that all heads' weights together would not fit in memory.
    """
    ids, _ = _fitted(model, prompt_ids, answer_ids)
    if not 1 <= place < len(ids):
        raise UsageError(f"token {place}", f"1 to {len(ids) - 1}")
    config = model.model.config
    num_bytes = config.num_layers * config.num_heads * place**2 * 4
    if num_bytes > MAX_ATTENTION_BYTES:
        longest = math.isqrt(MAX_ATTENTION_BYTES // (4 * config.num_layers * config.num_heads))
        raise UsageError(f"attention of token {place}", f"one of the first {longest} tokens")
    device = model.model.embedding.weight.device
    traced = trace(model.model, torch.tensor([ids[:place]], device=device))
    return [
        [[round(one, _DECIMALS) for one in head] for head in weights[0, :, -1].float().tolist()]
        for weights in traced.stack.attention  # (1, H, T, T)
    ]


def ids_of(model: LanguageModel, interaction: Interaction) -> tuple[list[int], list[int]]:
    """What the model read and what it wrote, as its tokenizer cuts the stored texts.

    Raises UsageError for an application's answer, which has no tokens.
    """
    tokenizer = model.tokenizer
    if interaction.kind == "task":
        raise UsageError("an application's answer", "a chat or a completion", "name one of those")
    if interaction.kind == "chat":
        rendered = render_chat(tokenizer, interaction.messages, add_answer_prompt=True)
        prompt = [*tokenizer.start_ids, *rendered.ids]
        answer = answer_lead(tokenizer) + interaction.answer
    else:
        prompt = [*tokenizer.start_ids, *tokenizer.encode(interaction.prompt)]
        prompt, answer = prompt or [tokenizer.end_id], interaction.answer
    return prompt[-interaction.num_prompt_tokens :], tokenizer.encode(answer, continues=True)


def _fitted(
    model: LanguageModel, prompt_ids: Sequence[int], answer_ids: Sequence[int]
) -> tuple[list[int], int]:
    """Prompt and answer as far as they fit the context, and where the answer begins."""
    if not answer_ids:
        raise UsageError("an answer without a token", "some text")
    ids = [*prompt_ids, *answer_ids][-model.model.config.context_tokens :]
    return ids, max(0, len(ids) - len(answer_ids))


def _texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [
        tokenizer.specials.get(one) or decoder.decode(tokenizer.token_bytes(one)) for one in ids
    ]


def _name(tokenizer: Tokenizer, token_id: int) -> str:
    """A token alone; one that is no text alone is nothing but part of a character."""
    special = tokenizer.specials.get(token_id)
    if special is not None:
        return special
    return tokenizer.token_bytes(token_id).decode("utf-8", "ignore")
