"""The content-addressed store: immutable folders named by the digest of what made them.

In: a stage's name, format version, settings, inputs and lock, and a function that makes its files.
Out: a folder with a manifest, written whole or not at all; asked for again, it is re-used.
This module does not know what any stage does.

    <root>/artifacts/<stage>-<first 16 of key>/manifest.json
                                              /<files of the stage>
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from noria.errors import FormatError, IntegrityError

MANIFEST_FORMAT = 1
_CHUNK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def value_digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def acting(settings: Any, names: Collection[str]) -> dict[str, Any]:
    """Those of a dataclass's named fields that are not at their default.

    A setting that came later than its stage is in a key only where it acts, so that what was made
    before it came keeps its key.
    """
    chosen = [one for one in fields(settings) if one.name in names]
    found = {one.name: (getattr(settings, one.name), one.default) for one in chosen}
    return {name: value for name, (value, default) in found.items() if value != default}


def _fsync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename, fsync of its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync_path(path.parent)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove_leftovers(path: Path) -> None:
    """Remove what a killed process left half-written beside `path`; not what another writes now."""
    for leftover in path.parent.glob(f".{path.name}.*.*"):
        process_id = leftover.name.split(".")[-2]
        if not process_id.isdecimal():
            continue
        if process_id == str(os.getpid()) or not _is_running(int(process_id)):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`, whole, when the block ends without error.

    An existing `path` is replaced: it is moved aside first and removed after.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _fsync_path(entry)
        _fsync_path(temporary)
        if path.exists():
            aside = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.replace(aside)
            temporary.replace(path)
            shutil.rmtree(aside)
        else:
            temporary.replace(path)
        _fsync_path(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class Manifest:
    """What made an artifact, and the digests of its files."""

    stage: str
    key: str
    stage_format: int
    settings: dict[str, Any]
    inputs: dict[str, str]
    lock: dict[str, Any]
    files: dict[str, str]
    sizes: dict[str, int]
    facts: dict[str, Any]
    made_at: float
    elapsed_s: float
    manifest_format: int = MANIFEST_FORMAT


@dataclass(frozen=True)
class Artifact:
    """A finished artifact; `reused` says that it was there already."""

    path: Path
    manifest: Manifest
    reused: bool = False

    @property
    def key(self) -> str:
        """The digest of what made it."""
        return self.manifest.key

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage wants later stages and reports to know: counts, scores, hashes."""
        return self.manifest.facts


def artifact_key(
    stage: str,
    stage_format: int,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    lock: Mapping[str, Any],
) -> str:
    """The digest (64 hex) of everything that decides an artifact's content."""
    return value_digest(
        {
            "stage": stage,
            "stage_format": stage_format,
            "settings": dict(settings),
            "inputs": dict(inputs),
            "lock": dict(lock),
        }
    )


class Store:
    """All artifacts of a recipe, under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "artifacts"

    def path_of(self, stage: str, key: str) -> Path:
        """The folder that an artifact has or would have."""
        return self.folder / f"{stage}-{key[:16]}"

    def find(self, stage: str, key: str) -> Artifact | None:
        """The finished artifact of that stage and key, or None.

        Raises IntegrityError if a file of it is missing or has another size than was stored.
        """
        path = self.path_of(stage, key)
        if not (path / "manifest.json").exists():
            return None
        artifact = read_artifact(path)
        for name, size in artifact.manifest.sizes.items():
            file = path / name
            if not file.is_file() or file.stat().st_size != size:
                raise IntegrityError(
                    f"{file} is gone or has another size",
                    f"the {size} bytes that the manifest lists",
                    f"delete {path} and run again",
                )
        return artifact

    def build(
        self,
        stage: str,
        make: Callable[[Path], Mapping[str, Any]],
        *,
        stage_format: int = 1,
        settings: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
        lock: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Re-use the artifact that these values name, or make it.

        `make` gets an empty folder, writes its files there and returns the artifact's facts.
        """
        settings, inputs, lock = dict(settings or {}), dict(inputs or {}), dict(lock or {})
        key = artifact_key(stage, stage_format, settings, inputs, lock)
        found = self.find(stage, key)
        if found is not None:
            return Artifact(found.path, found.manifest, reused=True)
        path = self.path_of(stage, key)
        started_at = time.time()
        with atomic_folder(path) as folder:
            facts = dict(make(folder))
            made = {
                str(file.relative_to(folder)): file
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            manifest = Manifest(
                stage=stage,
                key=key,
                stage_format=stage_format,
                settings=settings,
                inputs=inputs,
                lock=lock,
                files={name: file_digest(file) for name, file in made.items()},
                sizes={name: file.stat().st_size for name, file in made.items()},
                facts=facts,
                made_at=started_at,
                elapsed_s=time.time() - started_at,
            )
            text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False, allow_nan=False)
            (folder / "manifest.json").write_text(text, encoding="utf-8")
        return Artifact(path, manifest)

    def all(self) -> list[Artifact]:
        """Every finished artifact, oldest first."""
        found = [read_artifact(path.parent) for path in self.folder.glob("[!.]*/manifest.json")]
        return sorted(found, key=lambda artifact: artifact.manifest.made_at)

    def lineage(self, key: str) -> list[Artifact]:
        """The artifact of that key and everything it was made from, nearest first."""
        by_key = {artifact.key: artifact for artifact in self.all()}
        order: list[Artifact] = []
        seen: set[str] = set()
        waiting = [key]
        while waiting:
            current = waiting.pop(0)
            artifact = by_key.get(current)
            if artifact is None or current in seen:
                continue
            seen.add(current)
            order.append(artifact)
            waiting.extend(artifact.manifest.inputs.values())
        return order


_TABLES = ("settings", "inputs", "lock", "files", "sizes", "facts")


def read_artifact(path: Path) -> Artifact:
    """Read a finished artifact's manifest. Raises FormatError if it can't be read."""
    try:
        value = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        if value["manifest_format"] != MANIFEST_FORMAT:
            raise ValueError(f"manifest_format {value['manifest_format']}")
        manifest = Manifest(**value)
        if not all(isinstance(getattr(manifest, name), dict) for name in _TABLES):
            raise ValueError(f"one of {', '.join(_TABLES)} is no table")
        return Artifact(path, manifest)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            f"{path}/manifest.json can't be read ({error})",
            f"a manifest of format {MANIFEST_FORMAT}",
            "delete the folder and run again",
        ) from error


def verify_artifact(artifact: Artifact) -> None:
    """Compare every file with its digest. Raises IntegrityError naming the first that differs."""
    for name, digest in artifact.manifest.files.items():
        path = artifact.path / name
        if not path.is_file() or file_digest(path) != digest:
            raise IntegrityError(
                f"{path} differs from what was stored",
                f"SHA-256 {digest}",
                f"delete {artifact.path} and run again",
            )
