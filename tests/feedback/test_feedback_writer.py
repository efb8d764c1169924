"""Group commit: who waits together is written together, and each hears of its own item only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from noria.errors import NoriaError, StorageError, UsageError
from noria.feedback import writer as writer_module
from noria.feedback.writer import GroupWriter

TIMEOUT_S = 20


class Disk:
    """Notes what was written in one transaction; `slow` makes each take as long as an fsync."""

    def __init__(self) -> None:
        self.transactions: list[tuple[str, tuple[int, ...]]] = []
        self.meet: Callable[[Sequence[int]], None] = lambda items: None

    def store(self, tenant: str, items: Sequence[int]) -> list[int | NoriaError]:
        self.meet(items)
        time.sleep(0.005)
        self.transactions.append((tenant, tuple(items)))
        return [UsageError("odd") if item < 0 else item * 10 for item in items]


def together(work: Callable[[int], object], num: int) -> dict[int, object]:
    """What each of many threads got or met."""
    found: dict[int, object] = {}

    def run(number: int) -> None:
        try:
            found[number] = work(number)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads)
    return found


def test_who_waits_together_shares_a_transaction_of_one_tenant() -> None:
    disk = Disk()
    writer = GroupWriter[int, int](disk.store)
    found = together(lambda n: writer.write("ab"[n % 2], n), 60)
    assert found == {n: n * 10 for n in range(60)}
    assert sorted(item for _, items in disk.transactions for item in items) == list(range(60))
    assert len(disk.transactions) < 40
    assert all({n % 2 for n in items} == {"ab".index(t)} for t, items in disk.transactions)


def test_an_item_that_is_refused_is_refused_alone() -> None:
    writer = GroupWriter[int, int](Disk().store)
    found = together(lambda n: writer.write("a", n if n % 3 else -1 - n), 30)
    assert all(isinstance(found[n], UsageError) == (n % 3 == 0) for n in range(30))


def test_what_fails_a_transaction_fails_alone() -> None:
    disk = Disk()

    def full(items: Sequence[int]) -> None:
        if 7 in items:
            raise StorageError("no space left")

    disk.meet = full
    writer = GroupWriter[int, int](disk.store)
    found = together(lambda n: writer.write("a", n), 30)
    assert isinstance(found.pop(7), StorageError)
    assert found == {n: n * 10 for n in range(30) if n != 7}


def test_a_disk_that_answers_late_is_not_asked_for_each_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "SLOW_S", 0.05)
    disk = Disk()
    num_asked = [0]

    def busy(items: Sequence[int]) -> None:
        num_asked[0] += 1
        time.sleep(0.1)
        raise StorageError("another process has held it")

    disk.meet = busy
    writer = GroupWriter[int, int](disk.store)
    found = together(lambda n: writer.write("a", n), 30)
    assert all(isinstance(one, StorageError) for one in found.values())
    assert num_asked[0] <= 6


def test_a_writer_that_is_interrupted_leaves_nobody_waiting() -> None:
    disk = Disk()

    def interrupted(items: Sequence[int]) -> None:
        if 0 in items:
            raise KeyboardInterrupt

    disk.meet = interrupted
    writer = GroupWriter[int, int](disk.store)
    found = together(lambda n: writer.write("a", n), 20)
    assert isinstance(found[0], KeyboardInterrupt | StorageError)
    assert all(
        one == n * 10 or isinstance(one, StorageError | KeyboardInterrupt)
        for n, one in found.items()
    )
    disk.meet = lambda items: None
    assert together(lambda n: writer.write("a", n + 1), 5) == {n: n * 10 + 10 for n in range(5)}
