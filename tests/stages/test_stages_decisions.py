"""Decisions of a turn: the lines of one interaction are found among all, and no others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.stages.decisions import rows_about

IDS = st.text(alphabet="ab0é", min_size=1, max_size=6)


@given(ids=st.lists(IDS, max_size=30), asked=IDS)
def test_every_line_of_an_interaction_and_no_other_is_found(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], asked: str
) -> None:
    path = tmp_path_factory.mktemp("decisions") / "decisions.jsonl"
    rows = [{"interaction": one, "feedback": str(n)} for n, one in enumerate(sorted(ids))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for one in {*ids, asked}:
        wanted = [row["feedback"] for row in rows if row["interaction"] == one]
        assert [row["feedback"] for row in rows_about(path, one)] == wanted
