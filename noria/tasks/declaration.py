"""What an application is, said once: everything that follows (recipe, stage, CLI, route) reads it.

A new application is a file beside this one with its `Task`, its answer, and what answers; the
catalogue in `task_model` lists it. This module trains nothing and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from noria.errors import UsageError
from noria.task_settings import BASELINE, TASK_SHAPES, TASK_WAYS


@dataclass(frozen=True)
class Task:
    """One kind of application.

    `head` is what stands on an encoder for it and `objectives` what that is trained by, as
    noria.model and noria.train name them: for one label an example, and for any number. `metrics`
    are the ones that models are chosen by, likewise. `nouns`: what it is told about, in the plural.
    """

    kind: str
    head: str
    objectives: tuple[str, str]
    metrics: tuple[str, str]
    nouns: str

    @property
    def shape(self) -> str:
        """The shape of its records."""
        return TASK_SHAPES[self.kind]

    @property
    def ways(self) -> tuple[str, ...]:
        """Its ways to a model, the cheapest to ask first."""
        return TASK_WAYS[self.kind]

    @property
    def baseline(self) -> str:
        """The way that everything else is measured against."""
        return BASELINE

    def metric(self, many: bool) -> str:
        """The metric that models are chosen by."""
        return self.metrics[many]


def require_texts(texts: list[str]) -> None:
    """Raise UsageError, naming the first, if a text is empty or no text; never repeats a text."""
    for number, text in enumerate(texts, start=1):
        where = f"text {number} of {len(texts)}" if len(texts) > 1 else "the text"
        if not text.strip():
            raise UsageError(f"{where} is empty", "some text")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{where} holds half a character at {error.start}", "text that UTF-8 can hold"
            ) from error
