"""Answers in OpenAI's shapes: whole bodies, chunks of a stream, errors.

In: what was answered and by which weights. Out: JSON values.
Every body and every chunk says which interaction it belongs to (`id`) and which weights gave it
(`weight_hash`, and `system_fingerprint` for clients that know only OpenAI's fields).
"""

from __future__ import annotations

import json
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


def whole_body(
    head: Head,
    text: str,
    finish: str,
    counts: dict[str, int],
    log_probs: dict[str, list[Any]] | None = None,
) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": log_probs}
    if head.kind == "chat":
        choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        return {**head.body("chat.completion", [choice]), "usage": counts}
    choice["text"] = text
    return {**head.body("text_completion", [choice]), "usage": counts}


def first_chunks(head: Head) -> list[dict[str, Any]]:
    """What a stream begins with: of a chat, who speaks."""
    if head.kind != "chat":
        return []
    return [_chat_chunk(head, {"role": "assistant", "content": ""}, None)]


def text_chunk(head: Head, text: str, finish: str | None) -> dict[str, Any]:
    """One piece of an answer; the last one says why it ended."""
    if head.kind == "chat":
        return _chat_chunk(head, {"content": text} if text else {}, finish)
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    return head.body("text_completion", [choice])


def usage_chunk(head: Head, counts: dict[str, int]) -> dict[str, Any]:
    """The token counts that a stream may end with."""
    kind = "chat.completion.chunk" if head.kind == "chat" else "text_completion"
    return {**head.body(kind, []), "usage": counts}


def _chat_chunk(head: Head, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return head.body("chat.completion.chunk", [choice])


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n\n"


def error_body(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    message = message[:MAX_MESSAGE_CHARACTERS]
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
