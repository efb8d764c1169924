"""What the model card says beside the numbers, from the recipe and what the run left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from noria.artifacts import Artifact
from noria.evaluate.contents import CardSection, DataRow
from noria.evaluate.scores import unchanged_weights
from noria.recipe import Recipe
from noria.stages.ancestors import find_ancestor
from noria.stages.review import review_sentences
from noria.workspace import Workspace

NOT_STATED = "not stated"
NOT_STATED_USE = "Not stated. Say in the recipe, under [card] intended_use, what this model is for."


def card_section(
    workspace: Workspace,
    corpus: Artifact,
    model: Artifact,
    measured: Collection[str],
    more_data: Sequence[DataRow] = (),
) -> CardSection:
    """Intended use, data, limits, contamination and what was not measured.

    `measured` names what was: `gate`, `groups`, `tasks`; `more_data` is that of applications.
    """
    recipe = workspace.recipe
    return CardSection(
        intended_use=recipe.card.intended_use or NOT_STATED_USE,
        data=(*_data(recipe, corpus.facts), *more_data),
        limits=(*_unchanged(workspace, model), *recipe.card.limits, *_limits(recipe)),
        contamination=_contamination(corpus.facts),
        not_measured=_not_measured(recipe, measured),
        reviews=review_sentences(workspace, recipe.name),
    )


def _unchanged(workspace: Workspace, model: Artifact) -> list[str]:
    """The warning for a tuned model whose weights are its base's; else nothing."""
    found = [find_ancestor(workspace, model, stage) for stage in ("extend", "base")]
    base = next((one for one in found if one is not None), None)
    if base is None:
        return []
    hashes = model.facts["weight_hash"], base.facts["weight_hash"]
    warning = unchanged_weights(*hashes, "the tuned model", "its base")
    return [warning] if warning else []


def _data(recipe: Recipe, facts: dict[str, Any]) -> tuple[DataRow, ...]:
    """A row for each source and language; none of a corpus that did not count them yet."""
    return tuple(
        DataRow(
            row["source"],
            row["language"],
            licence_of(recipe, row["source"]),
            row["train"],
            row["held_out"],
            row["test"],
        )
        for row in facts.get("strata", ())
    )


def licence_of(recipe: Recipe, source: str) -> str:
    """The licence of a source's text as its publisher states it, where the recipe knows it."""
    package = recipe.packages.get(source.removeprefix("package:"))
    if package is None or not source.startswith("package:"):
        return NOT_STATED
    return f"{package.licence} ({package.registry}: {package.package} {package.version})"


def _limits(recipe: Recipe) -> list[str]:
    found = ["It can state what is false, and repeats what its text says, prejudice included."]
    if recipe.model.base:
        found.append(
            f"It is tuned from {recipe.model.base}: that model's licence, text and limits are its "
            "own too, and are not described here."
        )
    if recipe.corpus.identities == "keep":
        found.append("Nothing that identifies people was taken out of its text.")
    else:
        found.append(
            "What identifies people was looked for and replaced; what was missed may be repeated."
        )
    return found


def _contamination(facts: dict[str, Any]) -> tuple[str, ...]:
    found = [
        f"{facts['contaminated']:,} training records shared a passage with held-out or test text, "
        "or with an evaluation set of the recipe, and were left out."
    ]
    for one in facts.get("contamination", ()):
        short = one["too_short_to_look_for"]
        found.append(
            f"{one['set']}: {one['records']:,} training records left out"
            + (f"; {short:,} of its texts are too short to be looked for." if short else ".")
        )
    several = facts.get("groups_in_several_splits", 0)
    if several:
        found.append(f"{several:,} groups (files, threads) have texts in more than one split.")
    return tuple(found)


def _not_measured(recipe: Recipe, measured: Collection[str]) -> tuple[str, ...]:
    absent = {
        "gate": "What feedback brings: no feedback was given in this run.",
        "groups": "Quality by language or kind of text: there was one kind only.",
        "tasks": "Any application other than language modelling: nothing was classified.",
    }
    found = [said for name, said in absent.items() if name not in measured]
    found += [
        "How much of what identifies people was found in this very text.",
        "Fairness between groups of people, memorised passages, and whether answers are true.",
        "Any text but that of this recipe, and any machine but this one.",
        "Speed and memory on a GPU, and when several people ask at once.",
    ]
    if recipe.model.base and not recipe.adapter.general:
        found.append("What the base could do before and has lost: the recipe has no general text.")
    if recipe.model.base:
        found.append("Whether the base model was trained on the held-out text: that is not known.")
    return tuple(found)
