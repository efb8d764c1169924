"""The next batch is made while the model computes this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, final


@final
class Prefetch:
    """Batches by their step, each made one step ahead in a thread of its own.

    It makes no difference to what a step sees: a batch is a function of its number.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1)
        self._coming: dict[int, Future[Any]] = {}

    def batch(self, step: int) -> Any:
        """The batch of a step; raises what making it raised."""
        coming = self._coming.get(step) or self._thread.submit(self._make, step)
        self._coming = {step + 1: self._thread.submit(self._make, step + 1)}
        return coming.result()

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
