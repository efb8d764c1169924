"""Write docs/recipe.md and docs/cli.md from the code; a test fails when they are out of date."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import typer

from noria.cli import app
from noria.recipe import Recipe
from noria.starter import toml_value
from noria.task_settings import TaskSettings
from noria.text_settings import PackageSettings, SourceSettings

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = "<!-- Written by tools/write_reference.py: change the code, then `make format`. -->\n"


def bounds_of(metadata: Any) -> str:
    """What a setting may be."""
    if metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in metadata["choices"])
    if metadata["low"] is not None:
        return f"{metadata['low']:,} to {metadata['high']:,}"
    return f"like `{metadata['example']}`" if metadata["example"] else ""


def settings_table(cls: type, prefix: str) -> list[str]:
    """A Markdown table of one section's settings."""
    lines = ["| Setting | Default | May be | |", "|---|---|---|---|"]
    for one in fields(cls):
        if "doc" not in one.metadata:
            continue
        value = one.default_factory() if one.default_factory is not MISSING else one.default
        default = "must be set" if value is MISSING else f"`{toml_value(value)}`"
        text = one.metadata["doc"].replace("|", "\\|")
        lines.append(f"| `{prefix}{one.name}` | {default} | {bounds_of(one.metadata)} | {text} |")
    return lines


def recipe_reference() -> str:
    """Every section and setting of a recipe."""
    lines = [HEAD, "# The recipe", "", "Every setting, its default and its bounds.", ""]
    lines += settings_table(Recipe, "")
    for section in fields(Recipe):
        if hasattr(section.default, "__dataclass_fields__"):
            cls = type(section.default)
            lines += ["", f"## [{section.name}]", "", inspect.getdoc(cls) or "", ""]
            lines += settings_table(cls, f"{section.name}.")
            for inner in fields(cls):  # a table within the table
                if hasattr(inner.default, "__dataclass_fields__"):
                    name = f"{section.name}.{inner.name}"
                    lines += ["", f"## [{name}]", "", inspect.getdoc(type(inner.default)) or "", ""]
                    lines += settings_table(type(inner.default), f"{name}.")
    lines += ["", "## [sources.NAME]", "", SourceSettings.__doc__ or "", ""]
    lines += settings_table(SourceSettings, "sources.NAME.")
    lines += ["", "## [tasks.NAME]", "", TaskSettings.__doc__ or "", ""]
    lines += settings_table(TaskSettings, "tasks.NAME.")
    lines += ["", "## [packages.NAME]", "", PackageSettings.__doc__ or "", ""]
    lines += settings_table(PackageSettings, "packages.NAME.")
    return "\n".join(lines) + "\n"


def cli_reference() -> str:
    """Every verb, its arguments and options."""
    lines = [HEAD, "# The command line", "", "`noria VERB --help` says the same.", ""]
    lines += ["Exit codes: 0 did it, 1 failed, 2 wrong use or bad input, 3 the gate said no.", ""]
    root = typer.main.get_command(app)
    lines += verbs_of(root, "noria")
    return "\n".join(lines) + "\n"


def verbs_of(group: Any, path: str) -> list[str]:
    """Markdown for the verbs of a group, groups within it included."""
    lines = []
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            lines += verbs_of(command, f"{path} {name}")
            continue
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        words = " ".join(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)
        lines += [f"## `{path} {name}{' ' + words if words else ''}`", "", command.help or "", ""]
        for param in arguments:
            default = f" (default: `{param.default}`)" if param.default not in (None, "") else ""
            lines.append(f"- `{param.name.upper()}`: {param.help or ''}{default}")
        for param in options:
            text = f": {param.help}" if param.help else ""
            lines.append(f"- `{', '.join(param.opts)}`{text}")
        lines.append("")
    return lines


def main() -> None:
    """Write both files."""
    for name, text in (("recipe.md", recipe_reference()), ("cli.md", cli_reference())):
        (DOCS / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main()
