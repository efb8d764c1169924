"""improve, promote, rollback, pin, freeze: the wheel turns, by itself or by hand."""

from __future__ import annotations

from pathlib import Path

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.recipe import TENANT, Recipe

TASK = typer.Option("", "--task", help="Of this application, not of the language model.")
OF_TENANT = typer.Option(TENANT, "--tenant", help="Whose feedback and live version.")
REASON = typer.Option("by hand", "--reason", help="For the audit trail.")


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(improve)
    app.command()(promote)
    app.command()(rollback)
    for verb in (pin, unpin, freeze, unfreeze):
        app.command()(verb)


def improve(
    recipe: Path = RECIPE,
    task: str = TASK,
    tenant: str = OF_TENANT,
    watch: bool = typer.Option(
        False, "--watch", help="For ever: requests, triggers, canaries, rollbacks. Ctrl-C ends it."
    ),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Train a challenger on the feedback, let the gate judge it, promote it if it earned it."""
    from noria.runtime import lower_priority
    from noria.stages.improve import improve_recipe, outcome_text

    if watch:
        if tenant != TENANT:
            raise typer.BadParameter("--watch looks after every tenant: leave --tenant out")
        _watch(recipe, store)
        return
    with Opened(recipe, store, as_json, tenant) as workspace, workspace.alone():
        lower_priority()
        outcome = improve_recipe(workspace, task)
    show(outcome, as_json, outcome_text(outcome))
    if not outcome["released"]:
        raise typer.Exit(3)


def _watch(recipe: Path, store: Path | None) -> None:
    """Watch until SIGTERM or Ctrl-C."""
    import signal
    import threading

    from noria.stages.turn_process import TurnProcess
    from noria.stages.watch import Watch

    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    with Opened(recipe, store, quiet=False) as workspace:
        workspace.watcher.say(f"watching {workspace.recipe.name} in {workspace.root}")
        Watch(workspace, TurnProcess(workspace.recipe_path, workspace.root)).run(stop)


def _name(recipe: Recipe, task: str) -> str:
    """The name that the registry knows the language model, or an application, by."""
    from noria.stages.task_names import require_task, task_name

    if not task:
        return recipe.name
    require_task(recipe, task)
    return task_name(recipe, task)


def promote(
    weight_hash: str = typer.Argument(..., help="Weight hash (prefix) of a version."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    task: str = TASK,
    tenant: str = OF_TENANT,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Make a version live by hand; running servers follow.

    A tenant may get a version of the recipe's own; what its people say trains a version of its own.
    """
    from noria.artifacts import read_artifact, verify_artifact
    from noria.stages.promotion import version_for
    from noria.stages.review import promote_reviewed

    with Opened(recipe, store, quiet=True, tenant=tenant) as workspace:
        name = _name(workspace.recipe, task)
        version = version_for(workspace, name, weight_hash)
        verify_artifact(read_artifact(workspace.root / version.artifact_path))
        live = promote_reviewed(
            workspace, tenant, name, version.weight_hash, "command line", reason
        )
    show({"live": live.weight_hash}, as_json, f"live: {live.weight_hash[:12]}")


def rollback(
    recipe: Path = RECIPE,
    task: str = TASK,
    tenant: str = OF_TENANT,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Make the version live that was live before; running servers follow."""
    with Opened(recipe, store, quiet=True, tenant=tenant) as workspace:
        name = _name(workspace.recipe, task)
        live = workspace.registry.rollback(tenant, name, "command line", reason)
    show({"live": live.weight_hash}, as_json, f"live: {live.weight_hash[:12]}")


def _hold(
    action: str,
    recipe: Path,
    task: str,
    tenant: str,
    reason: str,
    store: Path | None,
    as_json: bool,
) -> None:
    """Begin or end a hold; tell what is live and what holds it now."""
    with Opened(recipe, store, quiet=True) as workspace:
        name = _name(workspace.recipe, task)
        live = workspace.registry.hold(tenant, name, action, "command line", reason)
        held = sorted(workspace.registry.holds(tenant, name))
    told = f"live: {live.weight_hash[:12]}   held by: {' and '.join(held) or 'nothing'}"
    show({"live": live.weight_hash, "holds": held}, as_json, told)


def pin(
    recipe: Path = RECIPE,
    task: str = TASK,
    tenant: str = OF_TENANT,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Keep what is live from being promoted over or rolled back by itself; by hand both still go.

    A canary or shadow that is on ends.
    """
    _hold("pin", recipe, task, tenant, reason, store, as_json)


def unpin(
    recipe: Path = RECIPE,
    task: str = TASK,
    tenant: str = OF_TENANT,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """End a pin."""
    _hold("unpin", recipe, task, tenant, reason, store, as_json)


def freeze(
    recipe: Path = RECIPE,
    task: str = TASK,
    tenant: str = OF_TENANT,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Keep what is live from being moved by anybody, until `noria unfreeze`."""
    _hold("freeze", recipe, task, tenant, reason, store, as_json)


def unfreeze(
    recipe: Path = RECIPE,
    task: str = TASK,
    tenant: str = OF_TENANT,
    reason: str = REASON,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """End a freeze."""
    _hold("unfreeze", recipe, task, tenant, reason, store, as_json)
