"""JSON from anywhere to plain values, with every way to go wrong told as one kind of error.

Deep nesting, endless digits, NaN and keys that stand twice (the second would silently win) are
wrong: no JSON (RFC 8259) can be read the same way everywhere with them.
"""

from __future__ import annotations

import json
from typing import Any

from noria.corpus.read.quarantine import WrongRow


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises WrongRow with the reason."""
    try:
        return decoder().decode(text)
    except RecursionError as error:
        raise WrongRow("JSON nested too deeply", text) from error
    except ValueError as error:
        raise WrongRow(f"no JSON: {error}", text) from error


def decoder() -> json.JSONDecoder:
    """A decoder that refuses NaN and double keys with ValueError."""
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
