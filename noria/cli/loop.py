"""improve, promote, rollback: the wheel turns, by itself or by hand."""

from __future__ import annotations

from pathlib import Path

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.recipe import TENANT, Recipe

TASK = typer.Option("", "--task", help="Of this application, not of the language model.")


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(improve)
    app.command()(promote)
    app.command()(rollback)


def improve(
    recipe: Path = RECIPE, task: str = TASK, store: Path | None = STORE, as_json: bool = JSON
) -> None:
    """Train a challenger on the feedback, let the gate judge it, promote it if it earned it."""
    from noria.runtime import lower_priority
    from noria.stages.improve import improve_recipe, outcome_text

    with Opened(recipe, store, as_json) as workspace, workspace.alone():
        lower_priority()
        outcome = improve_recipe(workspace, task)
    show(outcome, as_json, outcome_text(outcome))
    if not outcome["promoted"]:
        raise typer.Exit(3)


def _name(recipe: Recipe, task: str) -> str:
    """The name that the registry knows the language model, or an application, by."""
    from noria.stages.task_release import require_task, task_name

    if not task:
        return recipe.name
    require_task(recipe, task)
    return task_name(recipe, task)


def promote(
    weight_hash: str = typer.Argument(..., help="Weight hash (prefix) of a version."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    task: str = TASK,
    reason: str = typer.Option("by hand", "--reason", help="For the audit trail."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Make a version live by hand; running servers follow."""
    from noria.artifacts import read_artifact, verify_artifact

    with Opened(recipe, store, quiet=True) as workspace:
        name = _name(workspace.recipe, task)
        version = workspace.registry.find_version(TENANT, name, weight_hash)
        verify_artifact(read_artifact(workspace.root / version.artifact_path))
        live = workspace.registry.promote(TENANT, name, version.weight_hash, "command line", reason)
    show({"live": live.weight_hash}, as_json, f"live: {live.weight_hash[:12]}")


def rollback(
    recipe: Path = RECIPE,
    task: str = TASK,
    reason: str = typer.Option("by hand", "--reason", help="For the audit trail."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Make the version live that was live before; running servers follow."""
    with Opened(recipe, store, quiet=True) as workspace:
        name = _name(workspace.recipe, task)
        live = workspace.registry.rollback(TENANT, name, "command line", reason)
    show({"live": live.weight_hash}, as_json, f"live: {live.weight_hash[:12]}")
