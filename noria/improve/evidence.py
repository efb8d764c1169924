"""Everything that a gate judged, kept beside its verdict, so that it can be judged again.

In: the arguments of `decide`. Out: evidence.json (their shape and values) and evidence.npz (their
arrays) in a folder, and the verdict; read back, the same verdict again. No pickle: only the types
that are named here come back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noria.errors import FormatError
from noria.evaluate.classes import Classified, MultiLabelled
from noria.evaluate.metrics import Likelihoods
from noria.evaluate.passed import Passed
from noria.evaluate.spans import SpanAnswers
from noria.improve.gate import decide
from noria.improve.verdict import Limited, Verdict
from noria.recipe import GateSettings
from noria.records import Span

EVIDENCE_FORMAT = 1
JSON_FILE, ARRAYS_FILE = "evidence.json", "evidence.npz"
TYPES = {
    cls.__name__: cls
    for cls in (
        GateSettings,
        Likelihoods,
        Classified,
        MultiLabelled,
        SpanAnswers,
        Passed,
        Span,
        Limited,
    )
}

Arrays = dict[str, Any]


def decide_and_keep(folder: Path, **arguments: Any) -> Verdict:
    """Judge by these arguments of `decide`, which are kept in the folder."""
    arrays: Arrays = {}
    value = {"format": EVIDENCE_FORMAT, "arguments": _encoded(arguments, arrays)}
    (folder / JSON_FILE).write_text(json.dumps(value), encoding="utf-8")
    np.savez_compressed(folder / ARRAYS_FILE, **arrays)
    return decide(**arguments)


def decide_again(folder: Path) -> Verdict:
    """Judge once more by what a folder keeps. Raises FormatError if that is not there, or torn."""
    try:
        value = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
        if value["format"] != EVIDENCE_FORMAT:
            raise ValueError("another format")
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
            arguments = _decoded(value["arguments"], arrays)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{folder.name} does not hold what its gate judged ({error})",
            f"{JSON_FILE} and {ARRAYS_FILE} of format {EVIDENCE_FORMAT}",
            "it was made before evidence was kept, or a file is gone",
        ) from error
    return decide(**arguments)


def _encoded(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if is_dataclass(value) and not isinstance(value, type):
        named = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        return {"type": type(value).__name__, "fields": _encoded(named, arrays)["mapping"]}
    if isinstance(value, Mapping):
        return {"mapping": {key: _encoded(one, arrays) for key, one in value.items()}}
    if isinstance(value, frozenset):
        return {"set": [_encoded(one, arrays) for one in sorted(value, key=repr)]}
    if isinstance(value, tuple | list):
        return {"tuple": [_encoded(one, arrays) for one in value]}
    if isinstance(value, np.generic):
        return value.item()
    return value


def _decoded(value: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    ((what, held), *more) = value.items()
    if what == "array":
        return arrays[held]
    if what == "type":
        named = {key: _decoded(one, arrays) for key, one in dict(more)["fields"].items()}
        return TYPES[held](**named)
    if what == "mapping":
        return {key: _decoded(one, arrays) for key, one in held.items()}
    if what == "set":
        return frozenset(_decoded(one, arrays) for one in held)
    if what == "tuple":
        return tuple(_decoded(one, arrays) for one in held)
    raise ValueError(f"what is {what!r}?")
