"""Rows of many requests through one encoder: those of like length together, on one thread.

In: rows of ids from any thread. Out: for each a future of what the model's head says of it. A step
takes the row that has waited longest, and with it others of like length, whoever asked for them, so
that little of what is computed is padding. A row whose future is cancelled before its step costs
nothing. This module does not know text, labels or what a head is for.
Legend: B rows of a step, T tokens, N numbers that a head says.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from noria.generate.batching import Stopped
from noria.model.headed import HeadedModel

STEP_TOKENS = 4096  # padding counted
LEAST_SHARE = 0.75  # of a step's longest row, that the shortest has
WIDTH_STEP = 8  # so that few shapes come up


@dataclass(frozen=True, eq=False)
class _Waiting:
    ids: Sequence[int]
    scores: Future[Tensor]


@final
class EncoderEngine:
    """One model under its head, and its thread, which begins with the first request."""

    def __init__(self, model: HeadedModel, pad_id: int) -> None:
        self.model = model
        self._pad_id = pad_id
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.num_steps = 0
        self.num_read = 0  # tokens
        self.num_padding = 0

    def submit(self, rows: Sequence[Sequence[int]]) -> list[Future[Tensor]]:
        """Ask what the head says of each row: (N,), or (T, N) of a head for tokens, in float64.

        A future raises what went wrong. Raises Stopped after `close`.
        """
        asked = [_Waiting(row, Future()) for row in rows]
        with self._changed:
            if self._closing:
                raise Stopped("a closed engine", "one that runs", "try again")
            self._waiting.extend(asked)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="noria-encoder", daemon=True)
                self._thread.start()
            self._changed.notify()
        return [one.scores for one in asked]

    def scored(
        self, rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[NDArray[np.int64], Float64[Tensor, "1 ..."]]]:
        """What the head says of each row, with the row's number, in order; waits for it.

        Whoever stops listening cancels the rest.
        """
        futures = self.submit(rows)
        try:
            for number, one in enumerate(futures):
                yield np.array([number]), one.result()[None]
        finally:
            for one in futures:
                one.cancel()

    def close(self) -> None:
        """End what waits with Stopped, and wait for the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                if self._closing:
                    ended, self._waiting = list(self._waiting), deque()
                else:
                    taken = self._taken()
            if self._closing:
                for one in ended:
                    if one.scores.set_running_or_notify_cancel():
                        one.scores.set_exception(Stopped("an engine that was closed"))
                return
            self._step([one for one in taken if one.scores.set_running_or_notify_cancel()])

    def _taken(self) -> list[_Waiting]:
        """The row that waits longest and others of like length, the longest-waiting first."""
        first = len(self._waiting[0].ids)
        shortest = longest = first
        taken: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        for one in self._waiting:
            low, high = min(shortest, len(one.ids)), max(longest, len(one.ids))
            fits = high * (len(taken) + 1) <= STEP_TOKENS and low >= LEAST_SHARE * high
            if not taken or fits:
                shortest, longest = low, high
                taken.append(one)
            else:
                left.append(one)
        self._waiting = left
        return taken

    def _step(self, rows: Sequence[_Waiting]) -> None:
        if not rows:
            return
        try:
            scores = self._read([one.ids for one in rows])
        except Exception as error:  # whoever took part must hear of it; the others go on
            for one in rows:
                one.scores.set_exception(error)
            return
        for one, found in zip(rows, scores, strict=True):
            one.scores.set_result(found)

    @torch.inference_mode()
    def _read(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """A row's scores each. What is padded, and what is said of it, is left out."""
        longest = max(map(len, rows))
        context_tokens = max(longest, self.model.config.context_tokens)
        width = min(-(-longest // WIDTH_STEP) * WIDTH_STEP, context_tokens)
        ids = torch.full((len(rows), width), self._pad_id)
        real = torch.zeros(len(rows), width, dtype=torch.bool)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
            real[at, : len(row)] = True
        device = next(self.model.parameters()).device
        scores = self.model(ids.to(device), real.to(device)).double().cpu()  # (B, N) or (B, T, N)
        self.num_steps += 1
        self.num_read += int(real.sum())
        self.num_padding += real.numel() - int(real.sum())
        if scores.dim() == 2:
            return list(scores)
        return [scores[at, : len(row)] for at, row in enumerate(rows)]
