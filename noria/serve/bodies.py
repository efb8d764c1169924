"""Answers in OpenAI's shapes: whole bodies, chunks of a stream, errors.

In: what was answered and by which weights. Out: JSON values.
Every body and every chunk says which interaction it belongs to (`id`) and which weights gave it
(`weight_hash`, and `system_fingerprint` for clients that know only OpenAI's fields).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_MESSAGE_CHARACTERS = 600  # keeps an error below 4 KB in any script
STREAM_END = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Head:
    """What is the same in every chunk of an answer; `kind` is chat or completion."""

    id: str
    kind: str
    created_at: float
    model_name: str
    weight_hash: str

    def body(self, kind_of_object: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The fields that every body and chunk begins with."""
        return {
            "id": self.id,
            "object": kind_of_object,
            "created": int(self.created_at),
            "model": self.model_name,
            "system_fingerprint": self.weight_hash,
            "weight_hash": self.weight_hash,
            "choices": choices,
        }


def usage(num_prompt_tokens: int, num_answer_tokens: int) -> dict[str, int]:
    """Token counts as OpenAI names them."""
    return {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": num_answer_tokens,
        "total_tokens": num_prompt_tokens + num_answer_tokens,
    }


@dataclass(frozen=True)
class Written:
    """One whole answer to a request; `id` where there are several, so that each can be rated.

    `call`: one of OpenAI's `tool_calls`.
    """

    text: str
    finish: str
    log_probs: dict[str, Any] | None = None
    id: str = ""
    call: dict[str, Any] | None = None


def whole_body(head: Head, written: Sequence[Written], counts: dict[str, int]) -> dict[str, Any]:
    """The body of a reply that is not streamed."""
    choices = [_choice(head, index, one) for index, one in enumerate(written)]
    kind = "chat.completion" if head.kind == "chat" else "text_completion"
    return {**head.body(kind, choices), "usage": counts}


def _choice(head: Head, index: int, one: Written) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index, "finish_reason": one.finish}
    choice["logprobs"] = one.log_probs
    if one.id:
        choice["interaction_id"] = one.id
    if head.kind == "chat":
        choice["message"] = {"role": "assistant", "content": one.text, "refusal": None}
        if one.call is not None:
            choice["message"] |= {"content": one.text or None, "tool_calls": [one.call]}
    else:
        choice["text"] = one.text
    return choice


def first_chunks(head: Head, num_answers: int = 1) -> list[dict[str, Any]]:
    """What a stream begins with: of a chat, who speaks."""
    if head.kind != "chat":
        return []
    begins = {"role": "assistant", "content": ""}
    return [_chat_chunk(head, index, begins, None, None) for index in range(num_answers)]


def text_chunk(
    head: Head,
    text: str,
    finish: str | None,
    index: int = 0,
    log_probs: dict[str, Any] | None = None,
    interaction_id: str = "",
    call: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One piece of an answer; the last one says why it ended, and of several which it was.

    `call`: some more of what it calls.
    """
    if head.kind == "chat":
        delta: dict[str, Any] = {"content": text} if text else {}
        if call is not None:
            delta["tool_calls"] = [{"index": 0, **call}]
        body = _chat_chunk(head, index, delta, finish, log_probs)
    else:
        choice = {"index": index, "text": text, "finish_reason": finish, "logprobs": None}
        body = head.body("text_completion", [choice])
    if interaction_id:
        body["choices"][0]["interaction_id"] = interaction_id
    return body


def usage_chunk(head: Head, counts: dict[str, int]) -> dict[str, Any]:
    """The token counts that a stream may end with."""
    kind = "chat.completion.chunk" if head.kind == "chat" else "text_completion"
    return {**head.body(kind, []), "usage": counts}


def _chat_chunk(
    head: Head,
    index: int,
    delta: dict[str, Any],
    finish: str | None,
    log_probs: dict[str, Any] | None,
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": log_probs}
    return head.body("chat.completion.chunk", [choice])


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n\n"


def error_body(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    message = message[:MAX_MESSAGE_CHARACTERS]
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
