"""Adapters over one base in one engine: each gets what its merged weights say alone."""

from __future__ import annotations

import gc
import weakref

import pytest
from arrivals import TOLERANCE, Tally, over, play_adapters, talker

from noria.generate import batching, reading
from noria.generate.batching import Engine
from noria.generate.engine import generate_tokens
from noria.generate.engines import Engines
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.model.mixed import Part

PATTERNS = 2  # prove/ plays 180
LONG = Sampling(temperature=0, max_tokens=40, logit_bias=((0, -100.0),))  # 0 would end it


def played(base: LanguageModel, *, shares: bool, num_patterns: int = PATTERNS) -> Tally:
    some = [over(base, 1), over(base, 2, ["query", "value"]), over(base, 3)]
    tally = Tally()
    for seed in range(num_patterns):
        tally.add(play_adapters(base, some, seed, shares=shares))
    print(f"{tally.num_tokens} tokens, {len(tally.near)} differences within {TOLERANCE}")
    return tally


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize(
    ("shape", "quantization"), [("llama", None), ("relative", None), ("llama", "int8")]
)
def test_each_adapter_gets_the_tokens_of_its_merged_weights(
    plain: LanguageModel, shape: str, shares: bool, quantization: str | None
) -> None:
    tally = played(talker(plain, shape, 1, quantization), shares=shares)
    assert tally.far == []
    assert tally.num_tokens > 100
    assert bool(tally.num_shared) == shares


@pytest.mark.parametrize("mistake", ["one row too far", "prefixes of another adapter"])
def test_the_comparison_sees_a_mistake(
    plain: LanguageModel, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    if mistake == "one row too far":
        parts = reading._parts

        def shifted(turns):  # type: ignore[no-untyped-def]
            return tuple(
                Part(slice(one.rows.start + 1, one.rows.stop + 1), one.updates)
                for one in parts(turns)
            )

        monkeypatch.setattr(reading, "_parts", shifted)
    else:
        root = batching.root_name
        monkeypatch.setattr(batching, "root_name", lambda owner, _: root(owner, ""))
    assert played(talker(plain, "llama", 1), shares=True).far


def test_two_adapters_and_the_base_share_an_engine_and_steps(plain: LanguageModel) -> None:
    base = talker(plain, "llama", 1)
    some = [over(base, seed) for seed in (1, 2)]
    engines = Engines()
    models = [base, *(one.shared for one in some)]
    used = {id(engines.of(model)): engines.of(model) for model in models}
    assert len(used) == 1
    engine = engines.of(base)
    streams = [engine.submit(model, [5, 6, 7], LONG) for model in models]
    found = [[one.token_id for one in stream] for stream in streams]
    assert engine.state.num_steps < 2 * 40  # 120 tokens
    for model in models:
        assert engines.open == [engine]
        engines.drop(model)
    assert engines.open == []
    alone = [list(generate_tokens(one, [5, 6, 7], LONG)) for one in (base, some[0].alone)]
    assert found[:2] == alone
    assert len({tuple(one) for one in found}) == 3


def test_an_adapter_is_gone_with_its_last_answer_while_others_draw(plain: LanguageModel) -> None:
    base = talker(plain, "llama", 1)
    staying, leaving = over(base, 1), over(base, 2)
    engine = Engine(leaving.shared)
    others = iter(engine.submit(staying.shared, [5, 6], LONG))
    begun = [next(others).token_id]
    assert [one.token_id for one in engine.submit(leaving.shared, [7], LONG)]
    updates = leaving.shared.adapter.updates  # type: ignore[union-attr]
    seen = weakref.ref(next(iter(updates.values())))
    del leaving, updates
    rest = [one.token_id for one in engine.submit(staying.shared, [8], LONG)]
    gc.collect()
    assert seen() is None
    assert begun + [one.token_id for one in others] == list(
        generate_tokens(staying.alone, [5, 6], LONG)
    )
    assert rest == list(generate_tokens(staying.alone, [8], LONG))
    engine.close()
