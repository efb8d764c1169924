"""Simulated users: passages or chats of held-back real text ask the server and correct its answers.

In: documents or conversations that the model was not trained on. Out: over HTTP, requests and
corrections marked `simulated`. Nothing here pretends that a person was asked.
"""

from __future__ import annotations

import hashlib
import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from noria.errors import NoriaError
from noria.records import (
    Conversation,
    Document,
    Message,
    Pair,
    Source,
    content_text,
    text_content,
)

PROMPT_CHARACTERS = 160
CORRECTION_CHARACTERS = 640
ANSWER_TOKENS = 24
NUM_TEST_PASSAGES = 120


@dataclass(frozen=True)
class Passage:
    """The beginning of a passage, and how the author went on.

    Or a chat: `turns` is what was said so far, `prompt` the last of it, and the correction the
    answer.
    """

    prompt: str
    correction: str
    source: Source
    turns: tuple[Message, ...] = ()

    @property
    def key(self) -> str:
        """Names the passage by its words; makes a repeated request the same request."""
        before = "".join(f"{one.role}\0{content_text(one.content)}\0" for one in self.turns)
        text = f"{before}{self.prompt}\0{self.correction}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def as_record(self) -> Pair | Conversation:
        """The passage as an example."""
        answer = text_content(self.correction)
        if self.turns:
            return Conversation((*self.turns, Message("assistant", answer)), self.source)
        return Pair(text_content(self.prompt), answer, self.source)


@dataclass(frozen=True)
class Asked:
    """What came back over HTTP for one passage."""

    passage: Passage
    answer: str
    interaction_id: str
    weight_hash: str


def _cut(text: str, length: int) -> int:
    """The last space before `length`, or `length` where a script has none."""
    return text.rfind(" ", length // 2, length) if " " in text[length // 2 : length] else length


def passages(documents: Sequence[Document], seed: int) -> list[Passage]:
    """Every document long enough, cut into prompt and correction, in a seeded order."""
    found = []
    for document in documents:
        text = content_text(document.content)
        if len(text) < 2 * PROMPT_CHARACTERS:
            continue
        start = _cut(text, PROMPT_CHARACTERS)
        rest = text[start:]
        end = _cut(rest, CORRECTION_CHARACTERS) if len(rest) > CORRECTION_CHARACTERS else len(rest)
        found.append(Passage(text[:start], rest[:end], document.source))
    return _in_seeded_order(found, seed)


def chat_passages(conversations: Sequence[Conversation], seed: int) -> list[Passage]:
    """Every conversation that ends with an answer to somebody, in a seeded order."""
    found = []
    for one in conversations:
        *before, last = one.messages
        if before and before[-1].role == "user" and last.role == "assistant":
            prompt, answer = content_text(before[-1].content), content_text(last.content)
            found.append(Passage(prompt, answer, one.source, tuple(before)))
    return _in_seeded_order(found, seed)


def _in_seeded_order(found: Sequence[Passage], seed: int) -> list[Passage]:
    unique = {passage.key: passage for passage in found}
    return sorted(unique.values(), key=lambda p: hashlib.sha256(f"{seed}{p.key}".encode()).digest())


def placebo(chosen: Sequence[Passage], seed: int) -> list[Passage]:
    """The same letters in an order that says nothing: those of all corrections, shuffled.

    Each correction keeps its length. Whole words would not do: they still teach a young model
    the words that its users want.
    """
    letters = [letter for passage in chosen for letter in passage.correction]
    random.Random(seed).shuffle(letters)
    shuffled, position = [], 0
    for passage in chosen:
        end = position + len(passage.correction)
        text = "".join(letters[position:end])
        shuffled.append(replace(passage, correction=text))
        position = end
    return shuffled


def post_json(url: str, key: str, body: dict[str, Any], idempotency_key: str = "") -> Any:
    """POST JSON with a bearer key; raises NoriaError with the server's own words."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    request = urllib.request.Request(url, json.dumps(body).encode("utf-8"), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NoriaError(f"{url} answered {error.code}: {error.read(500)!r}") from error
    except OSError as error:
        raise NoriaError(f"{url} could not be reached ({error})") from error


def ask(url: str, key: str, passage: Passage, turn: str) -> Asked:
    """Ask the server to go on from the prompt, or to answer the chat; the seed is its own.

    `turn` names the occasion: asking again within it is the same request, not a new one.
    """
    body: dict[str, Any] = {
        "model": "live",
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0.7,
        "seed": int(passage.key[:7], 16),
    }
    if passage.turns:
        body["messages"] = [
            {"role": one.role, "content": content_text(one.content)} for one in passage.turns
        ]
        path = "/v1/chat/completions"
    else:
        body["prompt"] = passage.prompt
        path = "/v1/completions"
    answer = post_json(f"{url}{path}", key, body, f"ask-{turn}-{passage.key}")
    choice = answer["choices"][0]
    text = choice["message"]["content"] if passage.turns else choice["text"]
    return Asked(passage, text, answer["id"], answer["weight_hash"])


def ask_and_correct(
    url: str,
    key: str,
    chosen: Sequence[Passage],
    turn: str,
    progress: Callable[[int, int], None],
) -> list[Asked]:
    """Ask with every passage and correct every answer; asking again changes nothing."""
    answers = []
    for number, passage in enumerate(chosen, start=1):
        asked = ask(url, key, passage, turn)
        body = {
            "interaction_id": asked.interaction_id,
            "kind": "correction",
            "value": passage.correction,
            "origin": "simulated",
        }
        post_json(f"{url}/v1/feedback", key, body, f"correct-{turn}-{passage.key}")
        answers.append(asked)
        progress(number, len(chosen))
    return answers
