"""review: a person signs what a model is meant for, before it is first promoted over."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UsageError


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(review)


def review(
    recipe: Path = RECIPE,
    task: str = typer.Option("", "--task", help="Of this application, not the language model."),
    sign: str = typer.Option("", "--sign", help="Who signs; empty: show what is signed."),
    intended_use: str = typer.Option("", "--intended-use", help="What it is for, and for whom."),
    misuse: str = typer.Option("", "--misuse", help="How it could be used to do harm."),
    affected: str = typer.Option("", "--affected", help="Which groups of people it touches, how."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Sign the review that the first promotion over a live model waits for, or show it."""
    import time

    from noria.recipe import TENANT
    from noria.registry.reviews import Review, read_reviews, sign_review
    from noria.stages.task_names import require_task, task_name

    said = (intended_use, misuse, affected)
    with Opened(recipe, store, quiet=True) as workspace:
        name = workspace.recipe.name
        if task:
            require_task(workspace.recipe, task)
            name = task_name(workspace.recipe, task)
        if sign:
            live = workspace.registry.live(TENANT, name)
            weights = live.weight_hash if live else ""
            sign_review(workspace.root, Review(name, sign, *said, weights, time.time()))
        elif any(said):
            raise UsageError("a review that nobody signs", "who it is", "add --sign NAME")
        found = read_reviews(workspace.root, name)
    lines = [
        f"{one.model}, signed by {one.signed_by} over {one.weight_hash[:12] or 'no model'}\n"
        f"  for: {one.intended_use}\n  misuse: {one.misuse}\n  affected: {one.affected}"
        for one in found
    ]
    text = "\n".join(lines) or f"nobody has signed a review of {name}"
    show({"reviews": [asdict(one) for one in found]}, as_json, text)
