"""feedback, improve, promote, rollback, pin, freeze: the wheel turns, by itself or by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UsageError
from noria.recipe import TENANT, Recipe

TASK = typer.Option("", "--task", help="Of this application, not of the language model.")
REASON = typer.Option("by hand", "--reason", help="For the audit trail.")


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(feedback)
    app.command()(improve)
    app.command()(promote)
    app.command()(rollback)
    for verb in (pin, unpin, freeze, unfreeze):
        app.command()(verb)


def feedback(
    interaction: str = typer.Argument("", help="The interaction's id; empty: list what there is."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    correct: str = typer.Option("", "--correct", help="What the answer should have been."),
    thumb: str = typer.Option("", "--thumb", help="up or down."),
    comment: str = typer.Option("", "--comment", help="A remark."),
    person: str = typer.Option("", "--person", help="Who says so; kept as a pseudonym."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Say what you think of an answer, or list the feedback so far."""
    given = {"correction": correct, "thumb": thumb, "comment": comment}
    given = {kind: value for kind, value in given.items() if value}
    with Opened(recipe, store, quiet=True) as workspace:
        if interaction and not given:
            raise UsageError(
                f"nothing to say of {interaction}",
                "feedback",
                "add --correct, --thumb or --comment",
            )
        if given and not interaction:
            raise UsageError("no interaction named", "its id", "noria chat prints it")
        stored = [
            workspace.feedback.record_feedback(
                TENANT, interaction, kind, value, origin="person", person=person
            )
            for kind, value in given.items()
        ] or workspace.feedback.feedback(TENANT)
    rows = [asdict(one) for one in stored]
    lines = [f"{one.interaction_id}  {one.kind:<10} {one.value[:60]!r}" for one in stored]
    show({"feedback": rows}, as_json, "\n".join(lines) or "no feedback yet")


def improve(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Train a challenger on the feedback, let the gate judge it, promote it if it earned it."""
    from noria.stages.improve import improve as improve_once

    with Opened(recipe, store, as_json) as workspace, workspace.alone():
        outcome = improve_once(workspace)
    show(outcome, as_json, "\n".join(outcome["reasons"]) + f"\nlive: {outcome['live'][:12]}")
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
    reason: str = REASON,
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
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Make the version live that was live before; running servers follow."""
    with Opened(recipe, store, quiet=True) as workspace:
        name = _name(workspace.recipe, task)
        live = workspace.registry.rollback(TENANT, name, "command line", reason)
    show({"live": live.weight_hash}, as_json, f"live: {live.weight_hash[:12]}")


def _hold(action: str, recipe: Path, task: str, reason: str, store: Path | None) -> dict[str, Any]:
    """Begin or end a hold; returns what is live and what holds it now."""
    with Opened(recipe, store, quiet=True) as workspace:
        name = _name(workspace.recipe, task)
        live = workspace.registry.hold(TENANT, name, action, "command line", reason)
        held = sorted(workspace.registry.holds(TENANT, name))
    return {"live": live.weight_hash, "holds": held}


def _show_hold(found: dict[str, Any], as_json: bool) -> None:
    held = " and ".join(found["holds"]) or "nothing"
    show(found, as_json, f"live: {found['live'][:12]}   held by: {held}")


def pin(
    recipe: Path = RECIPE,
    task: str = TASK,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Keep what is live from being promoted over or rolled back by itself; by hand both still go.

    A canary or shadow that is on ends.
    """
    _show_hold(_hold("pin", recipe, task, reason, store), as_json)


def unpin(
    recipe: Path = RECIPE,
    task: str = TASK,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """End a pin."""
    _show_hold(_hold("unpin", recipe, task, reason, store), as_json)


def freeze(
    recipe: Path = RECIPE,
    task: str = TASK,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Keep what is live from being moved by anybody, until `noria unfreeze`."""
    _show_hold(_hold("freeze", recipe, task, reason, store), as_json)


def unfreeze(
    recipe: Path = RECIPE,
    task: str = TASK,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """End a freeze."""
    _show_hold(_hold("unfreeze", recipe, task, reason, store), as_json)
