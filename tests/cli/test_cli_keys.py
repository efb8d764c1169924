"""noria key, evaluate --policy and serve's flags, on the command line: what they say and refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from noria.cli import main

RECIPE = """name = "small"
[corpus]
documents = ["*.txt"]
names = "off"
[serve]
refused_prompts = ["(?i)court"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "noria.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


def ended(capsys: Any, monkeypatch: Any, *words: str) -> tuple[int, str]:
    """Run a verb in this process; returns its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["noria", *words, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    assert isinstance(end.value.code, int)
    return end.value.code, out.out or out.err


def test_a_key_is_created_listed_with_its_last_day_and_revoked(
    recipe: str, capsys: Any, monkeypatch: Any
) -> None:
    code, out = ended(
        capsys, monkeypatch, "key", "create", recipe, "--days", "30", "--tokens-per-minute", "500"
    )
    created = json.loads(out)
    assert code == 0 and created["key"].startswith(f"nk-{created['id']}-")
    _, out = ended(capsys, monkeypatch, "key", "list", recipe)
    assert created["key"] not in out
    (row,) = json.loads(out)["keys"]
    assert (row["id"], row["state"], row["tokens_per_minute"]) == (created["id"], "active", 500)
    assert row["expires"] > row["created"]
    assert ended(capsys, monkeypatch, "key", "revoke", created["id"], recipe)[0] == 0
    _, out = ended(capsys, monkeypatch, "key", "list", recipe)
    assert json.loads(out)["keys"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("key", "create", "--days", "0"), "days"),
        (("key", "create", "--tokens-per-minute", "0"), "tokens a minute"),
        (("serve", "--tls-cert", "cert.pem"), "--tls-key"),
        (("evaluate", "--policy", "no-such.txt"), "no-such.txt"),
    ],
)
def test_what_can_not_be_is_named(
    recipe: str, capsys: Any, monkeypatch: Any, words: tuple[str, ...], named: str
) -> None:
    verb = words[:2] if words[0] == "key" else words[:1]
    code, out = ended(capsys, monkeypatch, *verb, recipe, *words[len(verb) :])
    assert code == 2 and named in out


def test_refusals_are_told(recipe: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    (tmp_path / "good.txt").write_text("Where is it?\nThe court.\n" * 5, encoding="utf-8")
    code, out = ended(
        capsys, monkeypatch, "evaluate", recipe, "--policy", str(tmp_path / "good.txt")
    )
    found = json.loads(out)
    assert code == 0 and found["texts"] == 10
    assert found["refused_prompts"]["share"] == 0.5
    assert [one["lines"] for one in found["reasons"]] == [[2, 4, 6, 8, 10]]
