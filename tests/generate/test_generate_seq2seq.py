"""Encoder-decoders in the engine: each source gets the target that it gets alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from arrivals import TOLERANCE, Tally, play, shapes

from noria.errors import UsageError
from noria.generate import kernels, sequences
from noria.generate.batching import Engine, EngineSettings
from noria.generate.blocks import bytes_per_block
from noria.generate.engine import generate_tokens
from noria.generate.loaded import LanguageModel, Seq2SeqModel
from noria.generate.sampling import Sampling
from noria.model.quantized import to_int8
from noria.model.styles import Norm
from noria.model.transformer import EncoderDecoder, build_model

PATTERNS = 2  # prove/ plays 180
LONG = Sampling(temperature=0, max_tokens=40, logit_bias=((0, -100.0),))  # 0 would end it


def translator(like: LanguageModel, shape: str, seed: int, *, int8: bool = False) -> Seq2SeqModel:
    """Random weights that make the target depend on all of the source and all before it."""
    config = shapes(like.tokenizer.vocab_size)[shape]
    config = replace(config, family="encoder-decoder", num_encoder_layers=2)
    if shape == "sinusoidal":
        config = replace(config, norm=Norm(place="after"))  # as Marian's
    model = build_model(config, seed)
    assert isinstance(model, EncoderDecoder)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                is_table = any(one in name for one in ("embedding", "positions", "relative"))
                size = 1.0 if is_table else 2.0 / weight.shape[1] ** 0.5
                weight.normal_(0, size, generator=chance)
    if int8:
        to_int8(model)
    return Seq2SeqModel(model.eval(), like.tokenizer, f"{shape}-{seed}-{int8}")


def played(
    plain: LanguageModel, shape: str, *, shares: bool, int8: bool = False, patterns: int = PATTERNS
) -> Tally:
    models = [translator(plain, shape, seed, int8=int8) for seed in (1, 2)]
    tally = Tally()
    for seed in range(patterns):
        tally.add(play(models, seed, shares=shares))
    print(f"{tally.num_tokens} tokens, {len(tally.near)} differences within {TOLERANCE}")
    return tally


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize(
    ("shape", "int8"), [("llama", False), ("relative", False), ("sinusoidal", True)]
)
def test_each_source_gets_the_target_that_it_gets_alone(
    plain: LanguageModel, shape: str, int8: bool, shares: bool
) -> None:
    tally = played(plain, shape, shares=shares, int8=int8)
    assert tally.far == []
    assert tally.num_tokens > 100


@pytest.mark.parametrize("mistake", ["another's source", "a beginning of another source"])
def test_the_comparison_sees_a_mistake(
    plain: LanguageModel, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    if mistake == "another's source":
        store = kernels.store_source
        monkeypatch.setattr(
            "noria.generate.reading.store_source",
            lambda pool, blocks, layer, keys, values: store(
                pool, blocks, layer, keys.flip(1), values
            ),
        )
    else:
        monkeypatch.setattr(sequences, "source_name", lambda _, number: bytes([number]))
    assert played(plain, "llama", shares=True, patterns=3).far


def test_alone_equals_whole_passes_without_a_cache(plain: LanguageModel) -> None:
    model = translator(plain, "relative", 1)
    source = [5, 9, 14, 7]
    found = list(generate_tokens(model, source, replace(LONG, max_tokens=12)))
    ids = [plain.tokenizer.end_id]
    with torch.inference_mode():
        for _ in range(12):
            hidden = model.model(torch.tensor([source]), torch.tensor([ids]))
            logits = model.model.logits(hidden[0, -1])[: plain.tokenizer.vocab_size]
            logits[0] -= 100
            ids.append(int(logits.argmax()))
    assert found == ids[1:]


def test_a_source_is_read_once_for_all_its_answers_within_a_tenant(plain: LanguageModel) -> None:
    model = translator(plain, "llama", 1)
    source = list(range(5, 45))
    engine = Engine(model, EngineSettings(block_tokens=8))
    streams = [
        engine.submit(model, source, replace(LONG, max_tokens=2, seed=seed), "a")
        for seed in range(4)
    ]
    assert {len(list(stream)) for stream in streams} == {2}
    assert engine.state.num_shared == 3 * 40
    list(engine.submit(model, source, replace(LONG, max_tokens=2), "b"))
    list(engine.submit(model, [*source, 5], replace(LONG, max_tokens=2), "a"))
    assert engine.state.num_shared == 3 * 40
    assert engine.state.num_blocks_read == 0
    engine.close()


def test_when_blocks_run_out_a_source_is_read_again(plain: LanguageModel) -> None:
    model = translator(plain, "llama", 1)
    size, config = 8, model.model.config
    budget = 2 * config.context_tokens // size * bytes_per_block(config, size, torch.float32)
    settings = EngineSettings(cache_bytes=budget, block_tokens=size, shares_prefixes=False)
    engine = Engine(model, settings)
    sources = [[number] * 20 for number in range(5, 11)]
    streams = [engine.submit(model, source, LONG) for source in sources]
    found = [[one.token_id for one in stream] for stream in streams]
    read = engine.state.num_read
    engine.close()
    assert found == [list(generate_tokens(model, source, LONG)) for source in sources]
    assert read > sum(len(source) + 40 for source in sources)


def test_a_long_source_waits_for_a_step_of_its_own_and_short_ones_share_one(
    plain: LanguageModel,
) -> None:
    model = translator(plain, "llama", 1)
    engine = Engine(model, EngineSettings(prompt_tokens=50, shares_prefixes=False))
    few = replace(LONG, max_tokens=1)
    streams = [engine.submit(model, [5] * length, few) for length in (10, 11, 12, 90)]
    for stream in streams:
        assert len(list(stream)) == 1
    assert engine.state.num_steps <= 3
    engine.close()


def test_a_cancelled_source_frees_its_blocks_within_a_step(plain: LanguageModel) -> None:
    model = translator(plain, "llama", 1)
    engine = Engine(model)
    stream = engine.submit(model, [5] * 40, LONG)
    tokens = iter(stream)
    next(tokens)
    stream.cancel()
    at_cancel = engine.state.num_steps
    list(tokens)
    assert engine.state.num_steps <= at_cancel + 1
    assert engine.state.num_blocks_read == 0
    engine.close()


def test_a_source_that_can_not_be_read_is_refused(plain: LanguageModel) -> None:
    model = translator(plain, "llama", 1)
    engine = Engine(model)
    for source in ([], [-1], [5] * 97):
        with pytest.raises(UsageError):
            engine.submit(model, source, LONG)
