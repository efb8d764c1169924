"""What this server does not read and does not say: lengths, patterns, topics.

In: a recipe's settings, texts. Out: why a prompt is refused, and answers that keep to the policy.
An answer under a policy is held back until it is whole and was looked at: none of a refused one is
ever sent. The recipe's author writes the patterns; a pattern that takes for ever on some text makes
its request take for ever. This module knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from noria.errors import UsageError
from noria.recipe import Recipe, ServeSettings
from noria.serve.worker.messages import Piece, joined

CONTENT_FILTER = "content_filter"  # OpenAI's finish reason of an answer that is withheld
# A tenant and its text -> the labels that it is given, each with its probability.
TopicsOf = Callable[[str, str], Mapping[str, float]]


@dataclass(frozen=True)
class Refusal:
    """Why a text is refused.

    reason: "length", "pattern" or "topic". by: which pattern or topic; clients are not told.
    """

    reason: str
    by: str = ""


@dataclass(frozen=True)
class Policy:
    """Refused are longer prompts (0: none is), texts that a pattern is found in, and topics of at
    least a probability."""

    max_prompt_characters: int = 0
    prompts: tuple[re.Pattern[str], ...] = ()
    answers: tuple[re.Pattern[str], ...] = ()
    topics: tuple[str, ...] = ()
    topics_of: TopicsOf | None = None
    topics_at_least: float = 0.0

    def refused_prompt(self, tenant: str, texts: Sequence[str]) -> Refusal | None:
        """Why a prompt is refused, if it is; of several reasons the first.

        `texts` are all its turns; the topic is that of the last one.
        """
        characters = sum(map(len, texts))
        if 0 < self.max_prompt_characters < characters:
            return Refusal("length")
        found = next(filter(None, (_found(self.prompts, text) for text in texts)), None)
        if found is not None:
            return found
        last = texts[-1] if texts else ""
        if self.topics_of is None or not last.strip():
            return None
        found_topics = self.topics_of(tenant, last)
        refused = (
            one for one in self.topics if found_topics.get(one, -1.0) >= self.topics_at_least
        )
        return next((Refusal("topic", one) for one in refused), None)

    def refused_answer(self, text: str) -> Refusal | None:
        """Why an answer may not be sent, if it may not."""
        return _found(self.answers, text)

    @property
    def holds_back(self) -> bool:
        """Whether an answer is held back until it is whole and was looked at."""
        return bool(self.answers)

    def shown(self, piece: Piece) -> Piece:
        """What leaves of a piece before the last: nothing, where it is held back."""
        if not self.holds_back:
            return piece
        return Piece("", None, piece.num_prompt_tokens, piece.num_answer_tokens)

    def last(self, pieces: Sequence[Piece]) -> Piece:
        """What leaves at the end of an answer of these pieces: the last, or all that was held."""
        if not self.holds_back:
            return pieces[-1]
        whole = joined(pieces)
        if self.refused_answer(whole.text):
            return Piece("", CONTENT_FILTER, whole.num_prompt_tokens, whole.num_answer_tokens)
        return whole


def _found(patterns: Sequence[re.Pattern[str]], text: str) -> Refusal | None:
    return next((Refusal("pattern", one.pattern) for one in patterns if one.search(text)), None)


NO_POLICY = Policy()


def policy_of(settings: ServeSettings, topics_of: TopicsOf | None = None) -> Policy:
    """A recipe's policy; `topics_of` is its classifier. Its patterns were read with the recipe."""
    return Policy(
        settings.max_prompt_characters,
        tuple(map(re.compile, settings.refused_prompts)),
        tuple(map(re.compile, settings.refused_answers)),
        settings.refused_topics,
        topics_of if settings.refused_topics else None,
        settings.topics_at_least,
    )


def check_topics(recipe: Recipe, labels_by: Callable[[str], Sequence[str]]) -> None:
    """Raise UsageError if the recipe's topics are none of its classifier's labels.

    `labels_by` knows those of each application of the recipe.
    """
    settings = recipe.serve
    if not (settings.refused_topics or settings.topics_by or settings.topics_at_least):
        return
    task = recipe.tasks.get(settings.topics_by)
    if task is None or task.kind != "classify" or not settings.refused_topics:
        raise UsageError(
            f"serve.topics_by = {settings.topics_by!r} with "
            f"{len(settings.refused_topics)} serve.refused_topics",
            "an application of this recipe that classifies, and some of its labels",
            "mend the recipe",
        )
    known = labels_by(settings.topics_by)
    unknown = [one for one in settings.refused_topics if one not in known]
    if unknown:
        raise UsageError(
            f"serve.refused_topics: {', '.join(unknown)}",
            "labels of " + settings.topics_by + ": " + ", ".join(known[:20]),
            "mend the recipe",
        )
