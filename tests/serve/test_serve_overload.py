"""More requests than places: refused at once, answered fairly, nothing left over."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from serving_world import NAME, World


def test_a_flood_is_answered_or_refused_and_leaves_nothing(world: World) -> None:
    world.promote("a")
    world.start(max_running=2, max_waiting=2)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 150}
    client = world.http(world.key)

    def ask(_: int) -> tuple[int, float]:
        began_at = time.monotonic()
        reply = client.post("/v1/completions", json=body)
        assert reply.status_code == 200 or int(reply.headers["retry-after"]) >= 1
        return reply.status_code, time.monotonic() - began_at

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(ask, range(120)))
    assert {status for status, _ in found} == {200, 429}
    health = world.health()
    assert (health["running"], health["waiting"]) == (0, 0)


def test_one_tenants_flood_does_not_starve_another(world: World) -> None:
    world.promote("a")
    world.promote("b", tenant="other")
    world.start(max_running=1, max_waiting=6)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 250}
    flooding = threading.Event()
    client, statuses = world.http(world.key), []

    def flood() -> None:
        while not flooding.is_set():
            statuses.append(client.post("/v1/completions", json=body).status_code)

    threads = [threading.Thread(target=flood) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        world.until(lambda: 429 in statuses)
        quiet = world.http(world.new_key("use", tenant="other"))
        answers: list[httpx.Response] = []
        for _ in range(3):
            num_before = statuses.count(200)
            answers.append(quiet.post("/v1/completions", json=body))
            # The one that runs, the one whose turn it was, one that ends in the same moment.
            assert statuses.count(200) - num_before <= 3
        assert [one.status_code for one in answers] == [200] * 3
    finally:
        flooding.set()
        for thread in threads:
            thread.join()
    world.until(lambda: world.health()["running"] + world.health()["waiting"] == 0)
