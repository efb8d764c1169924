"""Policies: what is refused has a reason, and not a letter of a withheld answer leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from serving_world import NAME, TENANT, World, events, write_task

from noria.errors import InputError, UsageError
from noria.recipe import TENANT as OWN
from noria.recipe import ServeSettings
from noria.serve.policy import Policy, Refusal, check_topics, policy_of
from noria.serve.worker.messages import Piece
from noria.stages.policy import MAX_SHOWN_LINES, refusals
from noria.stages.task_names import task_name
from noria.workspace import open_workspace


def test_each_reason_is_told_and_the_last_turn_has_the_topic() -> None:
    def topics_of(tenant: str, text: str) -> dict[str, float]:
        assert tenant == "acme"
        return {"law": 0.8 if "the court" in text else 0.7} if "court" in text else {"other": 0.9}

    settings = ServeSettings(
        max_prompt_characters=30,
        refused_prompts=("(?i)secret",),
        refused_topics=("law",),
        topics_by="topic",
        topics_at_least=0.75,
    )
    policy = policy_of(settings, topics_of)
    for texts, why in (
        (["Where is it?"], None),
        (["x" * 30], None),
        (["x" * 15, "x" * 16], Refusal("length")),
        (["A SECRET", "Where?"], Refusal("pattern", "(?i)secret")),
        (["Where is the court?"], Refusal("topic", "law")),
        (["Where is a court?"], None),
        (["Is it the court?", "Thanks."], None),
        ([" "], None),
    ):
        assert policy.refused_prompt("acme", texts) == why, texts


def test_without_settings_nothing_is_refused() -> None:
    policy = policy_of(ServeSettings())
    assert policy.refused_prompt("acme", ["x" * 10**6]) is None
    assert policy.refused_answer("anything") is None


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


def test_refusals_are_counted_by_reason_with_lines_and_intervals(tmp_path: Path) -> None:
    (tmp_path / "noria.toml").write_text(RECIPE, encoding="utf-8")
    texts = ["Where is it?", "", *["Where\x0bis it?"] * 6, "The court", "x" * 41, "call 999"]
    texts += ["A court."]
    (tmp_path / "good.txt").write_text("\n".join([*texts, ""]), encoding="utf-8")
    (tmp_path / "bad.txt").write_text("court\n" * (MAX_SHOWN_LINES + 5), encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    with open_workspace(tmp_path / "noria.toml", None, None) as workspace:  # type: ignore[arg-type]
        found = refusals(workspace, tmp_path / "good.txt")
        caught = refusals(workspace, tmp_path / "bad.txt")
        with pytest.raises(InputError, match="no text"):
            refusals(workspace, tmp_path / "empty.txt")
    assert found["texts"] == 11 and found["refused_prompts"]["num_texts"] == 3
    told = [(one["as"], one["reason"], one["by"], one["lines"]) for one in found["reasons"]]
    assert told == [
        ("prompt", "pattern", "(?i)court", [9, 12]),
        ("prompt", "length", "", [10]),
        ("answer", "pattern", "9{3}", [11]),
    ]
    # Clopper and Pearson's ends for none or all of n, 1 - (alpha / 2) ** (1 / n), and of 1.
    (pattern,) = caught["reasons"]
    num_texts = MAX_SHOWN_LINES + 5
    assert (pattern["share"], pattern["high"], pattern["num_texts"]) == (1.0, 1.0, num_texts)
    assert pattern["low"] == pytest.approx(0.025 ** (1 / num_texts))
    assert pattern["lines"] == list(range(1, MAX_SHOWN_LINES + 1))


def test_a_topics_refusals_are_those_that_its_classifier_names(tmp_path: Path) -> None:
    text = RECIPE + 'refused_topics = ["zh"]\ntopics_by = "tongue"\n'
    text += '[tasks.tongue]\nkind = "classify"\nfiles = ["rows.csv"]\n'
    (tmp_path / "noria.toml").write_text(text, encoding="utf-8")
    texts = ["包裹在哪里？", "Where is it?", "它在路上"] * 50
    (tmp_path / "good.txt").write_text("\n".join(texts), encoding="utf-8")
    with open_workspace(tmp_path / "noria.toml", None, None) as workspace:  # type: ignore[arg-type]
        folder = workspace.root / "artifacts" / "tongue"
        weights, name = write_task(folder), task_name(workspace.recipe, "tongue")
        registry = workspace.registry
        registry.register(OWN, name, weights, "artifacts/tongue", "made by hand", "")
        registry.promote(OWN, name, weights, "test", "test")
        found = refusals(workspace, tmp_path / "good.txt")
    (topic,) = found["reasons"]
    assert (topic["reason"], topic["by"], topic["num_texts"]) == ("topic", "zh", 100)
    assert topic["lines"][:4] == [1, 3, 4, 6]
    thresholds = {one["at_least"]: one["num_texts"] for one in found["topics_at_least"]}
    assert thresholds[0.0] == 100 and thresholds[0.99] < 100


def test_topics_without_a_classifier_are_named(tmp_path: Path) -> None:
    text = RECIPE + 'refused_topics = ["law"]\ntopics_by = "topic"\n'
    (tmp_path / "noria.toml").write_text(text, encoding="utf-8")
    workspace = open_workspace(tmp_path / "noria.toml", None, None)  # type: ignore[arg-type]
    with workspace, pytest.raises(UsageError, match="topics_by"):
        check_topics(workspace.recipe, lambda _: ["law"])
