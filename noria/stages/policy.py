"""What a recipe's policy refuses of a file of texts: what it costs, and what it catches.

In: a workspace and a file of texts, one a line, that should all be answered, or all be refused.
Out: shares with their intervals, each reason with the lines that it refuses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from noria.errors import InputError
from noria.evaluate.exact import share_interval
from noria.recipe import TENANT
from noria.serve.policy import Refusal, check_topics, policy_of
from noria.stages.task_names import task_version
from noria.tasks.task_model import TaskModel, load_task_model
from noria.workspace import Workspace

MAX_SHOWN_LINES = 20  # of one reason
THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # that are told beside the recipe's
_BATCH_TEXTS = 64


@dataclass(frozen=True)
class _Refused:
    """Texts that one reason refuses, as prompts or as answers, by their lines in the file."""

    texts_as: str
    why: Refusal
    lines: tuple[int, ...]

    def as_json(self, num_texts: int) -> dict[str, Any]:
        return {
            "as": self.texts_as,
            "reason": self.why.reason,
            "by": self.why.by,
            **_share(len(self.lines), num_texts),
            "lines": list(self.lines[:MAX_SHOWN_LINES]),
        }


def refusals(workspace: Workspace, path: Path) -> dict[str, Any]:
    """What the policy refuses of a file's texts, as prompts and as answers.

    A text that has several reasons counts under the first, as the server tells it. Raises
    InputError for a file without texts, and as `check_topics` does.
    """
    texts = _texts(path)
    settings = workspace.recipe.serve
    classifier = cache(lambda: _live(workspace))
    check_topics(workspace.recipe, lambda _: classifier().description.labels)
    topics = _topics(classifier(), list(texts.values())) if settings.topics_by else {}
    policy = policy_of(settings, lambda _, text: topics[text])
    prompts: dict[Refusal, list[int]] = defaultdict(list)
    answers: dict[Refusal, list[int]] = defaultdict(list)
    for line, text in texts.items():
        why = policy.refused_prompt(TENANT, [text])
        if why is not None:
            prompts[why].append(line)
        why = policy.refused_answer(text)
        if why is not None:
            answers[why].append(line)
    reasons = [
        _Refused(texts_as, why, tuple(lines))
        for texts_as, found in (("prompt", prompts), ("answer", answers))
        for why, lines in sorted(found.items(), key=lambda one: -len(one[1]))
    ]
    return {
        "texts": len(texts),
        "refused_prompts": _share(sum(map(len, prompts.values())), len(texts)),
        "refused_answers": _share(sum(map(len, answers.values())), len(texts)),
        "reasons": [one.as_json(len(texts)) for one in reasons],
        "topics_at_least": _by_threshold(settings.refused_topics, topics, texts.values()),
    }


def _by_threshold(
    refused: Sequence[str],
    topics: Mapping[str, Mapping[str, float]],
    texts: Collection[str],
) -> list[dict[str, float]]:
    """What topics alone refuse at each of several `serve.topics_at_least`; none without topics."""
    if not topics:
        return []
    likeliest = [max(topics[text].get(one, -1.0) for one in refused) for text in texts]
    return [
        {"at_least": least, **_share(sum(one >= least for one in likeliest), len(texts))}
        for least in THRESHOLDS
    ]


def _texts(path: Path) -> dict[int, str]:
    """The texts of a file by their lines, counted from 1."""
    try:
        lines = path.read_text("utf-8").split("\n")  # as an editor counts them
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read ({error})", "texts in UTF-8, one a line") from error
    texts = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    if not texts:
        raise InputError(f"{path} has no text", "texts, one a line", "name another file")
    return texts


def _topics(model: TaskModel, texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """The labels that a classifier gives each of these texts, with their probabilities."""
    found: dict[str, dict[str, float]] = {}
    for start in range(0, len(texts), _BATCH_TEXTS):
        batch = texts[start : start + _BATCH_TEXTS]
        for text, answer in zip(batch, model.predict(batch), strict=True):
            said = answer.as_json()
            found[text] = {one: said["probabilities"][one] for one in said["labels"]}
    return found


def _live(workspace: Workspace) -> TaskModel:
    settings = workspace.recipe.serve
    version = task_version(workspace.registry, workspace.recipe, settings.topics_by)
    return load_task_model(workspace.root / version.artifact_path)


def _share(num_refused: int, num_texts: int) -> dict[str, float]:
    found = share_interval(num_refused, num_texts)
    return {
        "num_texts": num_refused,
        "share": found.value,
        "low": found.low,
        "high": found.high,
    }
