"""Files behind a URL that fsspec knows (http, s3, gs, sftp …), copied into the user's cache.

In: a URL, with `*` where the store can list. Out: local copies under names without passwords.
A copy is made again unless the store says, by a checksum or a time, that nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from noria.artifacts import atomic_write
from noria.errors import InputError, MissingExtra

MAX_REMOTE_BYTES = 64 << 30
_CHUNK_BYTES = 1 << 20


def is_url(glob: str) -> bool:
    """Whether a glob names something elsewhere."""
    return re.match(r"[a-z][a-z0-9+.-]*://", glob) is not None


def fetch_remote(url: str, cache: Path) -> dict[str, Path]:
    """Copy the files that a URL names; returns name -> local path.

    Raises InputError for what can't be reached, MissingExtra without fsspec or the store's driver.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(f"fsspec, which reads {public_name(url)},", "data") from error
    try:
        system, path = fsspec.core.url_to_fs(url)
        has_glob = any(c in path for c in "*?[") and not url.startswith("http")
        paths = sorted(system.glob(path)) if has_glob else [path]
        if not has_glob and not url.startswith("http") and system.isdir(path):
            paths = sorted(system.find(path))
        named = [_name(url, system, one) for one in paths]
        files = zip(named, paths, strict=True)
        return {name: _copy(system, one, cache / "remote") for name, one in files}
    except ImportError as error:  # fsspec names the driver that it misses
        raise InputError(f"{public_name(url)}: {error}", "an installed driver") from error
    except InputError:
        raise
    except Exception as error:  # every store has exceptions of its own
        said = f"{type(error).__name__}: {error}".replace(url, public_name(url))
        raise InputError(
            f"{public_name(url)} can't be fetched ({said})",
            "a URL that fsspec can read",
            "check the address and the network",
        ) from error


def public_name(url: str) -> str:
    """A URL without user, password, query and fragment: those may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _name(url: str, system: Any, path: str) -> str:
    return public_name(url if url.startswith("http") else system.unstrip_protocol(path))


def _copy(system: Any, path: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = _state(system, path)
    key = hashlib.sha256(f"{type(system).__name__} {path}".encode()).hexdigest()[:32]
    target, note = folder / key, folder / f"{key}.json"
    if state and target.is_file() and note.is_file() and note.read_text("utf-8") == state:
        return target
    aside = folder / f".{key}.{os.getpid()}.tmp"
    try:
        with system.open(path, "rb") as source, aside.open("wb") as out:
            _copy_bounded(source, out)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    atomic_write(note, state.encode("utf-8"))
    return target


def _copy_bounded(source: Any, out: BinaryIO) -> None:
    num_bytes = 0
    while chunk := source.read(_CHUNK_BYTES):
        num_bytes += len(chunk)
        if num_bytes > MAX_REMOTE_BYTES:
            raise InputError(f"more than {MAX_REMOTE_BYTES >> 30} GiB", "a smaller file")
        out.write(chunk)


def _state(system: Any, path: str) -> str:
    """What the store says of a file's version; nothing if it says nothing that would change."""
    info = system.info(path)
    known = {
        key: str(info[key])
        for key in ("ETag", "etag", "mtime", "LastModified", "md5Hash", "created", "size")
        if info.get(key) is not None
    }
    return json.dumps(known, sort_keys=True) if known.keys() - {"size"} else ""
