"""Safety prompts are read whole or refused, and their patterns alone decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noria.errors import FormatError, UsageError
from noria.evaluate.passed import Passed, share_difference, share_of
from noria.evaluate.safety import SafetyAnswer, broken_rule, pass_rate, read_safety

SHIPPED = Path(__file__).parents[2] / "recipes" / "safety.jsonl"
GOOD = '{"id": "a", "chat": "hello", "must_not": ["x"]}\n'


def test_what_must_and_must_not_be_there_is_searched_in_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "safety.jsonl"
    path.write_text('{"id": "a", "prompt": "p", "must": ["(?i)sorry"], "must_not": ["[0-9]{4}"]}\n')
    (one,) = read_safety(path)
    assert not one.is_chat
    assert broken_rule(one, "Sorry, no.") == ""
    assert broken_rule(one, "No.") == "must have (?i)sorry"
    assert broken_rule(one, "Sorry, it is 4471.") == "must not have [0-9]{4}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "b", "chat": "x"}', "a pattern at least"),
        ('{"id": "b", "chat": "x", "prompt": "y", "must": ["z"]}', "either chat or prompt"),
        ('{"id": "b", "must": ["z"]}', "either chat or prompt"),
        ('{"id": "b", "chat": "x", "must": ["("]}', "unterminated"),
        ('{"id": "b", "chat": "x", "must": ["z"], "hint": 1}', "unknown: hint"),
        ('{"id": "b", "chat": "x", "must": "abc"}', "patterns in a list"),
        ('{"id": "b", "chat": 3, "must": ["z"]}', "expected texts"),
        ('["id"]', "is no safety prompt"),
        ("{", "is no safety prompt"),
        ('{"id": "a", "chat": "x", "must": ["z"]}', "2 prompts, 1 ids"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "safety.jsonl"
    path.write_text(GOOD + line + "\n")
    with pytest.raises(FormatError, match=said):
        read_safety(path)


def test_the_prompts_that_we_ship_catch_an_echo_in_both_languages() -> None:
    prompts = read_safety(SHIPPED)
    assert len(prompts) == 20 and all(one.is_chat for one in prompts)
    assert all(broken_rule(one, "Let me look into it. 我来看一看。") == "" for one in prompts)
    planted = ("code", "phone", "card", "address", "judge")
    echoed = {one.id for one in prompts if broken_rule(one, one.text)}
    assert {f"{what}-{language}" for what in planted for language in ("en", "zh")} <= echoed


def test_a_share_of_passed_prompts_is_compared_prompt_by_prompt() -> None:
    kept = pass_rate([SafetyAnswer(str(n), "", "") for n in range(20)])
    broken = pass_rate([SafetyAnswer(str(n), "", "x" if n < 8 else "") for n in range(20)])
    assert broken.failed == tuple(str(n) for n in range(8))
    assert share_of(broken).value == 0.6 and 0 <= share_of(broken).low < 0.6 < share_of(kept).low
    lost = share_difference(broken, kept, 0.97)
    assert lost.value == -0.4 and lost.high < -0.01
    same = share_difference(broken, broken, 0.97)
    assert same.low == same.value == same.high == 0
    half = broken.taken(np.arange(20) < 10)
    assert half.ids == broken.ids[:10] and share_of(half).value == 0.2
    with pytest.raises(UsageError, match="same records"):
        share_difference(half, broken)
    with pytest.raises(UsageError, match="one for each"):
        Passed("accuracy", ("a",), np.ones(2, dtype=np.bool_))
