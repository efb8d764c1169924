"""Encoders in an engine: rows of many requests together, each read as it is alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait

import numpy as np
import pytest
import torch
from torch import Tensor

from noria.generate.batching import Stopped
from noria.generate.encoding import EncoderEngine
from noria.generate.engines import Engines
from noria.model.headed import HeadedModel, build_headed_model
from noria.model.heads import HeadConfig
from noria.model.presets import preset

PAD = 0


def encoder(kind: str) -> HeadedModel:
    config = preset("encoder-1m", 300, 64)
    model = build_headed_model(
        config, HeadConfig(kind, 3) if kind != "vector" else HeadConfig(kind), 1
    )
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 2.0 / weight.shape[1] ** 0.5, generator=chance)
    return model.eval()


def some_rows(num: int, seed: int) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [chance.integers(4, 300, chance.integers(1, 65)).tolist() for _ in range(num)]


@torch.inference_mode()
def alone(model: HeadedModel, row: list[int]) -> Tensor:
    ids = torch.tensor([row])
    return model(ids, torch.ones_like(ids, dtype=torch.bool))[0].double()


@pytest.mark.parametrize("kind", ["sequence", "token", "vector"])
def test_each_row_is_read_as_alone_whoever_asks_beside_it(kind: str) -> None:
    model = encoder(kind)
    engine = EncoderEngine(model, PAD)
    found: dict[int, list[Tensor]] = {}

    def ask(seed: int) -> None:
        found[seed] = [one.result() for one in engine.submit(some_rows(20, seed))]

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    engine.close()
    for seed, scores in found.items():
        for row, one in zip(some_rows(20, seed), scores, strict=True):
            wanted = alone(model, row)
            assert one.shape == wanted.shape
            torch.testing.assert_close(one, wanted, rtol=0, atol=1e-4)
    assert len(found) == 4
    assert engine.num_read == sum(len(row) for seed in range(4) for row in some_rows(20, seed))


class Held:
    """An engine whose steps wait to be let go; the first has begun."""

    def __init__(self, model: HeadedModel) -> None:
        self.engine = EncoderEngine(model, PAD)
        self.batches: list[list[int]] = []
        self.go, self.begun = threading.Semaphore(0), threading.Event()
        whole = self.engine._read

        def read(rows):  # type: ignore[no-untyped-def]
            self.batches.append([len(row) for row in rows])
            self.begun.set()
            assert self.go.acquire(timeout=30)
            return whole(rows)

        self.engine._read = read  # type: ignore[method-assign]
        self.first = self.engine.submit([[5]])
        assert self.begun.wait(30)

    def finish(self, futures: list[Future[Tensor]]) -> None:
        self.go.release(100)
        wait(futures, 30)
        self.engine.close()


def test_rows_of_like_length_share_a_step_and_the_oldest_is_never_passed_over() -> None:
    held = Held(encoder("sequence"))
    futures = [
        one for length in (40, 8, 42, 8, 10, 64, 50) for one in held.engine.submit([[5] * length])
    ]
    held.finish(futures)
    assert held.batches == [[1], [40, 42, 50], [8, 8, 10], [64]]


def test_a_cancelled_row_is_never_read_and_the_others_are() -> None:
    held = Held(encoder("sequence"))
    unwanted, wanted = held.engine.submit([[5] * 20, [6] * 20])
    unwanted.cancel()
    held.finish([wanted])
    assert held.batches == [[1], [20]]
    assert wanted.result().shape == (3,)


def test_who_stops_listening_cancels_what_is_not_read_yet() -> None:
    held = Held(encoder("sequence"))
    heard = held.engine.scored([[100_000] * 20, [5] * 50, [5] * 8])

    def listen() -> None:
        with pytest.raises(IndexError):
            next(heard)

    reader = threading.Thread(target=listen)
    reader.start()
    while len(held.engine._waiting) < 3:
        time.sleep(0.001)
    held.go.release(2)  # the first, and the one that breaks off
    reader.join(30)
    held.finish(held.engine.submit([[5] * 30]))
    assert held.batches == [[1], [20], [50], [30]]


def test_an_error_reaches_those_that_it_meets_and_no_others() -> None:
    engine = EncoderEngine(encoder("sequence"), PAD)
    broken, whole = engine.submit([[100_000], [5] * 30])
    with pytest.raises(IndexError):
        broken.result(30)
    assert whole.result(30).shape == (3,)
    engine.close()


def test_a_closed_engine_says_so() -> None:
    held = Held(encoder("sequence"))
    (waiting,) = held.engine.submit([[5] * 20])
    closing = threading.Thread(target=held.engine.close)
    closing.start()
    while not held.engine._closing:
        time.sleep(0.001)
    held.go.release(100)
    closing.join(30)
    with pytest.raises(Stopped):
        waiting.result(30)
    with pytest.raises(Stopped):
        held.engine.submit([[5]])


def test_engines_keep_one_for_each_encoder_until_it_is_dropped() -> None:
    engines, model = Engines(), encoder("sequence")
    engine = engines.encoder(model, PAD)
    assert engines.encoder(model, PAD) is engine
    engines.drop(model)
    with pytest.raises(Stopped):
        engine.submit([[5]])
    assert engines.encoder(model, PAD) is not engine
    engines.close()
