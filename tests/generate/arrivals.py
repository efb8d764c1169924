"""Random arrival patterns at an engine, and whether each request got the tokens it gets alone.

Alone: `noria.generate.engine`, one sequence over a rectangular cache, which shares nothing with the
engine but the model and the way a token is drawn. Where the two first differ, the margin says how
far the logits would have to move to change the choice; rounding moves them by about 1e-5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import torch
from torch import Tensor

from noria.generate.batching import Engine, EngineSettings
from noria.generate.blocks import bytes_per_block
from noria.generate.drawing import Drawer
from noria.generate.engine import begun, generate_tokens
from noria.generate.engines import Engines
from noria.generate.loaded import Adapter, Answering, LanguageModel
from noria.generate.picking import choice_probabilities
from noria.generate.sampling import Sampling
from noria.generate.sequences import Stream
from noria.model.adapted import TARGETS
from noria.model.adapters import adapter_tensors, add_adapter, fill_adapter, merged, updates_of
from noria.model.config import ModelConfig
from noria.model.over_base import ADAPTER_NAME, sharing
from noria.model.quantized import to_int8
from noria.model.styles import AttentionStyle, FeedForwardStyle, Norm, Positions
from noria.model.transformer import build_decoder

TOLERANCE = 1e-3  # of logits, and of shares of probability where a setting cuts them off
CONTEXT_TOKENS = 96


def shapes(vocab_size: int) -> dict[str, ModelConfig]:
    """A small decoder for each way in which places and cache meet."""
    plain = ModelConfig(vocab_size, CONTEXT_TOKENS, 2, 32, 4, 2, 64)
    learned = Positions(kind="learned")
    return {
        "llama": plain,
        "gpt2": replace(
            plain,
            num_kv_heads=4,
            positions=learned,
            norm=Norm(kind="layer"),
            attention=AttentionStyle(bias=True),
            feedforward=FeedForwardStyle(activation="gelu-tanh", gated=False, bias=True),
        ),
        "window": replace(plain, attention=AttentionStyle(window_tokens=20)),
        "relative": replace(plain, positions=Positions(kind="relative")),
        "sinusoidal": replace(plain, positions=Positions(kind="sinusoidal"), num_kv_heads=1),
    }


def talker(
    like: LanguageModel, shape: str, seed: int, quantization: str | None = None
) -> LanguageModel:
    """A decoder of that shape with random weights that make it read and have opinions.

    Token vectors, places and what attention adds to them are of one size, so that whatever is read
    wrongly changes the logits, which lie about 5 apart.
    """
    decoder = build_decoder(shapes(like.tokenizer.vocab_size)[shape], seed)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if weight.dim() > 1:
                is_table = name.split(".")[0] in ("embedding", "positions", "relative")
                size = 1.0 if is_table else 2.0 / weight.shape[1] ** 0.5
                weight.normal_(0, size, generator=chance)
    if quantization is not None:
        to_int8(decoder, quantization)
    return LanguageModel(decoder.eval(), like.tokenizer, f"{shape}-{seed}-{quantization}")


@dataclass(frozen=True)
class Tuned:
    """A base with an adapter: sharing the base's tensors, and merged into weights of its own."""

    shared: LanguageModel
    alone: LanguageModel


@dataclass
class Asked:
    """A request of a pattern. cancel_after: tokens that are read before nobody wants the rest."""

    model: Answering
    prompt: list[int]
    sampling: Sampling
    tenant: str
    at_step: int
    cancel_after: int | None
    heard: list[int] = field(default_factory=list)


@dataclass
class Tally:
    """What became of many requests."""

    num_requests: int = 0
    num_tokens: int = 0
    num_shared: int = 0
    near: list[float] = field(default_factory=list)  # margins, of differences within the tolerance
    far: list[float] = field(default_factory=list)  # of those beyond it

    def add(self, other: Tally) -> None:
        """Count another pattern."""
        self.num_requests += other.num_requests
        self.num_tokens += other.num_tokens
        self.num_shared += other.num_shared
        self.near += other.near
        self.far += other.far


