"""No request, however odd, brings down the server, a 5xx or an echo; who goes leaves no trace."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from generated_requests import (
    BAD_SCHEMAS,
    ask_by_document,
    ask_by_hand,
    check_reply,
    go_away,
    request_head,
)
from serving_world import NAME, World

from noria.runtime import child_process_ids
from noria.serve.app import OPEN_PATHS
from noria.serve.openapi import operations

NUM_EACH = 5
NUM_BY_HAND = 4_870  # with those by the document 5,000
NUM_GONE = 1_000


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """It answers at once and with nothing, so that every request is cheap."""
    world = World(tmp_path_factory.mktemp("target"))
    world.promote("")
    world.promote_task()
    world.start()
    yield world
    world.close()


def test_the_document_has_every_route_and_the_page_names_it(running: World) -> None:
    client = running.http(running.key)
    document = client.get("/openapi.json").json()
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text and "http" not in page.text.replace("HTTP", "")
    found = {(method, path) for path, method, _ in operations(document)}
    assert ("post", "/v1/chat/completions") in found and ("get", "/metrics") in found
    for path, method, operation in operations(document):
        assert f"<code>{method.upper()} {path}</code>" in page.text
        assert bool(operation["security"]) == (path not in OPEN_PATHS)
        assert "422" not in operation["responses"] and "503" in operation["responses"]
    fields = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert all(f"<code>{field}</code>" in page.text for field in fields)


def test_requests_by_the_document_are_answered_or_refused_as_documented(target: World) -> None:
    found = ask_by_document(target, NUM_EACH, seed=1)
    assert found[200] > 10 and found[400] > 10
    assert target.http().get("/health").status_code == 200


def test_odd_bodies_are_answered_or_refused_as_documented(target: World) -> None:
    found = ask_by_hand(target, NUM_BY_HAND, seed=1)
    assert sum(found.values()) == NUM_BY_HAND
    assert found[200] > 10 and found[400] > 100
    assert target.http().get("/health").status_code == 200


def test_no_form_however_bad_takes_an_answer_or_a_server_for_ever(target: World) -> None:
    client = target.http(target.key)
    statuses = []
    for schema in BAD_SCHEMAS:
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        ask = {"model": NAME, "prompt": "Where?", "max_tokens": 20, "response_format": form}
        for more in ({}, {"stream": True}):
            reply = client.post("/v1/completions", json={**ask, **more})
            check_reply(reply.status_code, reply.content, ask)
            statuses.append(reply.status_code)
    assert statuses.count(400) > len(statuses) / 2 and set(statuses) == {200, 400}
    form = {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}
    said = {"messages": [{"role": "user", "content": "Where?"}], "response_format": form}
    error = client.post("/v1/chat/completions", json={"model": NAME, **said}).json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    assert "JSON schema" in error["message"]


def memory_bytes() -> int:
    """Of this process, which serves, and of its worker."""
    ids = [os.getpid(), *child_process_ids(os.getpid())]
    pages = (int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in ids)
    return sum(pages) * resource.getpagesize()


def test_who_goes_away_frees_every_slot_and_all_memory(world: World) -> None:
    world.promote("a")
    world.start(max_running=2, max_waiting=64)
    go_away(world, 20, seed=0)  # what is allocated once
    world.until(lambda: world.health()["running"] + world.health()["waiting"] == 0, 30)
    before = memory_bytes()
    go_away(world, NUM_GONE, seed=1)
    world.until(lambda: world.health()["running"] + world.health()["waiting"] == 0, 30)
    assert memory_bytes() < before + 30e6
    answer = world.openai().completions.create(model="live", prompt="Where", max_tokens=3)
    assert answer.choices[0].text == "aaa"


def test_a_slow_client_keeps_nobody_waiting(running: World) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    body = json.dumps({"model": "live", "prompt": "Where?", "max_tokens": 2}).encode()
    head = request_head(running, len(body), "Connection: close")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(10)]
    try:
        for place, byte in enumerate(head + body[:-1]):
            if place % 40 == 0:
                time.sleep(0.01)
            for connection in slow:
                connection.sendall(bytes([byte]))
        assert running.health()["running"] == 0  # a place is for whole requests only
        quick = running.openai().completions.create(model="live", prompt="Where", max_tokens=2)
        assert quick.choices[0].text == "aa"
        for connection in slow:
            connection.sendall(body[-1:])
            reply = b""
            while part := connection.recv(65_536):
                reply += part
            assert reply.startswith(b"HTTP/1.1 200") and b'"text":"aa"' in reply.replace(
                b": ", b":"
            )
    finally:
        for connection in slow:
            connection.close()


def test_a_body_that_does_not_come_in_time_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noria.serve.guard.MAX_BODY_S", 0.2)
    world.promote("a")
    world.start()
    host, port = world.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request_head(world, 100) + b'{"model": ')
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")
    # Who sends its body in time may take as long as the answer takes.
    answer = world.openai().completions.create(model="live", prompt="Where", max_tokens=2000)
    assert answer.usage.completion_tokens == 2000
