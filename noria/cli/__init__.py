"""Verbs in, stages out. Heavy imports happen inside a verb, so that `--help` answers at once.

Exit codes: 0 did it, 1 failed, 2 wrong use or bad input, 3 the gate said no.
"""

from __future__ import annotations

import io
import sys

import typer

from noria.cli import data, feedback, look, loop, make, measure, review, store, talk, task
from noria.cli.screen import report_error
from noria.errors import Interrupted, UsageError

app = typer.Typer(
    name="noria",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Raise your own language model: raw text to a served model that feedback improves.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from noria import __version__

        print(f"noria {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version and stop.",
        callback=_show_version,
        is_eager=True,
    ),
) -> None:
    """Nothing is done before the verb."""


CTRL_C = 128 + 2  # what typer makes of it, without a word

for _module in (make, data, talk, task, feedback, loop, review, store, measure, look):
    _module.add_verbs(app)


def main() -> None:
    """Run a verb; any error becomes one clear line and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another encoding breaks nothing
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    as_json = "--json" in sys.argv
    try:
        _check_arguments(sys.argv)
        code = app(standalone_mode=False)
        if code == CTRL_C:
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        code = report_error(
            Interrupted("stopped by hand", fix="run the same command again to go on"), as_json
        )
    except Exception as error:
        code = report_error(_from_command_line(error), as_json)
    sys.exit(code if isinstance(code, int) else 0)


def _check_arguments(words: list[str]) -> None:
    """Raise UsageError for an argument that is no text."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(f"the argument {word!r}", "text in UTF-8") from error


def _from_command_line(error: Exception) -> Exception:
    """The parser's own errors (an unknown option, a missing argument) as ours."""
    if hasattr(error, "format_message"):
        return UsageError(error.format_message(), fix="see: noria --help, noria VERB --help")
    return error
