"""The loop and the explanations over HTTP, over models that are made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest
from serving_world import NAME, TENANT, World

from noria.errors import UsageError
from noria.evaluate.scores import Score, write_scores
from noria.registry.reviews import Review, sign_review
from noria.serve.loop_route import Loop, LoopRequest

CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 4}


@pytest.fixture
def turned(world: World) -> Iterator[World]:
    """A world whose challenger was judged and not promoted."""
    first = world.promote("a")
    second = world.write("b", origin="challenger", parent=first)
    world.write("c", origin="control", parent=first)
    verdict = {"promote": True, "requirements": [], "reasons": ["better by 0.2"]}
    world.registry.record_gate(TENANT, NAME, second, "f" * 64, "set", verdict)
    world.key = world.new_key("use", "rate", "read", "promote")
    world.start()
    yield world


def test_the_loop_tells_what_is_live_and_what_was_judged(turned: World) -> None:
    client = turned.http(turned.key)
    hashes = {one.origin: one.weight_hash for one in turned.registry.versions(TENANT, NAME)}
    folder = turned.root / "artifacts" / f"gate-{'f' * 16}"
    folder.mkdir(parents=True)
    rows = [("made by hand", 1.5, 2.0), ("challenger", 1.25, 1.75), ("control", 1.5, math.inf)]
    scores = [
        Score("corpus.x", 1.6, low, high, 4, 9, hashes[origin], "", 1, "", 0.0, "", 0.95, "")
        for origin, low, high in rows
    ]
    write_scores(folder / "scores.json", scores)
    asked = client.post("/v1/chat/completions", json=CHAT).json()
    for kind, value in (("thumb", "down"), ("correction", "Here.")):
        body = {"interaction_id": asked["id"], "kind": kind, "value": value}
        assert client.post("/v1/feedback", json=body).status_code == 200
    (loop,) = client.get("/v1/loop").json()["loops"]
    assert loop["live"]["weight_hash"] == hashes["made by hand"] and loop["previous"] is None
    assert loop["challenger"]["weight_hash"] == hashes["challenger"]
    assert loop["verdict"]["promote"] and loop["verdict"]["reasons"] == ["better by 0.2"]
    assert loop["feedback"] == {"total": 2, "waiting": {"thumb": 1, "correction": 1}}
    (row,) = loop["scores"]
    assert row["metric"] == "corpus.x" and row["challenger"]["low"] == 1.25
    assert row["champion"]["high"] == 2.0 and row["control"]["high"] is None
    assert [one["action"] for one in loop["history"]][:2] == ["gate", "register"]
    assert str(turned.root) not in json.dumps(loop) and "artifacts" not in json.dumps(loop)


def test_what_people_said_before_the_verdict_does_not_wait(turned: World) -> None:
    client = turned.http(turned.key)
    asked = client.post("/v1/chat/completions", json=CHAT).json()
    body = {"interaction_id": asked["id"], "kind": "thumb", "value": "up"}
    client.post("/v1/feedback", json=body)
    verdict = {"promote": False, "requirements": [], "reasons": ["worse"]}
    judged = turned.registry.find_version(TENANT, NAME, turned.hashes["b"])
    turned.registry.record_gate(TENANT, NAME, judged.weight_hash, "e" * 64, "set", verdict)
    (loop,) = client.get("/v1/loop").json()["loops"]
    assert loop["feedback"] == {"total": 1, "waiting": {}}
    assert loop["verdict"]["reasons"] == ["worse"] and loop["scores"] == []


def test_a_person_promotes_and_rolls_back_under_the_keys_name(turned: World) -> None:
    client = turned.http(turned.key)
    ask = {"name": NAME, "action": "promote", "reason": "I read it"}
    weights = {**ask, "weight_hash": turned.hashes["b"]}
    assert client.post("/v1/loop/requests", json=weights).status_code == 200
    turned.wait_for(turned.hashes["b"])
    (loop,) = client.get("/v1/loop").json()["loops"]
    assert loop["previous"]["weight_hash"] == turned.hashes["a"]
    entry = loop["history"][0]
    key_id = turned.key.split("-")[1]
    assert (entry["action"], entry["actor"], entry["reason"]) == (
        "promote",
        f"key {key_id}",
        "I read it",
    )
    back = {"name": NAME, "action": "rollback", "reason": "worse"}
    assert client.post("/v1/loop/requests", json=back).status_code == 200
    turned.wait_for(turned.hashes["a"])
    assert client.post("/v1/loop/requests", json=back).status_code == 400
    assert client.post("/v1/loop/requests", json={**back, "name": "x"}).status_code == 404
    unknown = {**ask, "weight_hash": "0" * 64}
    assert client.post("/v1/loop/requests", json=unknown).status_code == 404


def test_the_page_promotes_over_a_live_model_only_after_a_signed_review(world: World) -> None:
    world.promote("a")
    challenger = world.write("b", origin="challenger")
    loop = Loop(world.registry, world.feedback, world.root, TENANT, [NAME], "desk.toml")
    ask = LoopRequest(name=NAME, action="promote", weight_hash=challenger, reason="I read it")
    with pytest.raises(UsageError, match=r"noria review desk\.toml --sign NAME"):
        loop.act(TENANT, ask, "key 1")
    live = world.registry.live(TENANT, NAME)
    assert live is not None and live.weight_hash == world.hashes["a"]
    said = ("writing in the open", "writing for others", "whoever reads it")
    sign_review(world.root, Review(NAME, "Ada", *said, "", 0.0))
    assert loop.act(TENANT, ask, "key 1")["weight_hash"] == challenger


def test_another_tenant_sees_nothing_of_the_loop_and_its_cards(turned: World) -> None:
    (turned.root / "model_card.md").write_text("# secret", encoding="utf-8")
    mine, other = (
        turned.http(turned.key),
        turned.http(turned.new_key("use", "read", "promote", tenant="other")),
    )
    assert mine.get("/v1/loop/cards").json() == {"model": "# secret", "data": None}
    assert other.get("/v1/loop/cards").json() == {"model": None, "data": None}
    (loop,) = other.get("/v1/loop").json()["loops"]
    assert loop["live"] is None and loop["history"] == [] and loop["verdict"] is None
    body = {"name": NAME, "action": "promote", "weight_hash": turned.hashes["b"], "reason": "x"}
    assert other.post("/v1/loop/requests", json=body).status_code == 404
    asked = mine.post("/v1/chat/completions", json=CHAT).json()
    theirs = other.post("/v1/explain", json={"interaction_id": asked["id"]})
    never = other.post("/v1/explain", json={"interaction_id": "chatcmpl-0"})
    assert theirs.status_code == never.status_code == 404 and theirs.json() == never.json()


def test_an_answer_is_explained_by_the_weights_that_gave_it(turned: World) -> None:
    client = turned.http(turned.key)
    asked = client.post("/v1/chat/completions", json=CHAT).json()
    said = client.post("/v1/explain", json={"interaction_id": asked["id"]}).json()
    assert said["weight_hash"] == asked["weight_hash"]
    answer = said["tokens"][said["answer_start"] :]
    assert "".join(one["text"] for one in answer) == "aaaa"
    assert all(one["probability"] > 0.99 and one["alternatives"][0]["chosen"] for one in answer)
    place = answer[-1]["place"]
    seen = client.post("/v1/explain", json={"interaction_id": asked["id"], "token": place}).json()
    assert [len(head) for layer in seen["attention"] for head in layer] == [place]
    for wrong in (0, place + 1):
        body = {"interaction_id": asked["id"], "token": wrong}
        assert client.post("/v1/explain", json=body).status_code == 400
    turned.promote("b")
    turned.wait_for(turned.hashes["b"])
    later = client.post("/v1/explain", json={"interaction_id": asked["id"]})
    assert later.status_code == 409 and later.json()["error"]["code"] == "other_weights"