def over(base: LanguageModel, seed: int, targets: Sequence[str] = tuple(TARGETS)) -> Tuned:
    """The base with an adapter of random numbers that changes what is said."""
    model = sharing(base.model)
    add_adapter(model, ADAPTER_NAME, 1 + seed % 4, 4, targets, seed)
    chance = torch.Generator().manual_seed(seed)
    tensors = {
        key: torch.randn(one.shape, generator=chance) / one.shape[1] ** 0.5
        for key, one in adapter_tensors(model, ADAPTER_NAME).items()
    }
    fill_adapter(model, ADAPTER_NAME, tensors)
    adapter = Adapter(base.model, updates_of(model, ADAPTER_NAME))
    name = f"{base.weight_hash}-over-{seed}"
    alone = LanguageModel(merged(model, ADAPTER_NAME), base.tokenizer, name)
    return Tuned(LanguageModel(model, base.tokenizer, name, adapter), alone)


def play_adapters(base: LanguageModel, tuned: list[Tuned], seed: int, *, shares: bool) -> Tally:
    """One pattern over a base and its adapters, which come and go; compared with merged weights."""
    models = [base, *(one.shared for one in tuned)]
    alone = {one.alone.weight_hash: one.alone for one in tuned}
    return play(models, seed, shares=shares, num_requests=16, alone=alone)


