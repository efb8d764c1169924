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
from noria.records import Message
from noria.tokenizer.formats import BOS, END, FORMATS, ROLES, ChatFormat
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.tools import ToolForm, spelled_turns


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
    Raises UsageError for no message, an unknown role, or an order that the format does not have.
    """
    style = FORMATS[tokenizer.chat_format]
    turns = _turns(style, messages)
    if add_answer_prompt and style.order == "alternating" and turns[-1][0] == "assistant":
        raise _disorder(style, "an answer asked for behind an answer")
    pieces: list[_Piece] = []
    for number, (role, text) in enumerate(turns):
        pieces += _turn(tokenizer, style, role, text.strip() if style.trims else text)
        if role == "assistant" and number + 1 < len(turns):
            pieces += _spelled(tokenizer, style.between)
    if add_answer_prompt:
        pieces += _spelled(tokenizer, style.assistant.before)
    return _encoded(tokenizer, pieces)


def refused_chat(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """Why these messages can't be rendered in the tokenizer's chat format; "" if they can."""
    style = FORMATS[tokenizer.chat_format]
    try:
        _turns(style, messages)
    except UsageError as error:  # what is given differs from chat to chat, what is wanted does not
        return f"no chat in the format {style.name}, which has {error.expected}"
    return ""


def stop_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that end an answer in this chat format."""
    return tokenizer.stop_ids


def tool_form(tokenizer: Tokenizer) -> ToolForm:
    """How functions and calls are spelled in this chat format."""
    return FORMATS[tokenizer.chat_format].tools


def answer_lead(tokenizer: Tokenizer) -> str:
    """What a model writes before an answer and is not part of it: one character or none."""
    return FORMATS[tokenizer.chat_format].lead


def _turns(style: ChatFormat, messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Role and text of each turn, the system's own message added or folded into the user's."""
    if not messages:
        raise UsageError("a chat without messages", "at least one message")
    for message in messages:
        if message.role not in (*ROLES, "tool"):
            raise UsageError(f"role {message.role!r}", "one of " + ", ".join([*ROLES, "tool"]))
    turns = spelled_turns(style.tools, style.default_system, style.system is not None, messages)
    has_system = turns[0][0] == "system"
    _check_order(style, [role for role, _ in turns[has_system:]], has_system)
    if style.default_system is not None and not has_system:
        return [("system", style.default_system), *turns]
    if style.folds_system and style.system and has_system:
        front = style.system.before + turns[0][1] + style.system.after
        return [("user", front + turns[1][1]), *turns[2:]]
    return turns


def _check_order(style: ChatFormat, roles: Sequence[str], has_system: bool) -> None:
    """Refuse an order of roles that the format's own template refuses, or would drop silently."""
    if has_system and style.system is None:
        raise UsageError(
            f"a system message in the chat format {style.name}",
            "a chat of user and assistant",
            "put it at the front of the user's first message",
        )
    if style.order == "system first" and "system" in roles:
        raise _disorder(style, "a system message behind another message")
    if style.order == "alternating":
        wanted = [("user", "assistant")[number % 2] for number in range(len(roles))]
        if list(roles) != wanted or not roles:
            raise _disorder(style, "messages of " + ", ".join(roles or ["the system alone"]))


def _disorder(style: ChatFormat, given: str) -> UsageError:
    return UsageError(
        f"{given} in the chat format {style.name}",
        "a user's message first, then assistant and user in turn"
        if style.order == "alternating"
        else "the system's message first or not at all",
        "join or leave out messages",
    )


def _spelled(tokenizer: Tokenizer, text: str, counts: bool = False) -> list[_Piece]:
    """A format's own text; special tokens in it become ids. Never used for what somebody says."""
    known = {text: token_id for token_id, text in tokenizer.specials.items()}
    known[END] = tokenizer.turn_end_id
    if tokenizer.bos_id is not None:
        known[BOS] = tokenizer.bos_id
    pieces: list[_Piece] = []
    while found := [(text.index(one), -len(one), one) for one in known if one in text]:
        start, _, special = min(found)  # the first, and of those the longest
        pieces += [(text[:start], counts), (known[special], counts)]
        text = text[start + len(special) :]
    return [*pieces, (text, counts)]


def _turn(tokenizer: Tokenizer, style: ChatFormat, role: str, text: str) -> list[_Piece]:
    if role == "assistant":
        ending, end, rest = style.assistant.after.partition(END)
        return [
            *_spelled(tokenizer, style.assistant.before),
            (style.lead + text, True),
            *_spelled(tokenizer, ending + end, counts=True),
            *_spelled(tokenizer, rest),
        ]
    turn = style.user if role == "user" else style.system
    if turn is None:  # refused before
        raise UsageError(f"a {role} message in the chat format {style.name}", "none")
    return [*_spelled(tokenizer, turn.before), (text, False), *_spelled(tokenizer, turn.after)]


def _encoded(tokenizer: Tokenizer, pieces: Sequence[_Piece]) -> RenderedChat:
    """Encode each run of text between special tokens at once."""
    ids: list[int] = []
    mask: list[int] = []
    run: list[tuple[str, bool]] = []
    for what, counts in [*pieces, (-1, False)]:
        if isinstance(what, str):
            run.append((what, counts))
            continue
        new_ids, starts = tokenizer.encode_placed("".join(text for text, _ in run))
        ids += new_ids
        mask += _run_mask(tokenizer, starts, run)
        run = []
        if what >= 0:
            ids.append(what)
            mask.append(int(counts))
    return RenderedChat(tuple(ids), tuple(mask))


def _run_mask(
    tokenizer: Tokenizer, starts: Sequence[int], run: Sequence[tuple[str, bool]]
) -> list[int]:
    """1 for each token whose first byte lies in text that counts."""
    counted = bytearray()
    for text, counts in run:
        counted += bytes([counts]) * tokenizer.num_spelled_bytes(text)
    return [counted[start] for start in starts]
