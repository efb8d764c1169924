"""A registry of format 1, as it was written, opens as one of today's."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from noria.errors import IntegrityError
from noria.registry import Registry
from noria.registry.gates import GateReads

STORED = Path(__file__).with_name("stored") / "registry-1.sqlite"
LAST_DIGEST = "8976e4e0cf327eb6fce9e4caf9a8926e8d4f0a472da93ac2a1a8a27f4f393360"
A, B, C = (letter * 64 for letter in "abc")
NAME = ("acme", "helpdesk")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for weights in (A, B, C):
        (tmp_path / "artifacts" / weights[:8]).mkdir(parents=True)
    return Path(shutil.copy(STORED, tmp_path / "registry.sqlite"))


def test_a_registry_of_format_1_keeps_its_state_and_its_trail(path: Path) -> None:
    registry = Registry(path)
    live = registry.live(*NAME)
    assert live is not None and live.weight_hash == B
    trail = registry.history(*NAME)
    assert [(one.position, one.action) for one in trail] == [
        (1, "register"),
        (2, "register"),
        (3, "register"),
        (5, "promote"),
        (7, "gate"),
        (8, "promote"),
        (9, "gate"),
        (10, "promote"),
        (11, "rollback"),
    ]
    assert (trail[7].actor, trail[7].reason) == ("Ann Example", "换上 by hand")
    assert trail[4].detail["verdict"] == {"promote": True, "difference": -0.125}
    assert [one.at for one in trail] == sorted(one.at for one in trail)
    (migrated,) = registry.history("", "")
    assert migrated.detail == {"from_format": 1, "entries": 11, "last_digest": LAST_DIGEST}
    assert registry.verify_chain() == 12
    assert registry.gate_reads("set-1") == GateReads(2, 0.0)
    assert registry.rollback(*NAME, "ann", "further back").weight_hash == A
    registry.verify_chain()
    registry.close()
    again = Registry(path)  # is migrated once
    assert again.verify_chain() == 13
    again.close()


@pytest.mark.parametrize("forgery", ["actor = 'eve'", "detail = '{'", "position = 12"])
def test_a_broken_trail_of_format_1_is_named_and_left_as_it_is(path: Path, forgery: str) -> None:
    file = sqlite3.connect(path)
    file.execute(f"UPDATE audit SET {forgery} WHERE position = 8")
    file.commit()
    with pytest.raises(IntegrityError, match="entry 8 of the audit trail"):
        Registry(path)
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    assert file.execute("SELECT count(*) FROM audit").fetchone() == (11,)
    file.close()
