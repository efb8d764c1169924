"""What a gate judged is kept whole: the same verdict again, and another one for other numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_improve_gate import SETTINGS, sides

from noria.errors import FormatError
from noria.improve.evidence import _decoded, _encoded, decide_again, decide_and_keep
from noria.improve.verdict import verdict_from_json, verdict_to_json


def kept(folder: Path, shift: float) -> dict[str, Any]:
    found = sides(3, challenger=(0.0, shift))
    arguments = {"settings": replace(SETTINGS, margin=0.04), "reads_before": 2, "seed": 9}
    return verdict_to_json(decide_and_keep(folder, **found, **arguments))


@pytest.mark.parametrize("shift", [-0.2, 0.0, 0.2])
def test_a_kept_verdict_comes_out_the_same(tmp_path: Path, shift: float) -> None:
    told = kept(tmp_path, shift)
    assert verdict_to_json(decide_again(tmp_path)) == told
    assert told["promote"] == (shift < 0)
    assert verdict_to_json(verdict_from_json(json.loads(json.dumps(told)))) == told


def test_changed_evidence_is_another_verdict(tmp_path: Path) -> None:
    told = kept(tmp_path, -0.2)
    with np.load(tmp_path / "evidence.npz") as stored:
        arrays = dict(stored)
    arrays["a0"] = arrays["a0"] + 1.0
    np.savez(tmp_path / "evidence.npz", **arrays)
    again = verdict_to_json(decide_again(tmp_path))
    assert again != told and again["evidence"] != told["evidence"]


@pytest.mark.parametrize("damage", ["gone", "torn", "format", "object"])
def test_torn_evidence_is_refused(tmp_path: Path, damage: str) -> None:
    kept(tmp_path, -0.2)
    path = tmp_path / "evidence.json"
    if damage == "gone":
        path.unlink()
    elif damage == "torn":
        path.write_text(path.read_text()[:100])
    elif damage == "format":
        path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    else:
        np.savez(tmp_path / "evidence.npz", a0=np.array([{}], dtype=object))
    with pytest.raises(FormatError, match="does not hold what its gate judged"):
        decide_again(tmp_path)


def test_every_kind_of_value_comes_back(tmp_path: Path) -> None:
    from noria.evaluate.spans import SpanAnswers
    from noria.records import Span

    spans = SpanAnswers((frozenset({Span(1, 2, "a"), Span(0, 1, "b")}),), (frozenset(),))
    arrays: dict[str, Any] = {}
    value = {
        "mask": np.array([True, False]),
        "spans": spans,
        "few": (1, None, "x", 0.25, float("inf")),
    }
    found = _decoded(json.loads(json.dumps(_encoded(value, arrays))), arrays)
    assert (found["mask"] == value["mask"]).all() and found["spans"].gold == spans.gold
    assert found["few"] == value["few"]
