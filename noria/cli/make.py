"""init, check, run: from a recipe to a model."""

from __future__ import annotations

from pathlib import Path

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, program, show


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(init)
    app.command()(check)
    app.command()(run)


def init(
    folder: Path = typer.Argument(Path(), help="Where to write noria.toml."),
    documents: list[str] = typer.Option(
        ["texts/**/*.txt"], "--documents", help="Globs of your text files."
    ),
    as_json: bool = JSON,
) -> None:
    """Write a commented recipe for your own files."""
    from noria.starter import write_recipe

    path = write_recipe(folder, documents)
    show(
        {"recipe": str(path)},
        as_json,
        f"wrote {path}\nnext: put your text where it says, then: noria check {path}",
    )


def check(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Find every mistake of a recipe; estimate time, memory and disk by measuring."""
    from noria.check import check_recipe, describe_estimate

    with Opened(recipe, store, as_json) as workspace:
        estimate = check_recipe(workspace)
    show(estimate, as_json, describe_estimate(estimate, recipe))


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
        },
        as_json,
        f"\nlive: {outcome.live_weight_hash[:12]}   gate: {outcome.gate}   "
        f"report: {outcome.report}\n"
        f"next:\n  {program()} chat {recipe}\n  {program()} serve {recipe}",
    )
    if outcome.gate == "refused":
        raise typer.Exit(3)
