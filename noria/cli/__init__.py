"""Verbs in, stages out. Heavy imports happen inside a verb, so that `--help` answers at once.

Exit codes: 0 did it, 1 failed, 2 wrong use or bad input, 3 the gate said no.
"""

from __future__ import annotations

import sys

import typer

from noria.cli import look, loop, make, talk
from noria.cli.screen import report_error

app = typer.Typer(
    name="noria",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Raise your own language model: raw text to a served model that feedback improves.",
)


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from noria import __version__

        print(f"noria {__version__}")
        raise typer.Exit


for _module in (make, talk, loop, look):
    _module.add_verbs(app)


def main() -> None:
    """Run a verb; any error becomes one clear line and its exit code."""
    try:
        app(standalone_mode=True)
    except Exception as error:
        sys.exit(report_error(error, as_json="--json" in sys.argv))
