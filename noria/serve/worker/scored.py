"""A completion with the probabilities of its tokens: `logprobs` and `echo` of OpenAI's API.

In: a checked request and the model that answers it. Out: the whole answer as one piece, which
carries OpenAI's `logprobs` object and, if asked for, the prompt before the answer.
This module knows no HTTP.

`tokens` are texts; one that is no text alone, being part of a character, is written
`bytes:\\xNN\\xNN`, as OpenAI does. `token_logprobs` are natural logarithms before any temperature;
a token with nothing before it has none:
null. `text_offset` counts characters of the returned text.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from noria.errors import UsageError
from noria.generate.drawing import Drawn
from noria.generate.engine import draw_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.postprocess import TextStream
from noria.generate.sampling import Sampling
from noria.generate.scoring import score_tokens
from noria.serve.worker.messages import Piece
from noria.tasks.answer import Draw
from noria.tokenizer.load import Tokenizer


def scored_piece(
    model: LanguageModel,
    prompt: str | Sequence[int],
    sampling: Sampling | None,
    echo: bool,
    num_best: int | None,
    draw: Draw = draw_tokens,
) -> Piece:
    """Answer a prompt and score its tokens, in one piece.

    sampling None: nothing is written, the prompt is only scored. num_best None: nothing is scored.
    An echoed prompt is what its tokens stand for. Raises UsageError if prompt and answer are longer
    than the context, since what is cut off can't be scored, and as `generate_tokens` does.
    """
    tokenizer = model.tokenizer
    before, given = prompt_ids(tokenizer, prompt)
    num_prompt = len(before) + len(given)
    limit = model.model.config.context_tokens - (sampling.max_tokens if sampling else 0)
    if num_prompt > limit:
        raise UsageError(
            f"a prompt of {num_prompt} tokens", f"at most {limit} with this max_tokens"
        )
    answer_ids, text, finish = _written(model, [*before, *given], sampling, draw)
    echoed = tokenizer.decode(given) if echo else ""
    log_probs = None
    if num_best is not None:
        shown = [*(given if echo else ()), *answer_ids]
        offsets = (
            _offsets(tokenizer, given, len(echoed) - _length(tokenizer, given)) if echo else []
        )
        offsets += _offsets(tokenizer, answer_ids, len(echoed))
        scores = score_tokens(model, [*before, *given, *answer_ids], num_best)
        first = len(before) + (0 if echo else len(given))
        # scores begin with the second token of the sequence
        rows = [
            (None, None) if place == 0 else (scores.log_probs[place - 1], scores.best[place - 1])
            for place in range(first, first + len(shown))
        ]
        log_probs = _body(tokenizer, shown, rows, offsets)
    return Piece(text, finish, num_prompt, len(answer_ids), echoed=echoed, log_probs=log_probs)


def prompt_ids(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> tuple[list[int], list[int]]:
    """What stands before the prompt, and the prompt's own ids.

    Before it stands what begins every sequence of this model, unless ids begin with it themselves.
    """
    given = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    before = list(tokenizer.start_ids)
    if not isinstance(prompt, str) and given[: len(before)] == before:
        before = []
    return before or ([] if given else [tokenizer.end_id]), given


def _written(
    model: LanguageModel, prompt_ids: Sequence[int], sampling: Sampling | None, draw: Draw
) -> tuple[list[int], str, str]:
    """The answer's ids, its text, and why it ended; ids behind a stop string are left out."""
    if sampling is None:
        return [], "", "length"
    stream = TextStream(model.tokenizer, sampling.stop)
    ids: list[int] = []
    texts: list[str] = []
    finish = "length"
    for drawn in draw(model, prompt_ids, sampling):
        token_id = drawn.token_id
        ids.append(token_id)
        if token_id in model.tokenizer.stop_ids:
            finish = "stop"
            break
        texts.append(stream.push(token_id))
        if stream.stopped:
            break
    text = "".join(texts) + stream.finish()
    if stream.stopped:
        offsets = _offsets(model.tokenizer, ids, 0)
        return [one for one, at in zip(ids, offsets, strict=True) if at < len(text)], text, "stop"
    return ids, text, finish


def _offsets(tokenizer: Tokenizer, ids: Sequence[int], start: int) -> list[int]:
    """Where in the text each token begins; one within a character, where that character does."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    found = []
    for one in ids:
        found.append(max(start, 0))
        start += len(decoder.decode(tokenizer.token_bytes(one)))
    return found


def _length(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """Characters of the tokens, with the space that a vocabulary may put before every text."""
    return len(b"".join(map(tokenizer.token_bytes, ids)).decode("utf-8", "replace"))


def _body(
    tokenizer: Tokenizer,
    ids: Sequence[int],
    rows: Sequence[tuple[float | None, Sequence[tuple[int, float]] | None]],
    offsets: list[int],
) -> dict[str, list[Any]]:
    """OpenAI's object; the token that was chosen is among the likeliest in any case."""
    names = [_name(tokenizer, one) for one in ids]
    top: list[dict[str, float] | None] = []
    for name, (own, best) in zip(names, rows, strict=True):
        if own is None or best is None:
            top.append(None)
            continue
        likeliest: dict[str, float] = {}
        for one, log_prob in best:
            likeliest.setdefault(_name(tokenizer, one), log_prob)
        likeliest.setdefault(name, own)
        top.append(likeliest)
    return {
        "tokens": names,
        "token_logprobs": [own for own, _ in rows],
        "top_logprobs": top,
        "text_offset": offsets,
    }


def chat_log_probs(tokenizer: Tokenizer, drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    """The entries of OpenAI's `logprobs` object of a chat's choice."""

    def entry(token_id: int, log_prob: float) -> dict[str, Any]:
        data = list(tokenizer.token_bytes(token_id))
        return {"token": _name(tokenizer, token_id), "logprob": log_prob, "bytes": data}

    return [
        {
            **entry(one.token_id, one.log_prob),
            "top_logprobs": [entry(*other) for other in one.best],
        }
        for one in drawn
        if one.log_prob is not None
    ]


def _name(tokenizer: Tokenizer, token_id: int) -> str:
    special = tokenizer.specials.get(token_id)
    if special is not None:
        return special
    data = tokenizer.token_bytes(token_id)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
