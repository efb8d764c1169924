"""Compiled code that is kept on disk, so that only the first process on a machine compiles it.

In: functions. Out: the same, compiled with the first call, or read from Noria's cache. A changed
source, another numba or another processor has files of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config

from noria.runtime import cache_folder

_config: Any = config  # numba has no types


def compiled(**options: Any) -> Any:
    """A decorator for what only other compiled code calls; options are numba's.

    Divisions by zero give no number, as in numpy: to look for each of them would cost the vectors.
    """
    options |= {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(**options)


def kept_on_disk(function: Callable[..., Any]) -> Any:
    """A decorator for what Python calls, while other threads of Python run.

    Where the cache can't be written, each process compiles for itself.
    """
    folder = cache_folder() / "compiled" / _sources_digest()
    found = njit(nogil=True)(function)
    before = _config.CACHE_DIR
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        _config.CACHE_DIR = str(folder)
        found.enable_caching()
        _config.CACHE_DIR = before
    return found


def _sources_digest() -> str:
    """Of all modules of this folder: numba itself looks only at the one that holds a function."""
    digest = blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
