"""Places and the queue: in order, never more than allowed, nothing lost when somebody goes."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from noria.errors import UsageError
from noria.serve.admission import (
    MAX_RETRY_AFTER_S,
    Admission,
    Busy,
    Draining,
    Overdue,
    Place,
)


def test_never_more_run_than_places_and_all_get_their_turn_in_order() -> None:
    async def story() -> tuple[int, list[int]]:
        admission = Admission(2, 10)
        order: list[int] = []
        most = 0

        async def one(number: int) -> None:
            nonlocal most
            place = await admission.enter()
            order.append(number)
            most = max(most, admission.num_running)
            await asyncio.sleep(0.001)
            place.leave()
            place.leave()  # a second time changes nothing

        await asyncio.gather(*(one(number) for number in range(9)))
        assert (admission.num_running, admission.num_waiting) == (0, 0)
        return most, order

    assert asyncio.run(story()) == (2, list(range(9)))


def test_beyond_the_queue_nobody_waits() -> None:
    async def story() -> None:
        admission = Admission(1, 1)
        place = await admission.enter()
        waiting = asyncio.create_task(admission.enter())
        await asyncio.sleep(0)
        with pytest.raises(Busy) as sent_away:
            await admission.enter()
        assert 1 <= sent_away.value.retry_after_s <= MAX_RETRY_AFTER_S
        place.leave()
        (await waiting).leave()
        (await admission.enter()).leave()

    asyncio.run(story())


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_one_who_goes_while_waiting_leaves_no_gap(turns: int) -> None:
    async def story() -> None:
        admission = Admission(1, 2)
        place = await admission.enter()
        goes = asyncio.create_task(admission.enter())
        stays = asyncio.create_task(admission.enter())
        await asyncio.sleep(0)
        if turns == 1:
            place.leave()  # its turn comes in the moment in which it goes
        goes.cancel()
        if turns == 2:
            await asyncio.sleep(0)
        place.leave()
        (await asyncio.wait_for(stays, 5)).leave()
        await asyncio.gather(goes, return_exceptions=True)
        assert goes.cancelled()
        (await asyncio.wait_for(admission.enter(), 5)).leave()
        assert (admission.num_running, admission.num_waiting) == (0, 0)

    asyncio.run(story())


def test_impossible_limits_are_refused() -> None:
    for places, waiting in ((0, 1), (1, -1)):
        with pytest.raises(UsageError):
            Admission(places, waiting)
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError):
            Admission(1, 1, seconds)


async def tenants_served(admission: Admission, tenants: str) -> list[str]:
    """Who gets the one place in which order, when all of these came while it was taken."""
    order: list[str] = []

    async def one(tenant: str) -> None:
        try:
            place = await admission.enter(tenant)
        except Busy:
            order.append(tenant.upper())
            return
        order.append(tenant)
        place.leave()

    held = await admission.enter("z")
    tasks = []
    for tenant in tenants:
        tasks.append(asyncio.create_task(one(tenant)))
        await asyncio.sleep(0)
    held.leave()
    await asyncio.gather(*tasks)
    assert (admission.num_running, admission.num_waiting) == (0, 0)
    assert not admission._queues and not admission._running
    return order


def test_tenants_take_turns() -> None:
    order = asyncio.run(tenants_served(Admission(1, 10), "aaaabcb"))
    assert order == list("abcabaa")


def test_a_flood_gives_way_in_a_full_queue() -> None:
    # The queue of four is full of a; b pushes the newest a out, twice; then shares are equal.
    order = asyncio.run(tenants_served(Admission(1, 4), "aaaaabbb"))
    assert order == [*"AAAB", *"abab"]


def test_who_has_the_fewest_running_is_next() -> None:
    async def story() -> str:
        admission = Admission(2, 8)
        places = {"a": await admission.enter("a"), "b": await admission.enter("b")}
        began: list[str] = []

        async def one(tenant: str) -> Place:
            place = await admission.enter(tenant)
            began.append(tenant)
            return place

        waiting = [asyncio.create_task(one(tenant)) for tenant in "ab"]
        await asyncio.sleep(0)
        places["b"].leave()
        await asyncio.sleep(0)
        places["a"].leave()
        for place in await asyncio.gather(*waiting):
            place.leave()
        return "".join(began)

    assert asyncio.run(story()) == "ba"


def test_nobody_waits_longer_than_allowed() -> None:
    async def story() -> None:
        admission = Admission(1, 2, max_wait_s=0.02)
        place = await admission.enter()
        with pytest.raises(Overdue):
            await admission.enter()
        assert admission.num_waiting == 0
        place.leave()
        (await admission.enter()).leave()

    asyncio.run(story())


def test_a_draining_queue_begins_what_waits_and_nothing_new() -> None:
    async def story() -> None:
        admission = Admission(1, 2)
        place = await admission.enter()
        waiting = asyncio.create_task(admission.enter())
        await asyncio.sleep(0)
        admission.draining = True
        with pytest.raises(Draining):
            await admission.enter()
        place.leave()
        (await waiting).leave()

    asyncio.run(story())


def test_no_place_is_lost_in_any_order_of_coming_and_going() -> None:
    async def story(random: Random) -> None:
        admission = Admission(3, 6, max_wait_s=0.004)

        async def one(tenant: str) -> None:
            try:
                place = await admission.enter(tenant)
            except (Busy, Overdue):
                return
            try:
                await asyncio.sleep(random.random() * 0.003)
            finally:
                place.leave()

        tasks = []
        for _ in range(300):
            tasks.append(asyncio.create_task(one(random.choice("abc"))))
            if random.random() < 0.3:
                random.choice(tasks).cancel()
            if random.random() < 0.3:
                await asyncio.sleep(random.random() * 0.002)
            assert 0 <= admission.num_running <= 3 and 0 <= admission.num_waiting <= 6
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.num_running, admission.num_waiting) == (0, 0)
        assert not admission._queues and not admission._running

    for seed in range(5):
        asyncio.run(story(Random(seed)))
