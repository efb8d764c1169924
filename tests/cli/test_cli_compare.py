"""`noria compare` on stored folders of results, as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria.cli import main
from noria.evaluate.classes import Classified
from noria.evaluate.results import Provenance, Result, write_result
from noria.records import Labelled, Source, text_content

NAMES = ("no", "yes")
GOLD = np.arange(60) % 2
ANSWERS = {"good": np.eye(2)[GOLD] * 0.8 + 0.1, "bad": np.full((60, 2), 0.5)}


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    records = tuple(
        Labelled(text_content(f"ticket {index}"), (NAMES[index % 2],), Source("t.csv", index))
        for index in range(60)
    )
    for name, probabilities in ANSWERS.items():
        made_by = Provenance(("ab" if name == "good" else "cd") * 32, "", 1, "torch", 1.79e9)
        result = Result(Classified(NAMES, GOLD, probabilities), records, made_by)
        write_result(tmp_path / name, result)
    return [str(tmp_path / name) for name in ANSWERS]


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The verb's exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["noria", "compare", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, capsys.readouterr()


def test_stored_results_are_compared_and_wrong_names_refused(
    folders: list[str],
    tmp_path: Path,
    tiny_recipe,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["-r", str(tiny_recipe(tmp_path))]

    def told(*words: str) -> Any:
        code, printed = call(monkeypatch, capsys, *words, *where, "--json")
        return code, json.loads((printed.out or printed.err).splitlines()[-1])

    code, said = told(*folders, "--metric", "macro_f1")
    rows = {(row["slice"], row["metric"]): row for row in said["rows"]}
    assert code == 0 and said["num_records"] == 60 and said["remarks"] == []
    assert rows["all", "macro_f1"]["a_is"] == rows["all", "accuracy"]["a_is"] == "better"
    assert rows["all", "accuracy"]["p_value"] == pytest.approx(2 / 2**30)  # 30 right by a alone
    assert rows["label: yes", "macro_f1"]["num_records"] == 30
    assert said["examples"][0]["text"].startswith("ticket")

    code, printed = call(monkeypatch, capsys, *folders, *where)
    assert code == 0 and "60 records" in printed.out
    (line,) = [one for one in printed.out.splitlines() if one.startswith("all") and "mcc" in one]
    assert line.endswith("better")

    for words, expected in (
        ((*folders, "--metric", "f9"), "no metric f9"),
        ((folders[0], "live"), "has no live model"),
        (("nobody", "live"), "noria trace"),
    ):
        code, said = told(*words)
        assert code == 2 and expected in said["error"]
