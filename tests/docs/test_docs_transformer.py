"""docs/transformer.md and its Chinese sister say what their own code prints and draws."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LANGUAGES = ("transformer.md", "transformer.zh.md")
NUMBER = re.compile(r"-?\d*\.\d+")


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "draw_transformer.py"))


@pytest.fixture(scope="module")
def world(tool: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """What each block printed, and what they left behind."""
    outputs, namespace = tool["run_blocks"](DOCS / "transformer.md")
    return outputs, namespace


def fenced(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(name), flags=re.DOTALL)


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def is_same(shown: str, printed: str, tolerance: float) -> bool:
    """Whether words and whole numbers are equal, and numbers with a point nearly so."""
    if [NUMBER.sub("#", shown).split()] != [NUMBER.sub("#", printed).split()]:
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(abs(float(one) - float(other)) < tolerance + 1e-9 for one, other in pairs)


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_document_shows_what_its_blocks_print(
    name: str, world: tuple[list[str], dict[str, Any]]
) -> None:
    printed = [output for output in world[0] if output]
    for shown, output in zip(fenced(name, "text"), printed, strict=True):
        assert is_same(shown, output, 1e-3), f"run tools/draw_transformer.py:\n{shown}\n{output}"


def test_a_number_that_is_off_is_noticed() -> None:
    shown = "天 -> 安 0.912 门 0.034\n2 blocks"
    assert is_same(shown, "天  -> 安 0.913 门 0.034\n2 blocks", 1e-3)
    assert not is_same(shown, "天 -> 安 0.914 门 0.034\n2 blocks", 1e-3)
    assert not is_same(shown, "天 -> 门 0.912 门 0.034\n2 blocks", 1e-3)
    assert not is_same(shown, "天 -> 安 0.912 门 0.034\n3 blocks", 1e-3)


def test_both_languages_have_the_same_code_and_formulas_and_papers() -> None:
    english, chinese = LANGUAGES
    for language in ("python", "math"):
        assert fenced(english, language) == fenced(chinese, language)
    links = [re.findall(r"\]\((https?://[^)]+)\)", read(name)) for name in LANGUAGES]
    assert sorted(links[0]) == sorted(links[1])


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_number_of_the_prose_is_printed_by_a_block(
    name: str, world: tuple[list[str], dict[str, Any]]
) -> None:
    prose = re.sub(r"```(python|text)\n.*?```|\]\([^)]*\)", "", read(name), flags=re.DOTALL)
    stated = set(re.findall(r"\d+\.\d{3,}", prose))
    assert stated  # the example that is worked on paper
    assert stated <= set(NUMBER.findall("".join(world[0])))


def test_the_hand_and_the_library_agree_wherever_they_are_compared(
    world: tuple[list[str], dict[str, Any]],
) -> None:
    differences = re.findall(r"by hand - library: (\S+)", "".join(world[0]))
    assert len(differences) > 8
    assert set(differences) == {"0.000"}


def test_the_pictures_are_drawn_from_the_documents_model(
    tool: dict[str, Any], world: tuple[list[str], dict[str, Any]]
) -> None:
    drawn = tool["pictures"](world[1])
    assert set(drawn) == {path.name for path in (DOCS / "pictures").glob("*.svg")}
    for name, picture in drawn.items():
        stored = (DOCS / "pictures" / name).read_text(encoding="utf-8")
        assert is_same(stored, picture, 0.01), f"{name}: run tools/draw_transformer.py"
        document = "transformer.zh.md" if name.endswith(".zh.svg") else "transformer.md"
        assert f'src="pictures/{name}"' in read(document)


def test_the_five_sentences_are_worked_in_both_documents() -> None:
    for name in LANGUAGES:
        text = read(name)
        for worked in (
            "我爱北京天安门",
            "人工智能是一种技术，用于模拟人类智能",
            "I am learning AI",
            "[1.0, 2.0, 3.0], [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]",
            "x_3 &= E_{t_3} + p_2",
        ):
            assert worked in text
