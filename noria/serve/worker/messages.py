"""What messages between server and worker say: pieces of answers, and errors.

In: values of ours. Out: plain values for JSON, and back. What comes from the worker is checked:
it may have been taken over by a model file. This module knows no model and no socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from noria.errors import (
    FormatError,
    InputError,
    IntegrityError,
    NoriaError,
    StorageError,
    UnknownName,
    UsageError,
)


class WorkerGone(NoriaError):
    """The process that answers has ended, or does not run yet; another one is started."""


class TooManyForms(UsageError):
    """A tenant's new forms come faster than they can be read."""


@dataclass(frozen=True)
class Piece:
    """Some text of an answer.

    finish: None until the last piece, then "stop" (the model or a stop string ended it) or
    "length" (max_tokens or the context did). num_prompt_tokens: what the model read of the prompt;
    num_answer_tokens: what it wrote up to this piece, its end token included. tokens: of a chat,
    OpenAI's entries of the tokens that begin in this text, if their probabilities were asked for.
    Of a scored completion: `echoed` is the prompt, `log_probs` OpenAI's object.
    """

    text: str
    finish: str | None
    num_prompt_tokens: int
    num_answer_tokens: int
    tokens: tuple[dict[str, Any], ...] = ()
    echoed: str = ""
    log_probs: dict[str, Any] | None = None


def joined(pieces: Sequence[Piece]) -> Piece:
    """All of an answer's pieces as its last one."""
    text = "".join(one.text for one in pieces)
    tokens = tuple(token for one in pieces for token in one.tokens)
    return replace(pieces[-1], text=text, tokens=tokens)


def piece_to_json(piece: Piece) -> list[Any]:
    """A short list: there is one for nearly every token."""
    plain = [piece.text, piece.finish, piece.num_prompt_tokens, piece.num_answer_tokens]
    if piece.tokens or piece.echoed or piece.log_probs is not None:
        return [*plain, list(piece.tokens), piece.echoed, piece.log_probs]
    return plain


def piece_from_json(value: object) -> Piece:
    """The piece again. Raises FormatError."""
    match value:
        case [str(text), str() | None as finish, int(num_prompt), int(num_answer)]:
            return Piece(text, finish, num_prompt, num_answer)
        case [
            str(text),
            str() | None as finish,
            int(num_prompt),
            int(num_answer),
            list(tokens),
            str(echoed),
            dict() | None as log_probs,
        ]:
            return Piece(text, finish, num_prompt, num_answer, tuple(tokens), echoed, log_probs)
    raise FormatError("a piece of an answer of another form", "text, finish, and counts")


# What crosses the line as itself. A class of its own in between would be told as the next of these.
_KINDS: dict[str, type[NoriaError]] = {
    one.__name__: one
    for one in (
        NoriaError,
        UsageError,
        UnknownName,
        InputError,
        FormatError,
        StorageError,
        IntegrityError,
        WorkerGone,
        TooManyForms,
    )
}


def error_to_json(error: Exception) -> dict[str, str]:
    """An error of ours with its message; of any other nothing but that there was one."""
    if not isinstance(error, NoriaError):
        return {"kind": "NoriaError", "given": f"the worker's {type(error).__name__}"}
    kind = next(one.__name__ for one in type(error).__mro__ if one.__name__ in _KINDS)
    told = {"kind": kind, "given": error.given, "expected": error.expected, "fix": error.fix}
    return {name: text for name, text in told.items() if text}


def error_from_json(value: object) -> NoriaError:
    """The error again."""
    if not isinstance(value, dict):
        return NoriaError("an error of another form")
    kind = _KINDS.get(str(value.get("kind")), NoriaError)
    return kind(*(str(value.get(name, "")) for name in ("given", "expected", "fix")))
