"""The registry: one live version at all times, a trail that shows every change."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.errors import IntegrityError, StorageError, UnknownName, UsageError
from noria.registry import Registry, Version
from noria.registry.gates import GateReads
from noria.registry.trail import TRIGGERS

A, B, C = (letter * 64 for letter in "abc")
YES = {"promote": True, "difference": -0.125}
NO = {"promote": False, "difference": 0.25}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "registry.sqlite")
    for weights in (A, B, C):
        (tmp_path / "artifacts" / weights[:8]).mkdir(parents=True)
        register(registry, weights)
    yield registry
    registry.close()


def register(registry: Registry, weights: str, tenant: str = "acme") -> Version:
    return registry.register(tenant, "helpdesk", weights, f"artifacts/{weights[:8]}", "trained", "")


def promote(registry: Registry, weights: str, key: str = "") -> Version:
    return registry.promote("acme", "helpdesk", weights, "ann", "it is better", key)


def live_hash(registry: Registry) -> str:
    live = registry.live("acme", "helpdesk")
    assert live is not None
    return live.weight_hash


def actions(registry: Registry) -> list[str]:
    return [entry.action for entry in registry.history("acme", "helpdesk")]


def test_nothing_is_live_before_a_promotion(registry: Registry) -> None:
    assert registry.live("acme", "helpdesk") is None
    assert not registry.was_ever_live("acme", "helpdesk", A)


def test_a_promotion_moves_the_one_pointer(registry: Registry) -> None:
    assert promote(registry, A).weight_hash == A
    assert promote(registry, B) == registry.live("acme", "helpdesk")
    assert live_hash(registry) == B
    assert registry.was_ever_live("acme", "helpdesk", A)
    assert not registry.was_ever_live("acme", "helpdesk", C)
    assert set(registry.live_by_tenant("helpdesk")) == {"acme"}


def test_promoting_the_live_version_changes_nothing(registry: Registry) -> None:
    promote(registry, A)
    before = registry.history("acme", "helpdesk")
    assert promote(registry, A).weight_hash == A
    assert registry.history("acme", "helpdesk") == before


def test_rollbacks_go_back_step_by_step_to_the_first(registry: Registry) -> None:
    for weights in (A, B, C):
        promote(registry, weights)
    assert registry.rollback("acme", "helpdesk", "ann", "worse").weight_hash == B
    assert registry.rollback("acme", "helpdesk", "ann", "worse").weight_hash == A
    with pytest.raises(UsageError, match="no version that was live before"):
        registry.rollback("acme", "helpdesk", "ann", "worse")
    assert live_hash(registry) == A
    promote(registry, C)
    assert registry.rollback("acme", "helpdesk", "ann", "again").weight_hash == A
    registry.verify_chain()


def test_only_registered_weights_can_go_live(registry: Registry) -> None:
    with pytest.raises(UnknownName, match="no version"):
        promote(registry, "d" * 64)
    with pytest.raises(UnknownName, match="no version"):
        registry.promote("other", "helpdesk", A, "eve", "theirs")
    assert registry.live("other", "helpdesk") is None


def test_a_version_whose_folder_is_gone_can_not_go_live(registry: Registry, tmp_path: Path) -> None:
    promote(registry, A)
    (tmp_path / "artifacts" / B[:8]).rmdir()
    with pytest.raises(IntegrityError, match="is gone"):
        promote(registry, B)
    assert live_hash(registry) == A


def test_a_moved_store_still_finds_its_models(registry: Registry, tmp_path: Path) -> None:
    promote(registry, A)
    registry.close()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(tmp_path / "registry.sqlite", moved)
    shutil.move(tmp_path / "artifacts", moved)
    again = Registry(moved / "registry.sqlite")
    live = again.live("acme", "helpdesk")
    assert live is not None and again.model_folder(live) == moved / "artifacts" / A[:8]
    assert again.model_folder(live).is_dir()
    again.close()


def test_registering_again_changes_nothing(registry: Registry) -> None:
    before = (registry.versions("acme", "helpdesk"), registry.history("acme", "helpdesk"))
    register(registry, A)
    registry.register("acme", "helpdesk", A, "artifacts/other", "challenger", B)
    assert (registry.versions("acme", "helpdesk"), registry.history("acme", "helpdesk")) == before
    assert [one.number for one in before[0]] == [1, 2, 3]


def test_weights_made_again_elsewhere_replace_a_folder_that_is_gone(
    registry: Registry, tmp_path: Path
) -> None:
    promote(registry, A)
    (tmp_path / "artifacts" / A[:8]).rmdir()
    (tmp_path / "artifacts" / "again").mkdir()
    registry.register("acme", "helpdesk", A, "artifacts/again", "trained", "")
    live = registry.live("acme", "helpdesk")
    assert live is not None and registry.model_folder(live).is_dir()
    assert live.number == 1
    registry.verify_chain()


@pytest.mark.parametrize("path", ["/etc", "../outside", "a/../../b", ""])
def test_a_path_that_leaves_the_store_is_refused(registry: Registry, path: str) -> None:
    with pytest.raises(UsageError, match="artifact path"):
        registry.register("acme", "helpdesk", "d" * 64, path, "trained", "")


def test_a_version_is_found_by_the_beginning_of_its_hash(registry: Registry) -> None:
    register(registry, "aaaa" + "0" * 60)
    assert registry.find_version("acme", "helpdesk", "bbbb").weight_hash == B
    assert registry.find_version("acme", "helpdesk", "aaaaa").weight_hash == A
    for prefix in ("aaaa", "bbb", "", "ffff"):
        with pytest.raises(UnknownName):
            registry.find_version("acme", "helpdesk", prefix)
    with pytest.raises(UnknownName):
        registry.find_version("other", "helpdesk", "bbbb")


def test_a_verdict_is_kept_once_and_spends_one_read(registry: Registry) -> None:
    for _ in range(2):
        registry.record_gate("acme", "helpdesk", B, "verdict-1", "set-1", YES)
    registry.record_gate("acme", "helpdesk", C, "verdict-2", "set-1", NO)
    registry.record_gate("acme", "helpdesk", C, "verdict-3", "set-2", NO)
    assert [registry.gate_reads(one).num for one in ("set-1", "set-2", "set-3")] == [2, 1, 0]
    kept = [e.detail["verdict"] for e in registry.history("acme", "helpdesk") if e.action == "gate"]
    assert kept == [YES, NO, NO]
    with pytest.raises(UsageError, match="key of its own"):
        registry.record_gate("acme", "helpdesk", C, "verdict-1", "set-1", YES)


def test_what_a_read_leaves_is_the_next_ones_alone_and_of_its_set(registry: Registry) -> None:
    registry.record_gate("acme", "helpdesk", B, "v-1", "set-1", {**YES, "passed_on": 0.03})
    assert registry.gate_reads("set-1") == GateReads(1, 0.03)
    assert registry.gate_reads("set-2") == GateReads(0, 0.0)
    registry.record_gate("acme", "helpdesk", C, "v-2", "set-1", {**NO, "passed_on": 0.0})
    assert registry.gate_reads("set-1") == GateReads(2, 0.0)


def test_a_verdict_that_says_no_promotes_nothing(registry: Registry) -> None:
    promote(registry, A)
    registry.record_gate("acme", "helpdesk", B, "yes", "set", YES)
    registry.record_gate("acme", "helpdesk", C, "no", "set", NO)
    with pytest.raises(UsageError, match="says no"):
        promote(registry, C, "no")
    with pytest.raises(UsageError, match="no verdict"):
        promote(registry, C, "yes")  # given to other weights
    assert live_hash(registry) == A
    assert promote(registry, B, "yes").weight_hash == B
    assert registry.history("acme", "helpdesk")[-1].detail["verdict_key"] == "yes"


def test_the_trail_says_who_did_what_and_holds(registry: Registry) -> None:
    promote(registry, A)
    registry.record_gate("acme", "helpdesk", B, "v", "set", YES)
    promote(registry, B, "v")
    registry.rollback("acme", "helpdesk", "bob", "complaints")
    assert actions(registry) == ["register"] * 3 + ["promote", "gate", "promote", "rollback"]
    last = registry.history("acme", "helpdesk")[-1]
    assert (last.actor, last.reason, last.weight_hash) == ("bob", "complaints", A)
    registry.verify_chain()


def unprotected(path: Path, *statements: str) -> None:
    """What somebody does who owns the file: the triggers go, and come back as they were."""
    file = sqlite3.connect(path)
    for name in TRIGGERS:
        file.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        assert file.execute(statement).rowcount > 0
    for statement in TRIGGERS.values():
        file.execute(statement)
    file.commit()
    file.close()


@pytest.mark.parametrize(
    ("forgery", "named"),
    [
        ("UPDATE audit_texts SET text = 'eve' WHERE position = 4 AND what = 'actor'", "entry 4"),
        ("UPDATE audit_texts SET text = 'x' WHERE position = 2 AND what = 'reason'", "entry 2"),
        ("UPDATE audit_texts SET text = NULL, salt = NULL WHERE position = 3", "entry 3"),
        ("DELETE FROM audit_texts WHERE position = 5", "entry 5"),
        ("UPDATE audit SET detail = '{' WHERE position = 1", "entry 1"),
        ("UPDATE audit SET detail = '{}' WHERE position = 2", "entry 2"),
        ("UPDATE audit SET at = at + 1 WHERE position = 5", "entry 5"),
        ("UPDATE audit SET position = position + 10 WHERE position > 3", "entry 4"),
        ("DELETE FROM audit WHERE position = 2", "entry 2"),
        ("DELETE FROM audit WHERE position = 1", "entry 1"),
        ("DELETE FROM audit WHERE position = 5", "live pointers"),
        (f"UPDATE live SET weight_hash = '{C}'", "live pointers"),
        ("DELETE FROM live", "live pointers"),
        ("DELETE FROM earlier", "live pointers"),
        (f"INSERT INTO live VALUES ('other', 'helpdesk', '{A}')", "live pointers"),
        ("INSERT INTO holds VALUES ('acme', 'helpdesk', 'pin')", "holds"),
        ("UPDATE versions SET artifact_path = 'artifacts/evil' WHERE number = 2", "versions"),
        ("UPDATE versions SET tenant = 'eve' WHERE number = 3", "versions"),
    ],
)
def test_every_forgery_is_found_and_the_first_broken_entry_named(
    registry: Registry, tmp_path: Path, forgery: str, named: str
) -> None:
    promote(registry, A)
    promote(registry, B)
    assert registry.verify_chain() == 5
    unprotected(tmp_path / "registry.sqlite", forgery)
    with pytest.raises(IntegrityError, match=named):
        registry.verify_chain()


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE audit SET at = at + 1 WHERE position = 1",
        "DELETE FROM audit WHERE position = 4",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE position = 2",
        "INSERT INTO audit SELECT tenant, 9, name, action, weight_hash, actor_digest, "
        "reason_digest, detail, at, previous, digest FROM audit WHERE position = 4",
        "UPDATE audit_texts SET text = 'eve' WHERE position = 4",
        "UPDATE audit_texts SET position = 9, salt = NULL, text = NULL WHERE position = 4",
        "DELETE FROM audit_texts WHERE position = 4",
        "INSERT OR REPLACE INTO audit_texts VALUES ('acme', 4, 'actor', '00', 'eve')",
    ],
)
def test_the_database_refuses_to_change_its_trail(
    registry: Registry, tmp_path: Path, forgery: str
) -> None:
    promote(registry, A)
    file = sqlite3.connect(tmp_path / "registry.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        file.execute(forgery)
    file.close()
    assert registry.verify_chain() == 4


def test_a_trail_without_its_triggers_is_told(registry: Registry, tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "registry.sqlite")
    file.execute("DROP TRIGGER audit_is_never_changed")
    file.close()
    with pytest.raises(IntegrityError, match="not protected: audit_is_never_changed"):
        registry.verify_chain()


def test_an_erased_actor_is_gone_and_the_chain_still_holds(
    registry: Registry, tmp_path: Path
) -> None:
    registry.promote("acme", "helpdesk", A, "Johanna Beispiel", "said (erased)")
    promote(registry, B)
    with pytest.raises(UnknownName):
        registry.erase_texts("other", 4, "ann", "asked for it")
    registry.erase_texts("acme", 4, "ann", "asked for it")
    assert registry.verify_chain() == 6
    (entry,) = [one for one in registry.history("acme", "helpdesk") if one.position == 4]
    assert (entry.actor, entry.reason, entry.weight_hash) == ("(erased)", "(erased)", A)
    assert registry.history("acme", "helpdesk")[-1].action == "erase"
    registry.close()
    file = sqlite3.connect(tmp_path / "registry.sqlite")
    file.execute("VACUUM")
    file.close()
    assert b"Johanna" not in (tmp_path / "registry.sqlite").read_bytes()


def test_tenants_do_not_see_each_other(registry: Registry, tmp_path: Path) -> None:
    register(registry, A, tenant="other")
    promote(registry, B)
    registry.promote("other", "helpdesk", A, "eve", "ours")
    assert live_hash(registry) == B
    by_tenant = registry.live_by_tenant("helpdesk")
    assert {tenant: one.weight_hash for tenant, one in by_tenant.items()} == {"acme": B, "other": A}
    assert [one.weight_hash for one in registry.versions("other", "helpdesk")] == [A]
    assert {entry.tenant for entry in registry.history("other", "helpdesk")} == {"other"}
    registry.verify_chain()


PROMOTER = """
import sys
from pathlib import Path
from noria.registry import Registry
registry = Registry(Path(sys.argv[1]))
for number in range(8):
    weights = "abc"[(int(sys.argv[2]) + number) % 3] * 64
    registry.promote("acme", "helpdesk", weights, sys.argv[2], str(number))
