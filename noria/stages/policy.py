"""How often a recipe's policy refuses what it should not: on texts that ought to be answered.

In: a workspace and a file of such texts, one a line. Out: counts by reason, and the share with its
interval.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from noria.errors import InputError
from noria.evaluate.exact import share_interval
from noria.recipe import TENANT
from noria.serve.policy import TopicsOf, check_topics, policy_of
from noria.stages.task_names import task_version
from noria.tasks.task_model import TaskModel, load_task_model
from noria.workspace import Workspace


def _topics_of(workspace: Workspace) -> TopicsOf | None:
    """The classifier of the recipe's topics, None where it has none."""
    if not workspace.recipe.serve.topics_by:
        return None
    model = _live(workspace)

    def topics_of(_: str, text: str) -> tuple[str, ...]:
        (answer,) = model.predict([text])
        return tuple(answer.as_json()["labels"])

    return topics_of


def _live(workspace: Workspace) -> TaskModel:
    settings = workspace.recipe.serve
    version = task_version(workspace.registry, workspace.recipe, settings.topics_by)
    return load_task_model(workspace.root / version.artifact_path)


def false_refusals(workspace: Workspace, path: Path) -> dict[str, Any]:
    """What the policy refuses of texts that should all be answered, as prompts and as answers.

    Raises InputError for a file without texts, and as `check_topics` does.
    """
    try:
        texts = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read ({error})", "texts in UTF-8, one a line") from error
    if not texts:
        raise InputError(f"{path} has no text", "texts, one a line", "name another file")
    check_topics(workspace.recipe, lambda _: _live(workspace).description.labels)
    policy = policy_of(workspace.recipe.serve, _topics_of(workspace))
    why = Counter(policy.refused_prompt(TENANT, [text]) for text in texts)
    prompts = share_interval(len(texts) - why.pop("", 0), len(texts))
    answers = share_interval(sum(map(policy.refuses_answer, texts)), len(texts))
    return {
        "texts": len(texts),
        "refused_prompts": {"share": prompts.value, "low": prompts.low, "high": prompts.high},
        "refused_answers": {"share": answers.value, "low": answers.low, "high": answers.high},
        "reasons": dict(sorted(why.items())),
    }
