"""Forms that take long to be read hold up only who sent them."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from serving_world import NAME, TEXTS, World

from noria.errors import UsageError
from noria.generate.constrain import grammars_of
from noria.generate.forms import call_form, regex_form
from noria.serve.worker.form_check import MAX_NEW_FORMS, Fault, FormReaders, fault_by_process
from noria.serve.worker.messages import TooManyForms, WorkerGone
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.train import train_tokenizer

SOON_S = 20.0  # on a machine with much else to do


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 300, folder, "chatml")
    return load_tokenizer(folder)


class Desk:
    """Readers whose reading ends when the test says so."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.readers = FormReaders(self._fault_of)
        self.read: list[str] = []  # in the order in which reading began
        self._tokenizer = tokenizer
        self._ends = {f"slow{one}": threading.Event() for one in range(MAX_NEW_FORMS)}
        self._threads = ThreadPoolExecutor(32)

    def _fault_of(self, grammars: Sequence[str]) -> Fault | None:
        (grammar,) = grammars
        (word,) = [one for one in ("slow", "quick", "wrong") if one in grammar]
        whole = grammar[grammar.index(word) :].split("/")[0]
        self.read.append(whole)
        if word == "slow":
            assert self._ends[whole].wait(SOON_S)
        return Fault("it is wrong", 0) if word == "wrong" else None

    def check(self, tenant: str, word: str, wanted: threading.Event | None = None) -> Future[None]:
        def is_wanted() -> bool:
            return wanted is None or wanted.is_set()

        form = regex_form(word)
        return self._threads.submit(self.readers.check, tenant, self._tokenizer, form, is_wanted)

    def until(self, num_read: int) -> None:
        end = time.monotonic() + SOON_S
        while len(self.read) < num_read:
            assert time.monotonic() < end, self.read
            time.sleep(0.005)

    def let_go(self, *words: str) -> None:
        for word in words or self._ends:
            self._ends[word].set()


@pytest.fixture
def desk(tokenizer: Tokenizer) -> Iterator[Desk]:
    desk = Desk(tokenizer)
    yield desk
    desk.let_go()


def test_a_form_is_read_while_another_tenants_slow_ones_are(desk: Desk) -> None:
    slow = [desk.check("acme", f"slow{one}") for one in range(MAX_NEW_FORMS)]
    desk.until(1)
    desk.check("beta", "quick").result(SOON_S)
    assert len(desk.read) == 2 and not any(one.done() for one in slow)
    desk.let_go()
    for one in slow:
        one.result(SOON_S)
    assert len(desk.read) == MAX_NEW_FORMS + 1


def test_tenants_take_turns(desk: Desk) -> None:
    first = desk.check("acme", "slow0"), desk.check("gamma", "slow1")
    desk.until(2)
    rest = [desk.check("acme", f"quick{one}") for one in range(3)]
    time.sleep(0.05)
    rest.append(desk.check("beta", "quick9"))
    time.sleep(0.05)
    desk.let_go("slow0")
    for one in rest:
        one.result(SOON_S)
    assert "quick9" in desk.read[2:4], desk.read
    desk.let_go()
    for one in first:
        one.result(SOON_S)


def test_too_many_new_forms_of_a_tenant_are_refused_and_equal_ones_count_once(desk: Desk) -> None:
    taken = [desk.check("acme", "slow0") for _ in range(8)]
    taken += [desk.check("acme", f"slow{one}") for one in range(1, MAX_NEW_FORMS)]
    desk.until(1)
    time.sleep(0.05)
    with pytest.raises(TooManyForms):
        desk.check("acme", "slow9").result(SOON_S)
    desk.let_go()
    for one in taken:
        one.result(SOON_S)
    assert sorted(desk.read) == [f"slow{one}" for one in range(MAX_NEW_FORMS)]
    with pytest.raises(UsageError, match="it is wrong"):
        desk.check("acme", "wrong").result(SOON_S)


def test_a_form_that_nobody_waits_for_is_not_read(desk: Desk) -> None:
    wanted = threading.Event()
    wanted.set()
    first = desk.check("acme", "slow0")
    desk.until(1)
    waiting = desk.check("acme", "slow1", wanted)
    time.sleep(0.05)
    assert not waiting.done()
    wanted.clear()
    desk.readers.look_again()
    waiting.result(SOON_S)
    desk.let_go()
    first.result(SOON_S)
    assert desk.read == ["slow0"]


