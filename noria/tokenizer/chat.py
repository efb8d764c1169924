"""The only chat renderer: for training, evaluation and serving.

In: messages. Out: ids, and a mask that is 1 on what the assistant says and on the token that ends
its turn. Special tokens enter as ids, never as text, so no message can forge a turn.

    chatml   <|im_start|>role \\n content <|im_end|> \\n …
    plain    content \\n content <|endoftext|> …        (an assistant's turn ends with the token)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noria.errors import UsageError
from noria.records import Message, content_text
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.specials import TURN_END_ID, TURN_START_ID

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class RenderedChat:
    """Ids of a conversation and, for each, 1 where the loss counts."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]


def render_chat(
    tokenizer: Tokenizer, messages: Sequence[Message], add_answer_prompt: bool
) -> RenderedChat:
    """Render messages in the tokenizer's chat format.

    With `add_answer_prompt` the ids end where the assistant's next answer begins. No leading
    `end_id`: whoever feeds a model puts it first, as before every sequence of a shard. Raises
    UsageError for no message or an unknown role.
    """
    if not messages:
        raise UsageError("a chat without messages", "at least one message")
    for message in messages:
        if message.role not in ROLES:
            raise UsageError(f"role {message.role!r}", "one of " + ", ".join(ROLES))
    turn = _chatml_turn if tokenizer.chat_format == "chatml" else _plain_turn
    ids: list[int] = []
    mask: list[int] = []
    for message in messages:
        before, said, after = turn(tokenizer, message)
        ids += before + said + after
        mask += [0] * len(before) + [int(message.role == "assistant")] * len(said)
        mask += [0] * len(after)
    if add_answer_prompt and tokenizer.chat_format == "chatml":
        opening = _chatml_opening(tokenizer, "assistant")
        ids += opening
        mask += [0] * len(opening)
    return RenderedChat(tuple(ids), tuple(mask))


def stop_ids(tokenizer: Tokenizer) -> set[int]:
    """The ids that end an answer in this chat format."""
    if tokenizer.chat_format == "chatml":
        return {tokenizer.end_id, TURN_END_ID}
    return {tokenizer.end_id}


# A turn is three runs of ids: what stands before, what is said with its end token, what follows.
# Each run is encoded alone, so that an answer has the same ids in training and in generation.
_Turn = tuple[list[int], list[int], list[int]]


def _chatml_opening(tokenizer: Tokenizer, role: str) -> list[int]:
    return [TURN_START_ID, *tokenizer.encode(role + "\n")]


def _chatml_turn(tokenizer: Tokenizer, message: Message) -> _Turn:
    said = [*tokenizer.encode(content_text(message.content)), TURN_END_ID]
    return _chatml_opening(tokenizer, message.role), said, tokenizer.encode("\n")


def _plain_turn(tokenizer: Tokenizer, message: Message) -> _Turn:
    said = tokenizer.encode(content_text(message.content))
    if message.role == "assistant":
        return [], [*said, tokenizer.end_id], []
    return [], said, tokenizer.encode("\n")
