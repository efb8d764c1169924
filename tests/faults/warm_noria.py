"""A warm process that runs `noria`: what is asked is a list of words."""

from __future__ import annotations

import sys

from warm import serve

import noria.pipeline
import noria.talk  # noqa: F401
from noria.cli import main


def child(words: list[str]) -> int:
    sys.argv = ["noria", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


serve(child)
