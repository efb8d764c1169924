"""Places and the queue: in order, never more than allowed, nothing lost when somebody goes."""

from __future__ import annotations

import asyncio

import pytest

from noria.errors import UsageError
from noria.serve.admission import MAX_RETRY_AFTER_S, Admission, Busy


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
