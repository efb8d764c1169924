"""A first recipe for the user's own files, written from the settings and their defaults."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from noria.artifacts import atomic_write
from noria.errors import StorageError, UsageError
from noria.recipe import NAME_PATTERN, Recipe


def write_recipe(folder: Path, documents: list[str]) -> Path:
    """Write a commented recipe with every setting and its default; never over an old one.

    Raises UsageError if there is one.
    """
    path = folder / "noria.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} can't be made ({error.strerror})", "a folder", "choose another"
        ) from error
    if path.exists():
        raise UsageError(f"{path} exists", "a folder without a recipe", "choose another folder")
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")
    if not NAME_PATTERN.fullmatch(name):
        name = "my-model"
    atomic_write(path, recipe_text(name, documents).encode("utf-8"))
    return path


def recipe_text(name: str, documents: list[str]) -> str:
    """A whole recipe as TOML: what must be set is set, every default stands as a comment."""
    globs = ", ".join(toml_value(glob) for glob in documents)
    lines = [
        "# What this file says, `noria run` makes true. Lines behind # show the defaults.",
        "",
        f'name = "{name}"',
        "# seed = 1  # Every random choice starts from it.",
    ]
    for section in fields(Recipe):
        settings = section.default
        if settings is MISSING or not hasattr(settings, "__dataclass_fields__"):
            continue
        lines += _section_lines(section.name, settings, globs)
    return "\n".join(lines) + "\n"


def _section_lines(name: str, settings: Any, globs: str) -> list[str]:
    """A section with its settings, and the tables inside it."""
    lines = ["", f"[{name}]  # {summary(settings)}"]
    inner: list[str] = []
    for one in fields(settings):
        value = getattr(settings, one.name)
        if hasattr(value, "__dataclass_fields__"):
            inner += _section_lines(f"{name}.{one.name}", value, globs)
        elif name == "corpus" and one.name == "documents":
            lines += [f"# {one.metadata['doc']}", f"documents = [{globs}]"]
        else:
            lines += [f"# {one.metadata['doc']}", f"# {one.name} = {toml_value(value)}"]
    return lines + inner


def summary(settings: Any) -> str:
    """The first line of what a section's docstring says."""
    return (type(settings).__doc__ or "").splitlines()[0]


def toml_value(value: Any) -> str:
    """A setting as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    return str(value)
