"""init, check, run, train, search: from a recipe to a model."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, command, show

if TYPE_CHECKING:
    from noria.pipeline import Outcome


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(init)
    app.command()(check)
    app.command()(run)
    app.command()(train)
    app.command()(search)


def init(
    folder: Path = typer.Argument(Path(), help="Where to write noria.toml."),
    documents: list[str] = typer.Option(
        ["texts"], "--documents", help="Your files: globs, or folders of any format."
    ),
    as_json: bool = JSON,
) -> None:
    """Write a commented recipe for your own files."""
    from noria.starter import write_recipe

    path = write_recipe(folder, documents)
    show(
        {"recipe": str(path)},
        as_json,
        f"wrote {path}\nnext: put your text where it says, then: {command('check', path)}",
    )


def check(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Find every mistake of a recipe; estimate time, memory and disk by measuring."""
    from noria.check import check_recipe, describe_estimate

    with Opened(recipe, store, as_json) as workspace:
        estimate = check_recipe(workspace)
    show(
        estimate,
        as_json,
        f"{describe_estimate(estimate)}\nnext: {command('run', recipe, *_of(store))}",
    )


def run(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Make the recipe true; only what changed since the last run is done again."""
    from noria.pipeline import run as run_pipeline

    with Opened(recipe, store, as_json) as workspace, workspace.alone():
        outcome = run_pipeline(workspace)
    show(
        {
            "live": outcome.live_weight_hash,
            "gate": outcome.gate,
            "report": str(outcome.report),
            "tasks": dict(outcome.tasks),
        },
        as_json,
        _ended(outcome, recipe, store),
    )
    if outcome.gate in ("refused", "not enough evidence"):
        raise typer.Exit(3)


def _of(store: Path | None) -> tuple[object, ...]:
    """The option that names the store, for the next command; nothing for the usual one."""
    return ("--store", store) if store else ()


def _ended(outcome: Outcome, recipe: Path, store: Path | None) -> str:
    """What is live, and what to do with it."""
    live, next_ = [], []
    if outcome.live_weight_hash:
        live.append(f"live: {outcome.live_weight_hash[:12]}   gate: {outcome.gate}")
        next_.append(command("chat", recipe, *_of(store)))
    for name, weight_hash in outcome.tasks.items():
        live.append(f"live: {weight_hash[:12]} ({name})")
        next_.append(command("task", name, "…", "-r", recipe, *_of(store)))
    next_.append(command("serve", recipe, *_of(store)))
    lines = "\n  ".join(next_)
    return "\n" + "   ".join(live) + f"   report: {outcome.report}\nnext:\n  {lines}"


def train(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Make what training needs and train, then stop; `torchrun -m noria train` uses many processes.

    Each process has all weights, or with train.shard a part of them. `noria run` goes on from here.
    """
    from noria.pipeline import train as train_alone
    from noria.runtime import detect_device
    from noria.train.parallel import open_team

    with open_team(detect_device()) as team:
        quiet = as_json or not team.is_first
        with Opened(recipe, store, quiet) as workspace, contextlib.ExitStack() as held:
            if team.is_first:
                held.enter_context(workspace.alone())
            trained = train_alone(workspace, team)
        if team.is_first:
            weight_hash = trained.facts["weight_hash"]
            show(
                {"weight_hash": weight_hash, "path": str(trained.path), "processes": team.size},
                as_json,
                f"\ntrained: {weight_hash[:12]}   in {trained.path}\n"
                f"next:\n  {command('run', recipe, *_of(store))}",
            )


def search(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Try training settings within the bounds of [search]; stopped and called again, it goes on."""
    from dataclasses import asdict

    from noria.pipeline import search as search_recipe
    from noria.stages.search import best_as_toml

    with Opened(recipe, store, as_json) as workspace, workspace.alone():
        found = search_recipe(workspace)
    show(
        {**asdict(found), "page": str(found.page)},
        as_json,
        f"\nbest held-out loss {found.held_out_loss:.4f} of {found.num_trials} trainings "
        f"({found.num_pruned} given up early)\n\n{best_as_toml(found)}\n\n"
        f"what mattered: {found.page}\nnext: write these lines into {recipe}",
    )
