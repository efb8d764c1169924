"""What this server does not read and does not say: lengths, patterns, topics.

In: a recipe's settings, texts. Out: why a prompt is refused, and answers that keep to the policy.
An answer under a policy is held back until it is whole and was looked at: none of a refused one is
ever sent. The recipe's author writes the patterns; a pattern that takes for ever on some text makes
its request take for ever. This module knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from noria.errors import UsageError
from noria.recipe import ServeSettings
from noria.tasks.answer import Piece

CONTENT_FILTER = "content_filter"  # OpenAI's finish reason of an answer that is withheld
TopicsOf = Callable[[str, str], tuple[str, ...]]  # of a tenant's text


@dataclass(frozen=True)
class Policy:
    """Refused are longer prompts (0: none is), texts that a pattern is found in, and topics."""

    max_prompt_characters: int = 0
    prompts: tuple[re.Pattern[str], ...] = ()
    answers: tuple[re.Pattern[str], ...] = ()
    topics: tuple[str, ...] = ()
    topics_of: TopicsOf | None = None

    def refused_prompt(self, tenant: str, texts: Sequence[str]) -> str:
        """Why a prompt is refused: "length", "pattern", "topic", or "" if it is not.

        `texts` are all its turns; the topic is that of the last one.
        """
        characters = sum(map(len, texts))
        if 0 < self.max_prompt_characters < characters:
            return "length"
        if any(one.search(text) for one in self.prompts for text in texts):
            return "pattern"
        last = texts[-1] if texts else ""
        topics: tuple[str, ...] = ()
        if self.topics_of is not None and last.strip():
            topics = self.topics_of(tenant, last)
        return "topic" if set(topics) & set(self.topics) else ""

    def refuses_answer(self, text: str) -> bool:
        """Whether an answer may not be sent."""
        return any(one.search(text) for one in self.answers)

    def screened(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces of an answer, empty ones until it is whole and looked at."""
        if not self.answers:
            yield from pieces
            return
        held = []
        for piece in pieces:
            held.append(piece)
            if piece.finish is None:
                yield Piece("", None, piece.num_prompt_tokens, piece.num_answer_tokens)
        if not held:
            return
        last = held[-1]
        if self.refuses_answer("".join(one.text for one in held)):
            yield Piece("", CONTENT_FILTER, last.num_prompt_tokens, last.num_answer_tokens)
            return
        drawn = tuple(token for one in held for token in one.drawn)
        yield replace(last, text="".join(one.text for one in held), drawn=drawn)


NO_POLICY = Policy()


def policy_of(settings: ServeSettings, topics_of: TopicsOf | None = None) -> Policy:
    """A recipe's policy; `topics_of` is its classifier. Raises UsageError for a bad pattern."""
    return Policy(
        settings.max_prompt_characters,
        _patterns("serve.refused_prompts", settings.refused_prompts),
        _patterns("serve.refused_answers", settings.refused_answers),
        settings.refused_topics,
        topics_of if settings.refused_topics else None,
    )


def _patterns(name: str, written: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    found = []
    for one in written:
        try:
            found.append(re.compile(one))
        except re.error as error:
            raise UsageError(
                f"{name}: {one!r} ({error})", "regular expressions of Python", "mend the recipe"
            ) from error
    return tuple(found)
