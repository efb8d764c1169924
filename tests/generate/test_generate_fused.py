"""The compiled pass: what torch computes, and for each answer the same whoever is beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from arrivals import over
from torch import Tensor

from noria.errors import UsageError
from noria.generate.batching import Engine, EngineSettings
from noria.generate.blocks import BlockPool
from noria.generate.drawing import Drawn
from noria.generate.fused import choice
from noria.generate.fused.choice import fused
from noria.generate.kernels import RaggedStep, Span
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.model.adapters import add_adapter
from noria.model.config import ModelConfig
from noria.model.quantized import to_int8
from noria.model.styles import AttentionStyle, FeedForwardStyle, Norm, Positions
from noria.model.transformer import Decoder, build_decoder
from noria.runtime import has_fast_int8

pytestmark = pytest.mark.skipif(
    not has_fast_int8(), reason="the compiled pass is for processors with AVX-512 VNNI"
)
BLOCK_TOKENS = 16
PLAIN = ModelConfig(350, 96, 2, 64, 4, 2, 96)
SHAPES = {
    "plain": PLAIN,
    "untied": replace(PLAIN, tied=False),
    "one key-value head": replace(PLAIN, num_kv_heads=1),
    "normed queries": replace(
        PLAIN,
        num_heads=3,
        num_kv_heads=3,
        own_head_width=32,
        attention=AttentionStyle(query_key_norm=True),
    ),
    "two groups of inputs": replace(
        PLAIN, ffn_width=768, positions=Positions(scaling="ntk", factor=2)
    ),
}


def decoder(config: ModelConfig, quantization: str | None = "int8-dynamic") -> Decoder:
    """With weights that make it read what came before, and norms that are not all ones."""
    model = build_decoder(config, 1)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                size = 1.0 if name.startswith("embedding") else 2.0 / weight.shape[1] ** 0.5
                weight.normal_(0, size, generator=chance)
            else:
                weight.uniform_(0.5, 1.5, generator=chance)
    return model.eval() if quantization is None else to_int8(model.eval(), quantization)


def pool_of(config: ModelConfig) -> BlockPool:
    pool = BlockPool(config, 30, BLOCK_TOKENS)
    for _ in range(30):
        pool.take()
    return pool


def by_torch(model: Decoder, ids: list[int], spans: list[Span], pool: BlockPool) -> Tensor:
    with torch.inference_mode():
        return model.logits(model.forward_ragged(torch.tensor([ids]), RaggedStep(pool, spans))[0])


LONG = [10, 11, 12, 13, 14]
STEPS = [
    [Span(37, 0, [1, 2, 3]), Span(5, 0, [4])],
    [
        Span(1, 37, [1, 2, 3]),
        Span(20, 5, [4, 9]),
        Span(1, 0, [5]),
        Span(70, 0, LONG),
    ],
    [
        Span(1, 38, [1, 2, 3]),
        Span(1, 25, [4, 9]),
        Span(1, 1, [5]),
        Span(7, 70, LONG),
    ],
    [Span(1, 39, [1, 2, 3])],
]


@pytest.mark.parametrize("shape", list(SHAPES))
def test_logits_are_those_of_torch(shape: str) -> None:
    """To 1e-3, but where a last place has changed what an input was rounded to."""
    config = SHAPES[shape]
    model = decoder(config)
    compiled, pools = fused(model), [pool_of(config), pool_of(config)]
    assert compiled is not None
    chance = torch.Generator().manual_seed(3)
    far, spread = [], 0.0
    for spans in STEPS:
        num_tokens = sum(span.num_new for span in spans)
        ids = torch.randint(0, config.vocab_size, (num_tokens,), generator=chance).tolist()
        wanted = by_torch(model, ids, spans, pools[0])
        found = compiled.read(ids, spans, list(range(num_tokens)), pools[1])
        far += (found - wanted).abs().amax(-1).tolist()
        spread = float(wanted.std())
        some = compiled.read(ids, spans, [num_tokens - 1, 0], pools[1])
        assert torch.equal(some, found[[num_tokens - 1, 0]])
    assert np.median(far) < 1e-3
    assert max(far) < spread / 5


def model_of(like: LanguageModel) -> LanguageModel:
    config = replace(PLAIN, vocab_size=like.tokenizer.vocab_size)
    return LanguageModel(decoder(config), like.tokenizer, "fused")


PROMPTS = [[5 + (7 * place * one) % 300 for place in range(3 + 11 * one)] for one in range(7)]
ASKED = Sampling(temperature=0.8, seed=1, max_tokens=12, log_probs=3)


def drawn(
    model: LanguageModel, prompts: list[list[int]], settings: EngineSettings
) -> Iterator[list[Drawn]]:
    """Answers of an engine, which are begun together: tokens and exact probabilities."""
    engine = Engine(model, settings)
    try:
        streams = [engine.submit(model, prompt, ASKED) for prompt in prompts]
        yield from [list(stream) for stream in streams]
    finally:
        engine.close()


@pytest.fixture(scope="module")
def alone(plain: LanguageModel) -> list[list[Drawn]]:
    model = model_of(plain)
    return [next(drawn(model, [one], EngineSettings(shares_prefixes=False))) for one in PROMPTS]


@pytest.mark.parametrize(
    "settings",
    [
        EngineSettings(),
        EngineSettings(prompt_tokens=50, prompt_tokens_beside=5),
        EngineSettings(block_tokens=5, max_running=3),
        EngineSettings(cache_bytes=1),  # of one context: answers give their blocks back
    ],
)
def test_an_answer_beside_others_is_the_same_to_the_last_place(
    plain: LanguageModel, alone: list[list[Drawn]], settings: EngineSettings
) -> None:
    assert list(drawn(model_of(plain), PROMPTS, settings)) == alone
    assert len({one[0].log_prob for one in alone}) == len(PROMPTS)


def test_more_threads_change_no_number(plain: LanguageModel, alone: list[list[Drawn]]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(drawn(model_of(plain), PROMPTS, EngineSettings())) == alone
    finally:
        torch.set_num_threads(before)


def test_a_step_with_an_adapter_is_read_by_torch(
    plain: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = model_of(plain)
    tuned = over(base, 1)
    num_read = []
    read = fused(base.model).__class__.read

    def counted(self, ids, *given):  # type: ignore[no-untyped-def]
        num_read.append(len(ids))
        return read(self, ids, *given)

    monkeypatch.setattr("noria.generate.fused.decoder.FusedDecoder.read", counted)
    engine = Engine(base)
    try:
        assert len(list(engine.submit(tuned.shared, PROMPTS[1], ASKED))) > 1
        assert num_read == []
        assert len(list(engine.submit(base, PROMPTS[1], ASKED))) == len(num_read)
    finally:
        engine.close()


@pytest.mark.parametrize(
    "config",
    [
        replace(PLAIN, num_heads=8),  # heads of 8
        replace(PLAIN, norm=Norm(kind="layer")),
        replace(PLAIN, positions=Positions(kind="learned")),
        replace(PLAIN, attention=AttentionStyle(window_tokens=20)),
        replace(PLAIN, feedforward=FeedForwardStyle(activation="gelu")),
        replace(PLAIN, ffn_width=100),
    ],
)
def test_other_shapes_are_left_to_torch(config: ModelConfig) -> None:
    assert fused(decoder(config)) is None


def test_other_numbers_and_adapted_layers_are_left_to_torch() -> None:
    assert fused(decoder(PLAIN, None)) is None
    assert fused(decoder(PLAIN, "int8")) is None
    adapted = decoder(PLAIN)
    assert fused(adapted) is not None
    add_adapter(adapted, "one", 2, 4, ["query"], 1)
    assert fused(adapted) is None


@pytest.mark.parametrize(("name", "missing"), [("find_spec", None), ("has_fast_int8", False)])
def test_without_numba_or_vnni_torch_answers(
    plain: LanguageModel, monkeypatch: pytest.MonkeyPatch, name: str, missing: object
) -> None:
    monkeypatch.setattr(choice, name, lambda *_: missing)
    model = model_of(plain)
    assert fused(model.model) is None
    assert len(next(drawn(model, PROMPTS[:1], EngineSettings()))) > 1


def test_ids_and_places_beyond_the_model_are_refused() -> None:
    compiled, pool = fused(decoder(PLAIN)), pool_of(PLAIN)
    assert compiled is not None
    for ids, before in (([350], 0), ([-1], 0), ([1], 96)):
        with pytest.raises(UsageError):
            compiled.read(ids, [Span(1, before, list(range(1, 8)))], [0], pool)


@pytest.mark.parametrize("layer", ["attention.query", "attention.value", "feedforward.up"])
def test_what_is_no_number_is_not_lost(layer: str) -> None:
    model, pool = decoder(PLAIN), pool_of(PLAIN)
    model.get_submodule(f"blocks.0.{layer}").scale[3] = float("nan")
    compiled = fused(model)
    assert compiled is not None
    found = compiled.read([5, 6, 7, 8, 9], [Span(5, 0, [1])], [0, 4], pool)
    assert bool(found.isnan().all())


def test_exp_is_exact_to_a_last_place_and_a_half() -> None:
    from noria.generate.fused.kept import kept_on_disk
    from noria.generate.fused.rows import exp

    def all_of(x, found):  # type: ignore[no-untyped-def]
        for i in range(len(x)):
            found[i] = exp(x[i])

    x = np.linspace(-87, 88, 100_001).astype(np.float32)
    x[7] = np.nan
    found = np.empty_like(x)
    kept_on_disk(all_of)(x, found)
    away = np.abs(found / np.exp(x.astype(np.float64)) - 1)
    assert np.isnan(away[7])
    assert np.nanmax(away) < 1e-7


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noria.generate.fused.kept import kept_on_disk

    def doubled(x):  # type: ignore[no-untyped-def]
        return 2 * x

    (tmp_path / "noria").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_on_disk(doubled)(3) == 6
    assert len(list(tmp_path.rglob("*.nbi"))) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    alone = kept_on_disk(doubled)
    assert alone(4) == 8
    assert alone.stats.cache_path is None
