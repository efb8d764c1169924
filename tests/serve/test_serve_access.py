"""Nothing without a key, nothing of another tenant, nothing malformed, nothing echoed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi.routing import APIRoute
from serving_world import NAME, TENANT, World

from noria.errors import IntegrityError, UnknownName
from noria.serve.app import OPEN_PATHS, create_app
from noria.serve.guard import MAX_BODY_BYTES, SECURITY_HEADERS
from noria.serve.live import LiveModels
from noria.serve.loop_route import Loop
from noria.serve.worker.keeper import Worker

CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 2}
COMPLETION = {"model": NAME, "prompt": "Where?", "max_tokens": 2}
SECRET_TEXT = "my-secret-text-4711"


def routes_of(world: World) -> list[tuple[str, str]]:
    """Every (method, path) of the application that needs a key."""
    worker = Worker()
    models = LiveModels(world.registry, NAME, world.root, worker.load_language_model)
    loop = Loop(world.registry, world.feedback, world.root, TENANT, [NAME])
    app = create_app(
        worker=worker, models=models, keys=world.keys, feedback=world.feedback, loop=loop
    )
    found = [
        (method, route.path)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]
    assert len(found) == len(app.routes)  # one route, one method, nothing mounted
    assert len(found) > len(OPEN_PATHS)
    return [(method, path) for method, path in found if path not in OPEN_PATHS]


def wrong_headers(world: World) -> list[dict[str, str]]:
    """No key, a wrong, a revoked and an expired one, a real one in a wrong place."""
    rights = ("use", "rate", "read", "promote")
    revoked = world.keys.create(TENANT, rights)
    world.keys.revoke(TENANT, revoked.key_id)
    expired = world.keys.create(TENANT, rights, days=1e-9)
    real = world.new_key(*rights)
    changed = real[:-1] + ("A" if real[-1] != "A" else "B")
    wrong = (revoked.secret, expired.secret, changed)
    return [
        {},
        {"Authorization": "Bearer"},
        *({"Authorization": f"Bearer {secret}"} for secret in wrong),
        {"Authorization": f"Basic {real}"},
        {"Authorization": real},
        {"X-Api-Key": real},
        {"Cookie": f"key={real}"},
    ]


def test_every_route_is_closed_without_a_right_key(running: World) -> None:
    num_before = len(running.feedback.interactions(TENANT))
    wrong = wrong_headers(running)
    client = running.http()
    others = [("GET", "/redoc"), ("GET", "/nothing"), ("POST", "/metrics/")]
    for method, path in [*routes_of(running), *others]:
        for headers in wrong:
            answer = client.request(method, path, headers=headers, content=b"{not json")
            assert answer.status_code == 401, (method, path, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"
    assert len(running.feedback.interactions(TENANT)) == num_before


def test_no_route_shows_another_tenant_anything(running: World) -> None:
    weights = running.promote("a")
    mine = running.openai().completions.create(model=NAME, prompt="Where", max_tokens=2)
    client = running.http(running.new_key("use", "rate", "read", "promote", tenant="other"))
    bodies = [CHAT, COMPLETION, {"input": "Where?"}]
    bodies += [{"interaction_id": mine.id, "kind": "thumb", "value": "up"}]
    for method, path in [*routes_of(running), ("GET", "/health")]:
        for name in (mine.id, weights, NAME):
            for body in bodies if method == "POST" else [None]:
                filled = re.sub(r"{\w+}", name, path)
                answer = client.request(method, filled, json=body)
                assert answer.status_code in (200, 400, 404, 503), (method, path)
                assert weights not in answer.text, (method, path)
    assert running.feedback.interactions("other") == running.feedback.feedback("other") == []


def test_every_route_needs_its_right(running: World) -> None:
    needed = {
        "/v1/chat/completions": ("use", CHAT),
        "/v1/completions": ("use", COMPLETION),
        "/v1/embeddings": ("use", {"model": NAME, "input": "Where?"}),
        "/v1/models": ("use", None),
        "/v1/models/{model}": ("use", None),
        "/metrics": ("read", None),
        "/v1/tasks": ("use", None),
        "/v1/tasks/{name}": ("use", {"input": "Where?"}),
        "/v1/feedback": ("rate", {"interaction_id": "x", "kind": "thumb", "value": "up"}),
        "/v1/explain": ("use or read", {"interaction_id": "x"}),
        "/v1/loop": ("read", None),
        "/v1/loop/cards": ("read", None),
        "/v1/loop/requests": ("promote", {"name": "no", "action": "rollback", "reason": "x"}),
    }
    for path in ("/openapi.json", "/docs"):  # any key
        assert running.http(running.new_key("rate")).get(path).status_code == 200
        needed[path] = ("", None)
    for method, path in routes_of(running):
        right, body = needed[path]
        if not right:
            continue
        others = {"use", "rate", "read", "promote"} - set(right.split(" or "))
        answer = running.http(running.new_key(*others)).request(method, path, json=body)
        assert answer.status_code == 403, path
        told = answer.json()["error"]["message"]
        assert all(repr(one) in told for one in right.split(" or "))
        for one in right.split(" or "):
            answer = running.http(running.new_key(one)).request(method, path, json=body)
            assert answer.status_code in (200, 404), path


def test_health_says_more_only_to_those_who_may_read(running: World) -> None:
    weights = running.promote("a")
    others = (running.new_key("use", "rate"), running.new_key("read", tenant="other"))
    for key in (None, "nk-wrong", *others):
        answer = running.http(key).get("/health")
        assert answer.status_code == 200
        assert weights not in answer.text
    assert running.http(running.new_key("read")).get("/health").json()["weight_hash"] == weights


def test_no_route_has_another_spelling(running: World) -> None:
    for path in ("/redoc", "/docs/", "/docs/oauth2-redirect", "/health/", "/v1/models/", "/page/"):
        answer = running.http(running.key).get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


def test_another_tenant_sees_nothing(world: World) -> None:
    world.promote("a")
    theirs = world.promote("b", tenant="other")
    world.start()
    key = world.new_key("use", "rate", "read", tenant="other")
    mine = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=2)
    their_answer = world.openai(key).completions.create(model=NAME, prompt="Where", max_tokens=2)
    assert (mine.choices[0].text, their_answer.choices[0].text) == ("aa", "bb")
    assert their_answer.weight_hash == theirs
    body = {"kind": "thumb", "value": "down"}
    refused = [
        world.http(key).post("/v1/feedback", json={**body, "interaction_id": interaction_id})
        for interaction_id in (mine.id, "cmpl-nobodys")
    ]
    assert [answer.status_code for answer in refused] == [404, 404]
    assert refused[0].content == refused[1].content
    assert world.feedback.feedback(TENANT) == world.feedback.feedback("other") == []
    with pytest.raises(UnknownName):
        world.feedback.find("other", mine.id)


def test_a_tenant_without_a_model_gets_nobody_elses(running: World) -> None:
    key = running.new_key("use", tenant="other")
    with pytest.raises(openai.InternalServerError, match="no model is live"):
        running.openai(key).completions.create(model=NAME, prompt="Where")
    assert running.openai(key).models.list().data == []


def test_a_revoked_key_is_refused_from_then_on(running: World) -> None:
    created = running.keys.create(TENANT, ("use",))
    client = running.openai(created.secret)
    client.completions.create(model=NAME, prompt="Where", max_tokens=2)
    running.keys.revoke(TENANT, created.key_id)
    with pytest.raises(openai.AuthenticationError):
        client.completions.create(model=NAME, prompt="Where", max_tokens=2)


def test_the_model_is_listed_with_its_weights(running: World) -> None:
    weights = running.promote("a")
    (model,) = running.openai().models.list().data
    assert (model.id, model.weight_hash) == (NAME, weights)  # type: ignore[attr-defined]


def test_feedback_is_stored_once_and_durably(world: World, tmp_path: Path) -> None:
    world.promote("a")
    world.start()
    asked = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=2)
    body = {
        "interaction_id": asked.id,
        "kind": "correction",
        "value": "Mail me at jo@example.com. 已送达。",
        "origin": "simulated",
        "user": "jo",
    }
    headers = {"Idempotency-Key": "f-1"}
    client = world.http(world.key)
    answers = [client.post("/v1/feedback", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    other = client.post("/v1/feedback", json={**body, "value": "else"}, headers=headers)
    assert other.status_code == 400
    ((interaction, said),) = world.feedback.corrections(TENANT)
    assert (interaction.id, said.origin) == (asked.id, "simulated")
    assert said.value == "Mail me at [EMAIL]. 已送达。"
    assert (said.person, said.key_id) == (
        world.feedback.pseudonym(TENANT, "jo"),
        world.key.split("-")[1],
    )


BAD: list[tuple[str, Any, str]] = [
    ("/v1/chat/completions", {**CHAT, "n": 9}, "n"),
    ("/v1/chat/completions", {**CHAT, "messages": []}, "messages"),
    ("/v1/chat/completions", {**CHAT, "messages": SECRET_TEXT}, "messages"),
    ("/v1/chat/completions", {**CHAT, "messages": [{"role": SECRET_TEXT, "content": "x"}]}, "role"),
    ("/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": {}}]}, "content"),
    (
        "/v1/chat/completions",
        {**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "content",
    ),
    ("/v1/chat/completions", {**CHAT, "tools": [SECRET_TEXT]}, "tools"),
    ("/v1/chat/completions", {**CHAT, "functions": [SECRET_TEXT]}, "does not have"),
    ("/v1/chat/completions", {**CHAT, "max_tokens": 0}, "max_tokens"),
    ("/v1/chat/completions", {**CHAT, "logit_bias": {SECRET_TEXT: 1}}, "logit_bias"),
    (
        "/v1/chat/completions",
        {**CHAT, "structured_outputs": {"regex": f"({SECRET_TEXT}"}},
        "llguidance",
    ),
    ("/v1/chat/completions", {**CHAT, "structured_outputs": {SECRET_TEXT: 1}}, "field"),
    ("/v1/completions", {**COMPLETION, "temperature": 3}, "temperature"),
    ("/v1/completions", {**COMPLETION, "temperature": SECRET_TEXT}, "temperature"),
    ("/v1/completions", {**COMPLETION, "top_p": 0}, "top_p"),
    ("/v1/completions", {**COMPLETION, "stop": ["a"] * 5}, "stop"),
    ("/v1/completions", {**COMPLETION, "stop": ""}, "stop"),
    ("/v1/completions", {**COMPLETION, "seed": 2**64}, "seed"),
    ("/v1/completions", {**COMPLETION, "prompt": ["a", "b"]}, "prompt"),
    ("/v1/completions", {**COMPLETION, "prompt": None}, "prompt"),
    ("/v1/completions", {**COMPLETION, "logprobs": 6}, "logprobs"),
    ("/v1/completions", {**COMPLETION, "max_tokens": 0}, "echo"),
    ("/v1/completions", {**COMPLETION, SECRET_TEXT: 1}, "does not have"),
    ("/v1/completions", [SECRET_TEXT], "body"),
    ("/v1/feedback", {"interaction_id": "x", "kind": "applause", "value": "up"}, "kind"),
    ("/v1/feedback", {"interaction_id": "x", "kind": "thumb", "value": SECRET_TEXT}, "up, down"),
    ("/v1/feedback", {"interaction_id": "x", "kind": "comment", "value": " "}, "some text"),
    (
        "/v1/feedback",
        {"interaction_id": "x", "kind": "thumb", "value": "up", "tenant": "o"},
        "field",
    ),
]


def test_malformed_requests_are_named_and_not_echoed(running: World) -> None:
    num_before = len(running.feedback.interactions(TENANT))
    client = running.http(running.key)
    for path, body, named in BAD:
        answer = client.post(path, json=body)
        assert answer.status_code == 400, (path, body)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert named in error["message"], (body, error)
        assert SECRET_TEXT not in answer.text and len(answer.content) < 4096
    assert len(running.feedback.interactions(TENANT)) == num_before


BROKEN = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"model": "helpdesk", "prompt": "\\ud83d", "max_tokens": 2}',
    b'{"model": "helpdesk", "prompt": "x", "temperature": NaN}',
    b'{"model": "helpdesk", "prompt": "x", "max_tokens": 1' + b"0" * 5000 + b"}",
    b'{"model": "helpdesk", "prompt": "x", "user": "\\ud83d"}',
]


def test_broken_bodies_are_refused(running: World) -> None:
    client = running.http(running.key)
    for content in BROKEN:
        answer = client.post(
            "/v1/completions", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, content[:80]
        assert len(answer.content) < 4096
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_fields_that_say_as_usual_are_accepted(running: World) -> None:
    answer = running.openai().chat.completions.create(
        model=NAME,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "你好"}]},
        ],
        max_tokens=2,
        n=1,
        frequency_penalty=0,
        presence_penalty=0,
        logprobs=False,
        response_format={"type": "text"},
        seed=7,
        top_p=0.9,
        temperature=0.5,
    )
    assert answer.choices[0].message.content == "aa"
    roles = [m.role for m in running.feedback.find(TENANT, answer.id).messages]
    assert roles == ["system", "user"]


def test_an_unknown_model_is_not_found_and_not_echoed(running: World) -> None:
    answer = running.http(running.key).post(
        "/v1/completions", json={**COMPLETION, "model": SECRET_TEXT}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert SECRET_TEXT not in answer.text


def test_a_body_beyond_the_limit_is_refused(running: World) -> None:
    large = json.dumps({**COMPLETION, "prompt": "x" * MAX_BODY_BYTES}).encode()
    headers = {"Content-Type": "application/json"}
    client = running.http(running.key)
    told = client.post("/v1/completions", content=large, headers=headers)
    assert told.status_code == 413
    parts = iter([large[:700_000], large[700_000:]])
    untold = client.post("/v1/completions", content=parts, headers=headers)
    assert untold.status_code == 413
    assert untold.json()["error"]["type"] == "invalid_request_error"


def test_every_answer_has_safe_headers(running: World) -> None:
    client = running.http(running.key)
    answers: list[httpx.Response] = [
        client.get("/health"),
        client.get("/nothing"),
        client.post("/v1/completions", json=COMPLETION),
        client.post("/v1/completions", json={**COMPLETION, "stream": True}),
        client.post("/v1/completions", content=b"{"),
        client.delete("/v1/models"),
        running.http().get("/v1/models"),
    ]
    assert [a.status_code for a in answers] == [200, 404, 200, 200, 400, 405, 401]
    for answer in answers:
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert "server" not in answer.headers


def test_a_damaged_key_store_is_a_refusal_in_shape(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote("a")
    world.start()

    def damaged(_: str) -> None:
        raise IntegrityError("keys.sqlite is damaged")

    monkeypatch.setattr(world.keys, "check", damaged)
    answer = world.http(world.key).get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "integrity")


def test_an_unexpected_error_tells_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.promote("a")
    world.start()

    def broken(**_: object) -> None:
        raise RuntimeError(SECRET_TEXT)

    monkeypatch.setattr(world.feedback, "record_interaction", broken)
    answer = world.http(world.key).post("/v1/completions", json=COMPLETION)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert SECRET_TEXT not in answer.text and "Traceback" not in answer.text
