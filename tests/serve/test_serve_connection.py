"""What clients write to the socket that is no good HTTP: refused in shape, or closed in time."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from generated_requests import request_head
from serving_world import NAME, World

BODY = json.dumps({"model": NAME, "prompt": "Where?", "max_tokens": 2}).encode()
CHUNKED = "Transfer-Encoding: chunked"


@contextmanager
def connected(world: World) -> Iterator[socket.socket]:
    host, port = world.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def said_until_closed(connection: socket.socket) -> bytes:
    said = b""
    while part := connection.recv(65_536):
        said += part
    return said


def head_of(world: World, *lines: str, begin: str = "POST /v1/completions HTTP/1.1") -> bytes:
    key = f"Authorization: Bearer {world.key}"
    return "".join(f"{one}\r\n" for one in (begin, "Host: x", key, *lines, "")).encode("latin-1")


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /v1/mod\0els HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_shape_of_all_errors(running: World, sent: bytes) -> None:
    with connected(running) as connection:
        connection.sendall(sent)
        said = said_until_closed(connection)
    head, body = said.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-security-policy: default-src 'none'" in head.lower()
    assert b"connection: close" in head.lower()
    error = json.loads(body)["error"]
    assert error["type"] == "invalid_request_error" and error["code"] == "invalid_http"


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-5\r\n", b"f" * 40 + b"\r\n", b"3\r\n12345\r\n"])
def test_a_body_in_bad_chunks_is_refused_and_the_connection_closed(
    running: World, chunk: bytes
) -> None:
    with connected(running) as connection:
        connection.sendall(head_of(running, CHUNKED) + chunk)
        said = said_until_closed(connection)
    assert said.startswith(b"HTTP/1.1 400") and b'"invalid_http"' in said


def test_a_body_that_breaks_behind_its_refusal_ends_the_connection_quietly(
    running: World, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(running) as connection:
        connection.sendall(head_of(running, CHUNKED, begin="POST /v1/nothing HTTP/1.1"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        connection.sendall(b"zz\r\n")
        assert b"HTTP/1.1" not in said_until_closed(connection)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_a_body_of_two_lengths_is_refused_and_what_follows_it_is_not_read(running: World) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    with connected(running) as connection:
        sent = head_of(running, CHUNKED, f"Content-Length: {len(chunks)}") + chunks
        connection.sendall(sent + head_of(running, begin="GET /health HTTP/1.1"))
        said = said_until_closed(connection)
    assert said.startswith(b"HTTP/1.1 400") and said.count(b"HTTP/1.1") == 1


def test_requests_that_are_sent_at_once_are_answered_in_order(running: World) -> None:
    one = request_head(running, len(BODY)) + BODY
    last = head_of(running, "Connection: close", begin="GET /v1/nothing HTTP/1.1")
    with connected(running) as connection:
        connection.sendall(one * 3 + last)
        said = said_until_closed(connection)
    assert [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3 + [b"404"]


def test_who_asks_before_it_sends_a_body_is_told_to_go_on_or_not(running: World) -> None:
    expects = "Expect: 100-continue"
    with connected(running) as connection:
        connection.sendall(request_head(running, len(BODY), expects, "Connection: close"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert b'"text":"aa"' in said_until_closed(connection)
    with connected(running) as connection:
        length = f"Content-Length: {len(BODY)}"
        nobody = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\n{length}\r\n{expects}\r\n\r\n"
        connection.sendall(nobody.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("name", ["%00", "%0d%0a", "%ff%fe", "%ed%a0%80", "%zz%", "..%2f..%2f"])
def test_names_of_any_bytes_are_not_found(running: World, name: str) -> None:
    for path in (f"/v1/models/{name}", f"/{name}"):
        with connected(running) as connection:
            begin = f"GET {path} HTTP/1.1"
            connection.sendall(head_of(running, "Connection: close", begin=begin))
            said = said_until_closed(connection)
        assert said.startswith(b"HTTP/1.1 404") and name.encode() not in said


def test_a_head_that_does_not_come_in_time_ends_its_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noria.serve.connection.MAX_HEAD_S", 0.3)
    world.promote("a")
    world.start()
    with connected(world) as silent, connected(world) as slow, connected(world) as kept:
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nX-A: ")
        kept.sendall(request_head(world, len(BODY)) + BODY)
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        kept.sendall(b"GET /hea")  # the next on the same connection
        assert said_until_closed(silent) == b""
        for one in (slow, kept):
            said = said_until_closed(one)
            assert b"HTTP/1.1 408" in said and b'"too_slow"' in said
    # Who sent its head in time may take as long as the answer takes.
    answer = world.openai().completions.create(model="live", prompt="Where", max_tokens=2000)
    assert answer.usage is not None and answer.usage.completion_tokens == 2000
