"""What a person sees while a verb works: bars with time left, one line of result a stage."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from noria.errors import NoriaError, StorageError
from noria.recipe import TENANT

if TYPE_CHECKING:
    from noria.workspace import Workspace

RECIPE = typer.Argument(Path("noria.toml"), help="The recipe.", show_default=True)
STORE = typer.Option(None, "--store", help="Folder of artifacts; default: runs/NAME by the recipe.")
JSON = typer.Option(False, "--json", help="Print one JSON value on standard output.")

INTERNAL_HINT = "this is a mistake in Noria; run with NORIA_TRACEBACK=1 to see where, and report it"


class Silent:
    """Nobody looks on."""

    def begin(self, stage: str) -> None:
        """Say nothing."""

    def progress(self, text: str, done: float, total: float) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def end(self, stage: str, result: str, elapsed_s: float, reused: bool) -> None:
        """Say nothing."""


class Screen:
    """A terminal: a bar while a stage runs, then its line. Without a terminal: lines only."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: Any = None
        self._stage = ""
        self._told_at = time.monotonic()
        self._bar.start()

    def begin(self, stage: str) -> None:
        """Show the stage's name."""
        if stage != self._stage:
            self._stage = stage
            self._clear()

    def progress(self, text: str, done: float, total: float) -> None:
        """Move the bar; without a terminal, a line every ten seconds."""
        label = f"{self._stage}: {text}"
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task(label, total=total)
            self._bar.update(self._task, description=label, completed=done, total=total)
        elif time.monotonic() - self._told_at > 10:
            self._told_at = time.monotonic()
            self._print(f"  {label} {done / max(total, 1e-9):.0%}")

    def say(self, text: str) -> None:
        """Print an indented remark."""
        self._print(f"  · {text}")

    def end(self, stage: str, result: str, elapsed_s: float, reused: bool) -> None:
        """Print the stage's line."""
        self._clear()
        mark = "=" if reused else "✓"
        took = "re-used" if reused else f"{elapsed_s:.1f} s"
        self._print(f"{mark} {stage:<10} {took:>8}  {result}")
        self._stage = ""

    def close(self) -> None:
        """Take the bar away."""
        self._clear()
        self._bar.stop()

    def _clear(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class Opened:
    """A workspace for the length of a verb, with a screen or in silence."""

    def __init__(self, recipe: Path, store: Path | None, quiet: bool, tenant: str = TENANT) -> None:
        from noria.workspace import open_workspace

        self._screen = None if quiet else Screen()
        try:
            self._workspace = open_workspace(recipe, store, self._screen or Silent(), tenant)
        except BaseException:
            self._close_screen()
            raise

    def __enter__(self) -> Workspace:
        return self._workspace

    def __exit__(self, *error: object) -> None:
        self._workspace.close()
        self._close_screen()

    def _close_screen(self) -> None:
        if self._screen is not None:
            self._screen.close()


def program() -> str:
    """How this program was called, so that a printed command works when it is copied."""
    if shutil.which("noria"):
        return "noria"
    as_module = Path(sys.argv[0]).name == "__main__.py"
    return f"{Path(sys.executable).name} -m noria" if as_module else sys.argv[0]


def command(*words: object) -> str:
    """A command of this program that a shell reads as it is printed, spaces in paths or not."""
    return f"{program()} {shlex.join(str(word) for word in words)}"


def show(value: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a verb's answer: JSON for programs, text for people."""
    print(json.dumps(value, ensure_ascii=False) if as_json else text, flush=True)


def report_error(error: Exception, as_json: bool) -> int:
    """Print an error as one clear line; returns the exit code."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the store"
        error = StorageError(
            f"no space left on the disk while writing {where}",
            fix="free some space and run the same command again; what was there is intact",
        )
    elif isinstance(error, PermissionError):
        error = StorageError(
            f"no permission for {error.filename}", fix="change its rights, or use --store"
        )
    elif isinstance(error, OSError):
        error = StorageError(
            f"{error.filename or 'a file'}: {error.strerror}", fix="check the path and its rights"
        )
    if not isinstance(error, NoriaError):
        if os.environ.get("NORIA_TRACEBACK"):
            raise error
        error = NoriaError(f"unexpected {type(error).__name__}: {error}", fix=INTERNAL_HINT)
    if as_json:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}), flush=True)
    print(f"noria: {error}", file=sys.stderr, flush=True)
    return error.exit_code
