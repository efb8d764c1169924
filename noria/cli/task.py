"""task: an application answers a text, or every row of a file."""

from __future__ import annotations

from pathlib import Path

import typer

from noria.cli.screen import JSON, STORE, Opened, show
from noria.errors import UsageError


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(task)


def task(
    name: str = typer.Argument(..., help="The application, as in [tasks.NAME]."),
    text: str = typer.Argument("", help="The text to answer."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    file: Path | None = typer.Option(
        None, "--file", help="Answer a file instead: a text a line, or any table."
    ),
    column: str = typer.Option("", "--column", help="Of a table: the column of the texts."),
    out: Path | None = typer.Option(None, "--out", help="Of --file: JSON Lines to write."),
    model: str = typer.Option("", "--model", help="Weight hash (prefix); default: the live one."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Ask an application of the recipe: which labels, which spans."""
    from noria.ask import answer_file, load_task

    if bool(text) == (file is not None):
        raise UsageError("a text and a file, or neither", 'one: noria task NAME "…", or --file')
    if (file is None) != (out is None):
        raise UsageError("--file without --out, or the other way round", "both")
    with Opened(recipe, store, quiet=as_json or file is None) as workspace:
        loaded = load_task(workspace, name, model)
        if file is None or out is None:
            answer = loaded.predict([text])[0]
            said = {"task": name, "weight_hash": loaded.weight_hash, **answer.as_json()}
            show(said, as_json, answer.as_text())
            return
        workspace.watcher.begin(f"task {name}")
        columns = {"text": column} if column else {}
        told = answer_file(loaded, file, out, workspace.watcher.progress, columns)
    lines = [f"{told.num_answered:,} texts answered in {out}"]
    if told.num_unread:
        lines.append(f"{told.num_unread:,} rows can't be read:")
        lines += [f"  {one}" for one in told.examples]
    counts = {"answered": told.num_answered, "unread": told.num_unread, "examples": told.examples}
    said = {"task": name, "weight_hash": loaded.weight_hash, "out": str(out), **counts}
    show(said, as_json, "\n".join(lines))
