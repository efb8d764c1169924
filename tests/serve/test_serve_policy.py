"""Policies: what is refused has a reason, and not a letter of a withheld answer leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from serving_world import NAME, TENANT, World, events

from noria.errors import InputError, UsageError
from noria.recipe import ServeSettings
from noria.serve.policy import Policy, check_topics, policy_of
from noria.serve.worker.messages import Piece
from noria.stages.policy import false_refusals
from noria.workspace import open_workspace


def test_each_reason_is_told_and_the_last_turn_has_the_topic() -> None:
    def topics_of(tenant: str, text: str) -> tuple[str, ...]:
        assert tenant == "acme"
        return ("law",) if "court" in text else ("other",)

    settings = ServeSettings(
        max_prompt_characters=30,
        refused_prompts=("(?i)secret",),
        refused_topics=("law",),
        topics_by="topic",
    )
    policy = policy_of(settings, topics_of)
    for texts, why in (
        (["Where is it?"], ""),
        (["x" * 30], ""),
        (["x" * 15, "x" * 16], "length"),
        (["A SECRET", "Where?"], "pattern"),
        (["Where is the court?"], "topic"),
        (["The court.", "Thanks."], ""),
        ([" "], ""),
    ):
        assert policy.refused_prompt("acme", texts) == why, texts


def test_without_settings_nothing_is_refused() -> None:
    policy = policy_of(ServeSettings())
    assert policy.refused_prompt("acme", ["x" * 10**6]) == ""
    assert not policy.refuses_answer("anything")


def test_a_bad_pattern_is_named() -> None:
    with pytest.raises(UsageError, match=r"serve\.refused_answers"):
        policy_of(ServeSettings(refused_answers=("(",)))


def pieces(*texts: str) -> list[Piece]:
    return [
        Piece(text, "stop" if place == len(texts) else None, 3, place)
        for place, text in enumerate(texts, start=1)
    ]


def screened(policy: Policy, given: list[Piece]) -> list[Piece]:
    return [*(policy.shown(one) for one in given[:-1]), policy.last(given)]


def test_an_answer_is_held_back_until_it_was_looked_at() -> None:
    policy = Policy(answers=(re.compile("bad"),))
    good = screened(policy, pieces("a b", "a", ""))
    assert good == [Piece("", None, 3, 1), Piece("", None, 3, 2), Piece("a ba", "stop", 3, 3)]
    bad = screened(policy, pieces("a b", "a", "d"))
    assert [one.text for one in bad] == ["", "", ""]
    assert bad[-1].finish == "content_filter"
    assert screened(Policy(), pieces("a b", "ad")) == pieces("a b", "ad")


def test_no_letter_of_a_withheld_answer_leaves(world: World) -> None:
    world.promote("a")
    world.start(policy=Policy(100, (re.compile("secret"),), (re.compile("a{10}"),)))
    client = world.http(world.key)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 9}
    for stream in (False, True):
        asked = {**body, "stream": stream}
        assert client.post("/v1/completions", json=asked).status_code == 200
        withheld = client.post("/v1/completions", json={**asked, "max_tokens": 10})
        found = events(withheld.text) if stream else [withheld.json()]
        choices = [one["choices"][0] for one in found if one != "[DONE]"]
        assert choices[-1]["finish_reason"] == "content_filter"
        assert all(one["text"] == "" for one in choices)
        kept = world.feedback.find(TENANT, found[0]["id"])
        assert (kept.answer, kept.finish) == ("", "content_filter")
    streamed = events(client.post("/v1/completions", json={**body, "stream": True}).text)
    assert "".join(one["choices"][0]["text"] for one in streamed[:-1]) == "a" * 9
    for prompt, why in (("a secret", "pattern"), ("x" * 101, "length")):
        chat = {"model": NAME, "messages": [{"role": "user", "content": prompt}]}
        for path, asked in (
            ("completions", {**body, "prompt": prompt}),
            ("chat/completions", chat),
        ):
            refused = client.post(f"/v1/{path}", json=asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_policy")
            assert why in refused.text and "secret" not in refused.text
    assert world.health()["running"] == 0


RECIPE = """name = "tiny"
[corpus]
documents = ["*.txt"]
names = "off"
[serve]
refused_prompts = ["(?i)court"]
refused_answers = ["9{3}"]
max_prompt_characters = 40
"""


def test_false_refusals_are_counted_with_an_interval(tmp_path: Path) -> None:
    (tmp_path / "noria.toml").write_text(RECIPE, encoding="utf-8")
    texts = ["Where is it?"] * 7 + ["The court", "x" * 41, "call 999"]
    (tmp_path / "good.txt").write_text("\n".join([*texts, ""]), encoding="utf-8")
    with open_workspace(tmp_path / "noria.toml", None, None) as workspace:  # type: ignore[arg-type]
        found = false_refusals(workspace, tmp_path / "good.txt")
        with pytest.raises(InputError, match="no text"):
            (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
            false_refusals(workspace, tmp_path / "empty.txt")
    assert found["texts"] == 10 and found["reasons"] == {"length": 1, "pattern": 1}
    assert found["refused_prompts"]["share"] == 0.2
    # Clopper and Pearson's table: 2 of 10.
    assert found["refused_prompts"]["low"] == pytest.approx(0.0252, abs=1e-4)
    assert found["refused_prompts"]["high"] == pytest.approx(0.5561, abs=1e-4)
    assert found["refused_answers"]["share"] == 0.1


def test_topics_without_a_classifier_are_named(tmp_path: Path) -> None:
    text = RECIPE + 'refused_topics = ["law"]\ntopics_by = "topic"\n'
    (tmp_path / "noria.toml").write_text(text, encoding="utf-8")
    workspace = open_workspace(tmp_path / "noria.toml", None, None)  # type: ignore[arg-type]
    with workspace, pytest.raises(UsageError, match="topics_by"):
        check_topics(workspace.recipe, lambda _: ["law"])
