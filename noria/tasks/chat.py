"""Chat: the messages so far in, the assistant's next message out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from noria.generate.engine import draw_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.records import Message
from noria.tasks.answer import Draw, Piece, answer_pieces
from noria.tokenizer.chat import answer_lead, render_chat
from noria.tokenizer.load import Tokenizer


def chat(
    model: LanguageModel,
    messages: Sequence[Message],
    sampling: Sampling,
    draw: Draw = draw_tokens,
) -> Iterator[Piece]:
    """Answer the last message in the model's own chat format.

    Raises UsageError for no message, an unknown role or a wrong order. A conversation that is
    longer than the context loses its oldest tokens.
    """
    prompt_ids = chat_ids(model.tokenizer, messages)
    return answer_pieces(model, prompt_ids, sampling, answer_lead(model.tokenizer), draw)


def chat_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """What the model reads of a conversation before it answers. Raises as `chat` does."""
    rendered = render_chat(tokenizer, messages, add_answer_prompt=True)
    return [*tokenizer.start_ids, *rendered.ids]
