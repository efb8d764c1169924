"""Requests that nobody would send by hand, and what every reply to them has to hold."""

from __future__ import annotations

import json
import socket
import string
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Any

import hypothesis
import schemathesis
from requests import Session
from schemathesis.generation.modes import GenerationMode
from serving_world import NAME, TASK, World
from urllib3 import HTTPConnectionPool

MAX_ERROR_BYTES = 4096
NUM_AT_ONCE = 8  # clients that go away
PATIENCE_S = 120.0  # of a client; on a machine with much else to do the server may get no turn
MIN_ECHO = 12  # shorter texts of a request may stand in a message by chance
DOCUMENTED = (200, 400, 401, 403, 404, 405, 408, 409, 413, 429, 503)
# What a message may say by itself, whatever was sent.
OWN_WORDS = (
    *(NAME, TASK, "chat.completion", "text_completion", "/v1/chat/completions"),
    "idempotency-key",  # a header's name, which hypothesis finds among the words of our source
)


def texts_in(value: Any) -> Iterator[str]:
    """Every string in a JSON value, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)


def check_reply(status: int, content: bytes, sent: Any) -> None:
    """Raise AssertionError for a reply that no request may bring."""
    assert status in DOCUMENTED, (status, content[:300])
    if status == 200:
        return
    assert len(content) < MAX_ERROR_BYTES
    if not content:
        return
    error = json.loads(content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    told = json.dumps(error, ensure_ascii=False)
    known = " ".join(OWN_WORDS)
    for text in texts_in(sent):
        if len(text) >= MIN_ECHO and text not in known and not text.isidentifier():
            assert text not in told, (text, told)


def ask_by_document(world: World, num_each: int, seed: int) -> Counter[int]:
    """Ask every route so often what fits its schema, and as often what does not."""
    document = world.http(world.key).get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    found: Counter[int] = Counter()
    random = Random(seed)
    headers = {"Authorization": f"Bearer {world.key}"}
    with Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @hypothesis.seed(seed)
                @hypothesis.settings(
                    max_examples=num_each,
                    database=None,
                    deadline=None,
                    phases=[hypothesis.Phase.generate],
                    suppress_health_check=list(hypothesis.HealthCheck),
                )
                @hypothesis.given(case=operation.as_strategy(mode))
                def ask(case: Any) -> None:
                    if isinstance(case.body, dict) and "model" in case.body:
                        case.body["model"] = random.choice((NAME, "live", case.body["model"]))
                    if case.path_parameters:
                        name = random.choice((TASK, NAME, None))
                        case.path_parameters = {
                            key: name or value for key, value in case.path_parameters.items()
                        }
                    reply = case.call(
                        base_url=world.url, session=session, headers=headers, timeout=PATIENCE_S
                    )
                    found[reply.status_code] += 1
                    sent = case.body if isinstance(case.body, (dict, list, str)) else None
                    check_reply(reply.status_code, reply.content, sent)

                try:
                    ask()
                except hypothesis.errors.Unsatisfiable:
                    assert mode is GenerationMode.NEGATIVE  # nothing can be wrong with it
    return found


def deep(random: Random, depth: int) -> bytes:
    """Lists and objects in each other, closed or not."""
    opened = random.choices([b"[", b'{"a":'], k=depth)
    closing = b"".join(b"]" if one == b"[" else b"}" for one in reversed(opened))
    return b"".join(opened) + b"1" + (closing if random.random() < 0.7 else b"")


ASKED: dict[str, dict[str, Any]] = {
    "completions": {"model": NAME, "max_tokens": 2, "prompt": "Where?"},
    "chat/completions": {"model": NAME, "messages": [{"role": "user", "content": "Where?"}]},
    "embeddings": {"model": "live", "input": ["Where?"]},
    f"tasks/{TASK}": {"input": ["Where?"]},
    "feedback": {"interaction_id": "x", "kind": "comment", "value": "y"},
}


def nested(depth: int) -> dict[str, Any]:
    """A schema in a schema in a schema."""
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


# That no text has, that never end, that are too large to be read, or only look so.
BAD_SCHEMAS: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"$ref": "#/nowhere"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"anyOf": [{"$ref": "#"}]},
    {"allOf": [{"$ref": "#"}, {"type": "object"}]},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    {"type": "array", "minItems": 10**12},
    {"enum": [f"value {one}" for one in range(3000)]},
    {"type": "object", "properties": {f"p{one}": {"type": "null"} for one in range(3000)}},
    {"type": "string", "pattern": "^(((((a{50}){50}){50}){50}){50})$"},
    {"type": "string", "allOf": [{"pattern": f"(a|b)*a(a|b){{{n}}}$"} for n in range(10, 40)]},
    {"type": "integer", "multipleOf": 99_999_989},
    nested(100),
    nested(450),
]


def odd_body(random: Random, base: dict[str, Any]) -> bytes:
    """A request made malformed or extreme, now and then not at all."""
    base = dict(base)
    extremes = [float("nan"), float("inf"), -1, 2**31, 2**63, 2**200, 1e308, -0.0, "", [], {}, None]
    extremes += ["\ud83d", "\x00", "a" * 20_000, ["\udc00"] * 5, [[]] * 50, {"": {"": []}}, True]
    fields = ["n", "logprobs", "top_logprobs", "max_tokens", "temperature", "top_p", "seed", "stop"]
    fields += ["prompt", "messages", "input", "user", "stream", "stream_options", "model", "value"]
    fields += ["response_format", "tools", "logit_bias", "echo", "kind", "min_p", "top_k"]
    fields += ["structured_outputs"]
    schema = {"type": "object", "properties": {"a": {"pattern": "(((((a+)+)+)+)+)$"}}}
    extremes += [{"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}]
    bad = random.choice(BAD_SCHEMAS)
    extremes += [{"type": "json_schema", "json_schema": {"schema": bad}}, {"json": bad}]
    extremes += [{"regex": "((((a{50}){50}){50}){50}){50}"}, {"choice": ["\ud800", "\x00"]}]
    fields += ["tool_choice", "parallel_tool_calls", "tools", "messages"]
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    called = {"id": "c", "function": {"name": "f", "arguments": random.choice(['{"a": "b"}', "{"])}}
    told = {"role": "assistant", "tool_calls": [called] * random.randrange(3)}
    brought = {"role": "tool", "tool_call_id": "c", "content": "\x00"}
    extremes += [[tool], [tool] * 200, "required", {"type": "function", "function": {"name": "f"}}]
    extremes += [[{"role": "user", "content": "a"}, told, brought], [brought, told]]
    for _ in range(random.randrange(4)):
        base[random.choice(fields)] = random.choice(extremes)
    if random.random() < 0.2:
        base["".join(random.choices(string.ascii_letters, k=30))] = 1
    body = json.dumps(base).encode()
    match random.randrange(8):
        case 0:
            return body[: random.randrange(len(body))]
        case 1:
            place = random.randrange(len(body))
            return body[:place] + bytes([random.randrange(256)]) + body[place + 1 :]
        case 2:
            return deep(random, random.choice([10, 1000, 50_000]))
        case 3:
            return body.replace(b"2", random.choice([b"1e999", b"9" * 5000, b"-", b"0x10"]), 1)
    return body


def ask_by_hand(world: World, num_requests: int, seed: int) -> Counter[int]:
    """Malformed, deep, huge and odd bodies to every route that takes one."""
    random = Random(seed)
    found: Counter[int] = Counter()
    host, port = world.url.removeprefix("http://").split(":")
    # Not httpx, which takes as long for a request as the server does.
    client = HTTPConnectionPool(host, int(port), timeout=PATIENCE_S, retries=False)
    for _ in range(num_requests):
        path = random.choice(list(ASKED))
        body = odd_body(
            random, ASKED[path if random.random() < 0.8 else random.choice(list(ASKED))]
        )
        kind = random.choice(["application/json"] * 8 + ["text/plain", "", "a/b; charset=\xff"])
        headers = {"Content-Type": kind, "Authorization": f"Bearer {world.key}"}
        reply = client.request("POST", f"/v1/{path}", body=body, headers=headers)
        found[reply.status] += 1
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            sent = None
        check_reply(reply.status, reply.data, sent)
    client.close()
    return found


def request_head(world: World, num_bytes: int, *more: str) -> bytes:
    """The head of a request for a completion, for clients that write to the socket themselves."""
    lines = (
        "POST /v1/completions HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {world.key}",
        "Content-Type: application/json",
        f"Content-Length: {num_bytes}",
        *more,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def go_away(world: World, num_clients: int, seed: int) -> None:
    """Clients that send a part, all of a request, or read a part of the answer, and are gone."""
    with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
        for _ in pool.map(lambda number: _one_goes_away(world, seed, number), range(num_clients)):
            pass


def _one_goes_away(world: World, seed: int, number: int) -> None:
    random = Random(f"{seed} {number}")
    host, port = world.url.removeprefix("http://").split(":")
    ask = {"model": NAME, "prompt": "Where?", "max_tokens": 3000, "stream": random.random() < 0.7}
    body = json.dumps(ask).encode()
    head = request_head(world, len(body))
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        how = random.randrange(5)
        if how == 0:
            connection.sendall((head + body)[: random.randrange(len(head) + len(body))])
            return
        connection.sendall(head + body)
        if how == 1:
            connection.shutdown(socket.SHUT_WR)  # half closed: it may still read
        else:
            connection.settimeout(0.05)
            with suppress(TimeoutError, ConnectionError):
                connection.recv(random.choice([1, 200, 4000]))
