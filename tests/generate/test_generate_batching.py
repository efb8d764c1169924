"""Continuous batching: each request gets what it gets alone, whoever comes and goes beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from arrivals import CONTEXT_TOKENS, TOLERANCE, Tally, play, shapes, talker

from noria.errors import IntegrityError, UsageError
from noria.generate import blocks, sequences
from noria.generate.batching import Engine, EngineSettings, Stopped
from noria.generate.blocks import bytes_per_block
from noria.generate.engine import generate_tokens
from noria.generate.engines import Engines
from noria.generate.kernels import RaggedStep
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.generate.schedule import Schedule

PATTERNS = 3  # a shape; prove/ plays 300
LONG = Sampling(temperature=0, max_tokens=60, logit_bias=((0, -100.0),))  # 0 would end it


@pytest.fixture(scope="module")
def model(plain: LanguageModel) -> LanguageModel:
    return talker(plain, "llama", 1)


@contextmanager
def running(model: LanguageModel, settings: EngineSettings | None = None) -> Iterator[Engine]:
    engine = Engine(model, settings)
    try:
        yield engine
    finally:
        engine.close()


def heard(
    engine: Engine, model: LanguageModel, prompt: list[int], sampling: Sampling, tenant: str = ""
) -> list[int]:
    return [one.token_id for one in engine.submit(model, prompt, sampling, tenant)]


@pytest.mark.parametrize("shape", list(shapes(300)))
@pytest.mark.parametrize("shares", [True, False])
def test_each_request_gets_the_tokens_that_it_gets_alone(
    plain: LanguageModel, shape: str, shares: bool
) -> None:
    models = [talker(plain, shape, 1), talker(plain, shape, 2)]
    tally = Tally()
    for seed in range(PATTERNS):
        tally.add(play(models, seed, shares=shares))
    print(f"{tally.num_tokens} tokens, {len(tally.near)} differences within {TOLERANCE}")
    assert tally.far == []
    assert tally.num_tokens > 100
    assert bool(tally.num_shared) == shares


@pytest.mark.parametrize("mistake", ["names without content", "one token too far"])
def test_the_comparison_sees_a_mistake(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    if mistake == "names without content":
        monkeypatch.setattr(
            sequences, "block_name", lambda parent, _: blocks.block_name(parent, [])
        )
    else:
        near = RaggedStep._seen
        monkeypatch.setattr(RaggedStep, "_seen", lambda self, a, b: near(self, a + 1, b))
    tally = Tally()
    for seed in range(6):
        tally.add(play([model], seed, shares=True))
    assert tally.far


@pytest.mark.parametrize("quantization", ["int8", "int8-dynamic"])
def test_int8_weights_are_batched_alike(plain: LanguageModel, quantization: str) -> None:
    models = [talker(plain, "llama", seed, quantization) for seed in (1, 2)]
    tally = play(models, 5, shares=True, num_requests=20)
    assert tally.far == [] and tally.num_tokens > 60


def test_a_beginning_is_read_once_within_a_tenant_and_never_across(model: LanguageModel) -> None:
    prompt = list(range(5, 45))
    few = Sampling(temperature=0, max_tokens=1)
    with running(model, EngineSettings(block_tokens=8)) as engine:
        heard(engine, model, prompt, few, "a")
        assert engine.state.num_shared == 0
        heard(engine, model, prompt, few, "b")
        assert engine.state.num_shared == 0
        heard(engine, model, prompt, few, "a")
        assert engine.state.num_shared == 32  # whole blocks, and one token at least is read
        heard(engine, model, [*prompt[:20], 7, 7], few, "b")
        assert engine.state.num_shared == 32 + 16
        heard(engine, model, [4, *prompt], few, "a")
        assert engine.state.num_shared == 32 + 16


def test_requests_that_come_together_read_their_beginning_once(model: LanguageModel) -> None:
    prompt = list(range(5, 69))
    settings = EngineSettings(block_tokens=8, prompt_tokens=16)
    with running(model, settings) as engine:
        streams = [
            engine.submit(model, [*prompt, number], Sampling(temperature=0, max_tokens=2), "a")
            for number in range(5, 9)
        ]
        for stream in streams:
            assert len(list(stream)) == 2
        assert engine.state.num_shared == 3 * 64


def test_what_was_written_is_a_beginning_too(model: LanguageModel) -> None:
    with running(model, EngineSettings(block_tokens=8)) as engine:
        first = heard(engine, model, [5, 6, 7], replace(LONG, max_tokens=30), "a")
        heard(engine, model, [5, 6, 7, *first, 9], LONG, "a")
        assert engine.state.num_shared == 32


def test_a_cancelled_request_is_forgotten_before_the_next_step(model: LanguageModel) -> None:
    with running(model) as engine:
        stream = engine.submit(model, [5, 6, 7], LONG)
        tokens = iter(stream)
        next(tokens)
        stream.cancel()
        at_cancel = engine.state.num_steps
        list(tokens)
        assert engine.state.num_steps <= at_cancel + 1  # the one that was under way
        assert engine.state.num_blocks_read == 0
        waiting = engine.submit(model, [5] * 40, LONG)
        waiting.cancel()
        assert len(list(waiting)) <= 1


def test_a_long_prompt_does_not_stall_who_is_drawing(model: LanguageModel) -> None:
    settings = EngineSettings(prompt_tokens_beside=4, shares_prefixes=False)
    with running(model, settings) as engine:
        tokens = iter(engine.submit(model, [5], LONG))
        next(tokens)
        long = engine.submit(model, list(range(5, 65)), replace(LONG, max_tokens=1))
        at_first = engine.state.num_steps
        reader = threading.Thread(target=lambda: list(long))
        reader.start()
        reader.join(30)
        num_steps = engine.state.num_steps
        drawn = engine.state.num_drawn
        list(tokens)
    assert num_steps - at_first >= 60 // 4 - 1  # piece by piece …
    assert drawn >= num_steps - 2  # … and the other drew a token at every step


def test_when_blocks_run_out_the_youngest_waits_and_its_answer_is_the_same(
    model: LanguageModel,
) -> None:
    size = 8
    budget = CONTEXT_TOKENS // size * bytes_per_block(model.model.config, size, torch.float32)
    settings = EngineSettings(cache_bytes=budget, block_tokens=size, shares_prefixes=False)
    prompts = [[number, number + 1] for number in range(5, 11)]
    with running(model, settings) as engine:
        streams = [engine.submit(model, prompt, LONG) for prompt in prompts]
        found = [[one.token_id for one in stream] for stream in streams]
        read = engine.state.num_read
    assert found == [list(generate_tokens(model, prompt, LONG)) for prompt in prompts]
    assert read > sum(2 + len(one) - 1 for one in found)  # some was read again


def test_a_swap_leaves_an_answer_with_the_weights_that_it_began_with(plain: LanguageModel) -> None:
    old, new = (talker(plain, "llama", seed) for seed in (1, 2))
    engines = Engines()
    engine = engines.of(old)
    tokens = iter(engine.submit(old, [5, 6], LONG))
    begun = [next(tokens).token_id]
    meanwhile = heard(engines.of(new), new, [5, 6], LONG)
    assert engines.of(new) is not engine
    assert begun + [one.token_id for one in tokens] == list(generate_tokens(old, [5, 6], LONG))
    assert meanwhile == list(generate_tokens(new, [5, 6], LONG)) != begun
    engines.drop(old)
    assert [one.base for one in engines.open] == [new.model]
    with pytest.raises(Stopped):
        engine.submit(old, [5], LONG)
    with pytest.raises(UsageError, match="over another base"):
        engine.submit(new, [5], LONG)
    engines.close()


def test_an_error_ends_those_that_it_meets_and_no_others(model: LanguageModel) -> None:
    with running(model) as engine:
        whole = engine._read

        def failing(turns):  # type: ignore[no-untyped-def]
            return whole(turns) * float("nan")

        engine._read = failing  # type: ignore[method-assign]
        with pytest.raises(IntegrityError, match="not numbers"):
            list(engine.submit(model, [5], replace(LONG, max_tokens=3)))
        engine._read = whole  # type: ignore[method-assign]
        assert heard(engine, model, [5], LONG) == list(generate_tokens(model, [5], LONG))

        def lost(_):  # type: ignore[no-untyped-def]
            raise MemoryError

        engine._read = lost  # type: ignore[method-assign]
        with pytest.raises(MemoryError):
            list(engine.submit(model, [5], LONG))
        engine._read = whole  # type: ignore[method-assign]
        assert heard(engine, model, [5], LONG) == list(generate_tokens(model, [5], LONG))
        assert engine.state.num_blocks_read == 0


def test_an_engine_whose_step_breaks_off_begins_anew(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(model) as engine:
        with monkeypatch.context() as broken:
            broken.setattr(Schedule, "was_read", lambda *_: 1 // 0)
            streams = [engine.submit(model, [number], LONG) for number in (5, 6)]
            for stream in streams:
                with pytest.raises(ZeroDivisionError):
                    list(stream)
        assert "begins anew" in caplog.text
        assert heard(engine, model, [5], LONG) == list(generate_tokens(model, [5], LONG))


def test_a_closed_engine_says_so(model: LanguageModel) -> None:
    engine = Engine(model)
    tokens = iter(engine.submit(model, [5], LONG))
    next(tokens)
    engine.close()
    with pytest.raises(Stopped):
        list(tokens)
    with pytest.raises(Stopped):
        engine.submit(model, [5], LONG)


def test_what_can_not_be_answered_is_refused_before_it_is_queued(model: LanguageModel) -> None:
    engine = Engine(model)
    for prompt in ([], [-1], [100_000]):
        with pytest.raises(UsageError, match="prompt"):
            engine.submit(model, prompt, LONG)
    with pytest.raises(UsageError, match="logit_bias"):
        engine.submit(model, [5], replace(LONG, logit_bias=((100_000, 1.0),)))
    assert engine.state.num_waiting == 0
    for wrong in ({"cache_bytes": 0}, {"prompt_tokens_beside": 0}, {"max_running": 0}):
        with pytest.raises(UsageError):
            EngineSettings(**wrong)
