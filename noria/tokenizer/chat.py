"""The only chat renderer: for training, evaluation and serving.

In: messages. Out: ids, and a mask that is 1 on what the assistant says and on the token that ends
its turn. How each chat format is spelled is data in `formats`; special tokens enter as ids, never
as text, so no message can forge a turn.

Text between two special tokens is encoded as one run, as every program does that writes a template
to text first: the ids equal those of transformers. (An answer that begins with white space may
therefore share its first token with the line break before it; that token is the prompt's.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noria.errors import UsageError
from noria.records import Message, content_text
from noria.tokenizer.formats import FORMATS, ROLES, ChatFormat
from noria.tokenizer.load import Tokenizer


@dataclass(frozen=True)
class RenderedChat:
    """Ids of a conversation and, for each, 1 where the loss counts."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]


# What is rendered: a special token's id or some text, and whether the loss counts there.
_Piece = tuple[int | str, bool]


def render_chat(
    tokenizer: Tokenizer, messages: Sequence[Message], add_answer_prompt: bool
) -> RenderedChat:
    """Render messages in the tokenizer's chat format.

    With `add_answer_prompt` the ids end where the assistant's next answer begins. The tokenizer's
    `start_ids` are left out: whoever feeds a model puts them first, as before every sequence.
    Raises UsageError for no message or an unknown role.
    """
    if not messages:
        raise UsageError("a chat without messages", "at least one message")
    for message in messages:
        if message.role not in ROLES:
            raise UsageError(f"role {message.role!r}", "one of " + ", ".join(ROLES))
    style = FORMATS[tokenizer.chat_format]
    pieces: list[_Piece] = []
    if style.default_system is not None and messages[0].role != "system":
        pieces += _turn(tokenizer, style, "system", style.default_system)
    for message in messages:
        pieces += _turn(tokenizer, style, message.role, content_text(message.content))
    if add_answer_prompt:
        pieces += _opening(tokenizer, style, "assistant")
    return _encoded(tokenizer, pieces)


def stop_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that end an answer in this chat format."""
    return tokenizer.stop_ids


def _opening(tokenizer: Tokenizer, style: ChatFormat, role: str) -> list[_Piece]:
    """What stands before a message; the format's own special tokens become ids, where they are."""
    pieces: list[_Piece] = []
    rest = style.opening.replace("{role}", role)
    while rest:
        found = [
            (rest.index(text), -len(text), token_id)
            for token_id, text in tokenizer.specials.items()
            if text in rest
        ]
        if not found:
            return [*pieces, (rest, False)]
        start, minus_length, token_id = min(found)  # the first, and of those the longest
        if start:
            pieces.append((rest[:start], False))
        pieces.append((token_id, False))
        rest = rest[start - minus_length :]
    return pieces


def _turn(tokenizer: Tokenizer, style: ChatFormat, role: str, text: str) -> list[_Piece]:
    answers = role == "assistant"
    pieces = _opening(tokenizer, style, role)
    pieces.append((text.strip() if style.trims else text, answers))
    if not style.only_answers_end:
        return [*pieces, (tokenizer.turn_end_id, answers), (style.after, False)]
    return [*pieces, (tokenizer.turn_end_id, True) if answers else (style.after, False)]


def _encoded(tokenizer: Tokenizer, pieces: Sequence[_Piece]) -> RenderedChat:
    """Encode each run of text between special tokens at once."""
    ids: list[int] = []
    mask: list[int] = []
    run: list[tuple[str, bool]] = []
    for what, counts in [*pieces, (-1, False)]:
        if isinstance(what, str):
            run.append((what, counts))
            continue
        new_ids = tokenizer.encode("".join(text for text, _ in run))
        ids += new_ids
        mask += _run_mask(tokenizer, new_ids, run)
        run = []
        if what >= 0:
            ids.append(what)
            mask.append(int(counts))
    return RenderedChat(tuple(ids), tuple(mask))


def _run_mask(
    tokenizer: Tokenizer, ids: Sequence[int], run: Sequence[tuple[str, bool]]
) -> list[int]:
    """1 for each token whose first byte lies in text that counts."""
    counted = bytearray()
    for text, counts in run:
        counted += bytes([counts]) * tokenizer.num_spelled_bytes(text)
    mask = []
    start = 0
    for token_id in ids:
        mask.append(counted[start])
        start += len(tokenizer.token_bytes(token_id))
    return mask