SMALL = {"type": "object", "properties": {"n": {"type": "integer"}}}
ENDLESS = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
SLOW = {
    "type": "object",
    "required": ["s"],
    "properties": {
        "s": {
            "type": "string",
            "allOf": [{"pattern": f"(a|b)*a(a|b){{{one}}}$"} for one in range(10, 40)],
        }
    },
}


@pytest.mark.parametrize(
    ("schemas", "place"),
    [([SMALL, SMALL], None), ([SMALL, ENDLESS, SMALL], 1), ([SMALL, SMALL, SLOW, ENDLESS], 2)],
)
def test_the_function_whose_schema_can_not_be_read_is_found(
    tokenizer: Tokenizer, schemas: list[dict[str, Any]], place: int | None
) -> None:
    form = call_form({f"f{number}": one for number, one in enumerate(schemas)}, must=False)
    fault = fault_by_process(grammars_of(tokenizer, form))
    assert (None if fault is None else fault.place) == place


def test_a_reader_that_can_not_begin_is_no_fault_of_the_form(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers, form = FormReaders(), regex_form("a{3}")
    with monkeypatch.context() as patch, pytest.raises(WorkerGone):
        patch.setattr(sys, "executable", "/bin/false")
        readers.check("acme", tokenizer, form, lambda: True)
    readers.check("acme", tokenizer, form, lambda: True)


def test_a_chat_hears_which_function_it_is(world: World) -> None:
    world.promote("a")
    world.start()
    tools = [
        {"type": "function", "function": {"name": f"secret{number}", "parameters": one}}
        for number, one in enumerate([SMALL, SMALL, ENDLESS])
    ]
    body = {"model": NAME, "messages": [{"role": "user", "content": "Where?"}], "tools": tools}
    refused = world.http(world.key).post("/v1/chat/completions", json=body)
    assert refused.status_code == 400
    assert "function 3 of the 3 that may be called" in refused.json()["error"]["message"]
    assert "secret" not in refused.text


def asking_for(pattern: str, **schema: Any) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern, **schema}
    form = {"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}
    messages = [{"role": "user", "content": "Where is it?"}]
    return {"model": NAME, "messages": messages, "max_tokens": 4, "response_format": form}


def slow(number: int) -> dict[str, Any]:
    """Patterns that must all hold: reading them takes minutes, if it is let."""
    every = [{"pattern": f"(a|b)*a(a|b){{{one}}}$"} for one in range(10 + number, 40)]
    return asking_for("a+", allOf=every)


async def flooded(url: str, floods: str, asks: str) -> tuple[httpx.Response, httpx.Response, int]:
    """What one key hears first of a flood of slow forms, what another hears meanwhile of a usual
    form, and how many of the flood wait then."""
    path = f"{url}/v1/chat/completions"
    async with httpx.AsyncClient(timeout=60) as client:

        def ask(key: str, body: dict[str, Any]) -> asyncio.Task[httpx.Response]:
            headers = {"Authorization": f"Bearer {key}"}
            return asyncio.create_task(client.post(path, json=body, headers=headers))

        flood = [ask(floods, slow(number)) for number in range(MAX_NEW_FORMS + 1)]
        await asyncio.wait(flood, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        (first,) = [one.result() for one in flood if one.done()]
        answer = await ask(asks, asking_for("a{3}"))
        waiting = [one for one in flood if not one.done()]
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return first, answer, len(waiting)


def test_over_http_slow_forms_hold_up_who_sent_them(world: World) -> None:
    world.promote("a")
    world.promote("a", tenant="beta")
    world.start(max_running=8)
    asked_at = time.monotonic()
    keys = world.key, world.new_key("use", tenant="beta")
    first, answer, num_waiting = asyncio.run(flooded(world.url, *keys))
    assert time.monotonic() - asked_at < SOON_S
    assert answer.status_code == 200 and num_waiting >= MAX_NEW_FORMS - 1
    assert first.status_code == 429 and int(first.headers["retry-after"]) > 0
    assert first.json()["error"]["code"] == "forms"
    world.until(lambda: world.health()["running"] == 0)
