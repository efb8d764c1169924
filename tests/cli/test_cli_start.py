"""The command line answers at once, because nothing heavy is loaded for it."""

from __future__ import annotations

import subprocess
import sys

import noria

HEAVY = ("torch", "sqlalchemy", "fastapi", "numpy", "tokenizers", "rich")


def loaded_by(code: str) -> set[str]:
    report = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_noria_loads_no_torch() -> None:
    assert not loaded_by("import noria").intersection(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("import noria.cli").intersection(HEAVY)


def test_the_public_surface_is_what_is_listed() -> None:
    assert noria.__all__ == ["__version__"]


def test_every_verb_has_help_and_json() -> None:
    import typer

    from noria.cli import app

    def verbs(group):  # type: ignore[no-untyped-def]
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from verbs(command)
            else:
                yield name, command

    seen = {}
    for name, command in verbs(typer.main.get_command(app)):
        options = {option for param in command.params for option in param.opts}
        assert "--json" in options, name
        assert command.help, name
        seen[name] = command
    wanted = {"init", "check", "run", "chat", "serve", "give", "review", "improve"}
    wanted |= {"promote", "rollback", "trace", "doctor"}
    assert wanted <= set(seen)
