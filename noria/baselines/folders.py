"""A baseline on disk: `<kind>.json` with the facts, one npy file an array, nothing that can run.

In: facts and arrays, or a folder. Out: the folder, or the same facts and arrays, mapped.
This module does not know what an array means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.artifacts import value_digest
from noria.errors import FormatError, UsageError

Arrays = Mapping[str, NDArray[Any]]


def write_folder(folder: Path, kind: str, version: int, facts: Any, arrays: Arrays) -> None:
    """Write facts and arrays into an existing folder."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    text = json.dumps({"format": version, **facts}, indent=1, ensure_ascii=False)
    (folder / f"{kind}.json").write_text(text, encoding="utf-8")


def read_facts(folder: Path, kind: str, version: int) -> dict[str, Any]:
    """Read the facts back. Raises ValueError for another format, OSError for a missing file."""
    facts = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    found = facts.pop("format")
    if found != version:
        raise ValueError(f"{kind}.json is of format {found}, not {version}")
    return dict(facts)


def read_array(folder: Path, name: str, dtype: str, num_axes: int = 1) -> NDArray[Any]:
    """Map an npy file; numpy checks its size against its header before anything is allocated.

    Raises ValueError for another type or number of axes, or a file that is cut.
    """
    array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="r")
    if array.ndim != num_axes or array.dtype != dtype:
        raise ValueError(f"{name}.npy holds {array.dtype} of shape {array.shape}")
    return array


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged folder leads to into a FormatError that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise FormatError(
            f"{folder} can't be read as {what} ({error})",
            "its JSON file and its arrays, of this version's format",
            "train it again",
        ) from error


def arrays_hash(facts: Any, arrays: Arrays) -> str:
    """SHA-256 (hex) of facts and of arrays' names, types, shapes and bytes."""
    digest = hashlib.sha256(value_digest(facts).encode("ascii"))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