def play(
    models: Sequence[Answering],
    seed: int,
    *,
    shares: bool,
    num_requests: int = 12,
    alone: dict[str, LanguageModel] | None = None,
) -> Tally:
    """One pattern: requests come and go; of two models the second takes the first one's place.

    Of more, two are asked at any time, and each that takes the place of another is a new one.
    alone: what to compare a model with, by weight hash, where that is not the model itself.
    """
    chance = Random(seed)
    config = models[0].model.config
    size = chance.choice([4, 16])
    fits = -(-config.context_tokens // size) * (2 if config.num_encoder_layers else 1)
    settings = EngineSettings(
        cache_bytes=int(fits * chance.choice([1, 1.5, 4]))
        * bytes_per_block(config, size, torch.float32),
        block_tokens=size,
        max_running=chance.choice([2, 5, 16]),
        prompt_tokens=chance.choice([7, 64, 512]),
        prompt_tokens_beside=chance.choice([1, 5, 64]),
        shares_prefixes=shares,
    )
    asked = _pattern(models, chance, num_requests)
    engines = Engines(settings)
    used: list[Engine] = []
    readers, tally = [], Tally(num_requests)
    for one in asked:
        engine = engines.of(one.model)
        if engine not in used:
            used.append(engine)
        while _is_busy(engine) and engine.state.num_steps < one.at_step:
            time.sleep(0.0005)
        stream = engine.submit(one.model, one.prompt, one.sampling, one.tenant)
        readers.append(threading.Thread(target=_read, args=(stream, one)))
        readers[-1].start()
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    states = [engine.state for engine in used]
    for state in states:  # whoever has heard the end holds nothing any more
        assert (state.num_running, state.num_waiting, state.num_blocks_read) == (0, 0, 0)
    engines.close()
    tally.num_shared = sum(state.num_shared for state in states)
    assert shares or not tally.num_shared
    if len({id(model.base) for model in models}) == 1:
        assert len(used) == 1  # one engine, one copy of the base
    for one in asked:
        if alone is not None:
            one = replace(one, model=alone.get(one.model.weight_hash, one.model))
        _compare(one, tally)
    return tally


def _is_busy(engine: Engine) -> bool:
    state = engine.state
    return bool(state.num_running or state.num_waiting)


def _pattern(models: Sequence[Answering], chance: Random, num_requests: int) -> list[Asked]:
    vocab_size = models[0].tokenizer.vocab_size
    context_tokens = models[0].model.config.context_tokens
    beginnings = [
        [chance.randrange(4, vocab_size) for _ in range(chance.randrange(0, context_tokens // 2))]
        for _ in range(3)
    ]
    found, step = [], 0
    for number in range(num_requests):
        begins = beginnings[chance.randrange(3)]
        rest = [chance.randrange(4, vocab_size) for _ in range(chance.choice([1, 3, 30, 120]))]
        first = number * (len(models) - 1) // num_requests if len(models) > 2 else 0
        swapped = len(models) > 1 and number >= num_requests // 2
        if swapped and len(models) == 2 and found[-1].model is models[0]:
            step = 0
        index = first + chance.randrange(2) if len(models) > 2 else int(swapped)
        step += chance.choice([0, 0, 1, 5])
        found.append(
            Asked(
                models[index],
                (begins + rest)[
                    : context_tokens if models[0].model.config.num_encoder_layers else None
                ],
                _sampling(chance, vocab_size),
                chance.choice(["a", "b"]),
                step,
                chance.choice([None, None, None, 0, 1, 4]),
            )
        )
    return found


def _sampling(chance: Random, vocab_size: int) -> Sampling:
    plain = Sampling(
        temperature=chance.choice([0, 0, 0.7, 1.0]),
        max_tokens=chance.choice([1, 5, 20, 40]),
        seed=chance.randrange(1 << 30),
    )
    return replace(
        plain,
        **chance.choice(
            [
                {},
                {"top_p": 0.8},
                {"top_k": 5},
                {"min_p": 0.1},
                {"repetition_penalty": 1.3},
                {"presence_penalty": 0.5, "frequency_penalty": 0.2},
                {"logit_bias": ((chance.randrange(vocab_size), 5.0),)},
            ]
        ),
    )


def _read(stream: Stream, one: Asked) -> None:
    if one.cancel_after == 0:
        stream.cancel()
    for drawn in stream:
        one.heard.append(drawn.token_id)
        if len(one.heard) == one.cancel_after:
            stream.cancel()


def _compare(one: Asked, tally: Tally) -> None:
    """Every token like alone, the length too unless it was cancelled."""
    alone = list(generate_tokens(one.model, one.prompt, one.sampling))
    tally.num_tokens += len(one.heard)
    same = next((n for n, (a, b) in enumerate(zip(alone, one.heard, strict=False)) if a != b), None)
    if same is None:
        if one.cancel_after is None:
            assert len(one.heard) == len(alone)
        else:
            assert len(one.heard) <= len(alone)
        return
    margin = margin_at(one.model, one.prompt, one.sampling, alone, same)
    (tally.near if margin < TOLERANCE else tally.far).append(margin)


def margin_at(
    model: Answering, prompt: list[int], sampling: Sampling, alone: list[int], place: int
) -> float:
    """How far the logits would have to move to change the choice of the token at a place."""
    asked = begun(model, prompt, sampling)
    drawer = Drawer(sampling, asked.ids, model.tokenizer)
    for number in range(place):
        drawer.draw(_logits(model, asked.source, [*asked.ids, *alone[:number]]))
    weighed = drawer._weighed(_logits(model, asked.source, [*asked.ids, *alone[:place]]))
    if sampling.temperature == 0:
        best = weighed.topk(2).values
        return float(best[0] - best[1])
    shares = choice_probabilities(weighed, sampling)
    # torch.multinomial of one draw is the largest of share / exponential
    waits = torch.empty_like(shares).exponential_(1, generator=drawer._generator)
    scores = (shares / waits).log() * sampling.temperature
    assert int(scores.argmax()) == alone[place]
    best = scores.topk(2).values
    return min(float(best[0] - best[1]), _distance_to_cut(weighed, sampling))


def _distance_to_cut(weighed: Tensor, sampling: Sampling) -> float:
    """How near a token is to being cut off, or kept, by top_k, top_p or min_p."""
    found = [1.0]
    scaled = weighed / sampling.temperature
    if sampling.top_k:
        ordered = weighed.sort(descending=True).values
        found.append(float(ordered[sampling.top_k - 1] - ordered[sampling.top_k]))
    shares = scaled.softmax(0)
    if sampling.top_p < 1:
        ordered = shares.sort(descending=True).values
        found.append(float((ordered.cumsum(0) - sampling.top_p).abs().min()))
    if sampling.min_p:
        found.append(float((shares / shares.max() - sampling.min_p).abs().min()))
    return min(found)


@torch.inference_mode()
def _logits(model: Answering, source: list[int], ids: list[int]) -> Tensor:
    """Of a whole pass without any cache."""
    read = [torch.tensor([source])] if source else []
    hidden = model.model(*read, torch.tensor([ids]))[0, -1]
    return model.model.logits(hidden)[: model.tokenizer.vocab_size]
