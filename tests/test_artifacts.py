"""The store: what is made is kept, what did not change is not made again, nothing is half there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from noria.artifacts import Store, artifact_key, atomic_folder, atomic_write, verify_artifact
from noria.errors import FormatError, IntegrityError


def make_counter():  # type: ignore[no-untyped-def]
    calls = []

    def make(folder: Path) -> dict[str, int]:
        calls.append(1)
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("hello")
        return {"num_words": 1}

    return make, calls


def test_a_second_build_reuses_and_a_changed_setting_builds_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make, calls = make_counter()
    first = store.build("s", make, settings={"a": 1}, inputs={"x": "k"})
    again = store.build("s", make, settings={"a": 1}, inputs={"x": "k"})
    assert (first.reused, again.reused, len(calls)) == (False, True, 1)
    assert again.facts == {"num_words": 1}
    store.build("s", make, settings={"a": 2}, inputs={"x": "k"})
    store.build("s", make, settings={"a": 1}, inputs={"x": "other"})
    store.build("s", make, settings={"a": 1}, inputs={"x": "k"}, lock={"threads": 2})
    store.build("s", make, settings={"a": 1}, inputs={"x": "k"}, stage_format=2)
    assert len(calls) == 5


def test_the_key_does_not_depend_on_the_order_of_settings() -> None:
    assert artifact_key("s", 1, {"a": 1, "b": 2}, {}, {}) == artifact_key(
        "s", 1, {"b": 2, "a": 1}, {}, {}
    )


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.build("s", fail)
    assert list(store.folder.iterdir()) == []
    assert store.all() == []


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    make, _ = make_counter()
    artifact = Store(tmp_path).build("s", make)
    verify_artifact(artifact)
    (artifact.path / "sub" / "a.txt").write_text("hellO")
    with pytest.raises(IntegrityError, match=r"a\.txt differs from what was stored"):
        verify_artifact(artifact)


def test_a_missing_file_is_not_reused(tmp_path: Path) -> None:
    make, _ = make_counter()
    store = Store(tmp_path)
    artifact = store.build("s", make)
    (artifact.path / "sub" / "a.txt").unlink()
    with pytest.raises(IntegrityError, match="is gone or has another size"):
        store.build("s", make)


def test_a_torn_manifest_is_a_clear_error(tmp_path: Path) -> None:
    make, _ = make_counter()
    store = Store(tmp_path)
    artifact = store.build("s", make)
    (artifact.path / "manifest.json").write_text('{"stage": "s"')
    with pytest.raises(FormatError, match="delete the folder and run again"):
        store.build("s", make)


def test_lineage_walks_from_the_last_artifact_to_the_first(tmp_path: Path) -> None:
    make, _ = make_counter()
    store = Store(tmp_path)
    a = store.build("a", make)
    b = store.build("b", make, inputs={"a": a.key, "file": "not an artifact"})
    c = store.build("c", make, inputs={"b": b.key, "a": a.key})
    assert [one.manifest.stage for one in store.lineage(c.key)] == ["c", "b", "a"]


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    atomic_write(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    make, _ = make_counter()
    store = Store(tmp_path)
    path = store.path_of("s", artifact_key("s", 1, {}, {}, {}))
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, running = (path.with_name(f".{path.name}.{pid}.tmp") for pid in (ended.pid, os.getppid()))
    for folder in (dead, running):
        folder.mkdir(parents=True)
    store.build("s", make)
    assert not dead.exists()
    assert running.exists()


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for word in ("one", "two"):
        with atomic_folder(tmp_path / "d") as folder:
            (folder / word).write_text(word)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
