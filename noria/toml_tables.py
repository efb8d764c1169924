"""TOML tables in, frozen dataclasses out, with every mistake and the line it stands on.

The dataclasses say what is allowed: each field is made by `setting`, with its default, its bounds
and its line of the reference. This module does not know what any setting means.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from noria.errors import Problem, RecipeError

T = TypeVar("T")


def setting(
    default: Any = MISSING,
    doc: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: re.Pattern[str] | None = None,
    example: str = "",
) -> Any:
    """A dataclass field with bounds, choices or a pattern, and its line of the reference.

    A default that is a type stands for an empty one of it.
    """
    metadata = {
        "doc": doc,
        "low": low,
        "high": high,
        "choices": choices,
        "pattern": pattern,
        "example": example,
    }
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


class TableReader:
    """Walks a parsed table beside the dataclasses and collects every problem with its line."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = _key_lines(text)
        self.problems: list[Problem] = []

    def problem(self, where: str, value: Any, fix: str) -> None:
        """Note one mistake at the line of the key, or of the nearest key around it."""
        path, line = where, 0
        while not line:
            line = self.lines.get(path, 0)
            if "." not in path:
                break
            path = path.rsplit(".", 1)[0]
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "…"
        self.problems.append(Problem(self.file, line or 1, where, shown, fix))

    def section(self, cls: type[T], table: Any, where: str) -> T | None:
        """Read one table into its dataclass; None if it has mistakes."""
        if not isinstance(table, dict):
            self.problem(where, table, f"make it a table: [{where}]")
            return None
        before = len(self.problems)
        known: dict[str, Field[Any]] = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
        hints = get_type_hints(cls)
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                self.problem(_join(where, key), table[key], f"unknown key; {hint}")
        values: dict[str, Any] = {}
        for name, one in known.items():
            path = _join(where, name)
            if name in table:
                values[name] = self._value(hints[name], table[name], path, one.metadata)
            elif one.default is MISSING and one.default_factory is MISSING:
                self.problem(path, None, f"missing; add {name} = …  # {one.metadata['doc']}")
        return cls(**values) if len(self.problems) == before else None

    def _value(self, hint: Any, value: Any, path: str, metadata: Mapping[str, Any]) -> Any:
        if is_dataclass(hint):
            return self.section(hint, value, path)  # type: ignore[arg-type]
        if get_origin(hint) is tuple:
            if not isinstance(value, list):
                self.problem(path, value, 'write a list: ["…"]')
                return ()
            return tuple(self._scalar(get_args(hint)[0], v, path, metadata) for v in value)
        if get_origin(hint) is Mapping:
            if not isinstance(value, dict):
                self.problem(path, value, f"make it a table: [{path}]")
                return {}
            cls = get_args(hint)[1]
            is_table = is_dataclass(cls)
            if not is_table:
                return {
                    name: self._scalar(cls, one, _join(path, name), metadata)
                    for name, one in value.items()
                }
            return {
                name: self.section(cls, table, _join(path, name)) for name, table in value.items()
            }
        return self._scalar(hint, value, path, metadata)

    def _scalar(self, hint: type, value: Any, path: str, metadata: Mapping[str, Any]) -> Any:
        if hint is float and type(value) is int and abs(value) < 2**63:
            value = float(value)
        if type(value) is not hint:
            kind = {
                str: "a string",
                int: "a whole number",
                float: "a number",
                bool: "true or false",
            }
            self.problem(path, value, f"expected {kind[hint]}")
            return value
        low, high = metadata["low"], metadata["high"]
        if low is not None and not low <= value <= high:
            self.problem(path, value, f"expected a number from {low:g} to {high:g}")
        if metadata["choices"] and value not in metadata["choices"]:
            self.problem(path, value, "expected one of " + ", ".join(metadata["choices"]))
        pattern = metadata["pattern"]
        if pattern is not None and not pattern.fullmatch(value):
            self.problem(path, value, f"expected something like {metadata['example']!r}")
        return value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _key_lines(text: str) -> dict[str, int]:
    """Line (from 1) of each `[section]` and each `key =` in a TOML text."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        key = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if header:
            section = header.group(1).replace('"', "").replace("'", "")
            lines.setdefault(section, number)
        elif key:
            name = key.group(1).replace('"', "").replace("'", "")
            lines.setdefault(_join(section, name), number)
    return lines


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """Parse TOML. Raises RecipeError naming the line that can't be read."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, endless digits, endless depth
        match = re.search(r"at line (\d+)", str(error))
        line = int(match.group(1)) if match else len(text.splitlines()) or 1
        fault = Problem(file, line, "TOML", repr(_line(text, line)), f"can't be read: {error}")
        raise RecipeError([fault]) from error


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1].strip()[:60] if 0 < number <= len(lines) else ""