registry.close()
"""


def test_threads_and_processes_leave_exactly_one_live(registry: Registry, tmp_path: Path) -> None:
    promote(registry, A)
    path = tmp_path / "registry.sqlite"
    command = [sys.executable, "-c", PROMOTER, str(path)]
    processes = [subprocess.Popen([*command, str(n)]) for n in range(2)]
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        with_pointer = sqlite3.connect(path)
        while not stop.is_set():
            seen.append(with_pointer.execute("SELECT count(*) FROM live").fetchone()[0])
        with_pointer.close()

    def turn(weights: str) -> None:
        for _ in range(8):
            promote(registry, weights)

    threads = [threading.Thread(target=turn, args=(weights,)) for weights in (A, B, C)]
    watcher = threading.Thread(target=watch)
    for thread in [watcher, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    stop.set()
    watcher.join()
    assert set(seen) == {1}
    promotions = [e for e in registry.history("acme", "helpdesk") if e.action == "promote"]
    assert live_hash(registry) == promotions[-1].weight_hash
    befores = [e.detail["before"] for e in promotions]
    assert befores == ["", *(e.weight_hash for e in promotions[:-1])]
    registry.verify_chain()


def test_a_full_disk_leaves_the_live_version_live(registry: Registry) -> None:
    promote(registry, A)
    with registry._database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="no space left"):
        registry.promote("acme", "helpdesk", B, "ann", "long " * 20_000)
    assert live_hash(registry) == A
    registry.verify_chain()
