"""What users wrote, without the identities in it: before it is stored, whoever brings it.

In: an interaction or feedback, and what replaces identities. Out: the same with clean texts.
"""

from __future__ import annotations

import json
from dataclasses import replace

from noria.corpus.deidentify import Deidentifier
from noria.errors import UsageError
from noria.feedback.interactions import IMPLICIT_KINDS, Feedback, Interaction


def _messages(kind: str, prompt: str) -> list[dict[str, str]] | None:
    """The messages of a chat's prompt; None for a completion's."""
    if kind != "chat":
        return None
    try:
        return [
            {"role": str(turn["role"]), "content": str(turn["content"])}
            for turn in json.loads(prompt)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "a chat's prompt that is not a list of messages",
            'JSON: [{"role": …, "content": …}, …]',
            "make it with chat_prompt",
        ) from error


def cleaned_interaction(asked: Interaction, deidentifier: Deidentifier) -> Interaction:
    """The interaction without identities in its texts.

    Of a chat every content goes by itself, so that JSON stays JSON.
    """
    turns = _messages(asked.kind, asked.prompt)
    said = [asked.prompt] if turns is None else [turn["content"] for turn in turns]
    (*said, answer), _ = deidentifier.replace_together([*said, asked.answer])
    if turns is None:
        (prompt,) = said
    else:
        clean = [{**turn, "content": text} for turn, text in zip(turns, said, strict=True)]
        prompt = json.dumps(clean, ensure_ascii=False)
    return replace(asked, prompt=prompt, answer=answer)


def cleaned_feedback(said: Feedback, deidentifier: Deidentifier) -> Feedback:
    """The feedback without identities in its value."""
    if said.kind == "preference" or said.kind in IMPLICIT_KINDS:  # an id, or nothing
        return said
    return replace(said, value=deidentifier.replace(said.value)[0])
