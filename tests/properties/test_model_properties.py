"""What holds for every model of one stack, whatever its styles, its rows and their split."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from noria.errors import UsageError
from noria.model.block import Block
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.masks import NO_ROWS, Rows
from noria.model.styles import (
    NORM_KINDS,
    NORM_PLACES,
    POSITION_KINDS,
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)
from noria.model.transformer import Decoder, Encoder, build_model

torch.set_num_threads(1)
CONTEXT, VOCAB = 20, 60
few = settings(max_examples=25, deadline=None)


@st.composite
def models(
    draw: st.DrawFn,
    family: str | None = None,
    positions: tuple[str, ...] = POSITION_KINDS,
    windows: tuple[int, ...] = (0, 0, 4),
) -> Decoder | Encoder:
    """A small decoder or encoder with weights large enough that everything matters.

    In float64: such weights amplify the rounding of float32 to where it looks like a mistake.
    """
    gated = draw(st.booleans())
    config = ModelConfig(
        vocab_size=VOCAB,
        context_tokens=CONTEXT,
        num_layers=2,
        width=16,
        num_heads=4,
        num_kv_heads=draw(st.sampled_from([1, 2, 4])),
        ffn_width=24,
        family=family or draw(st.sampled_from(["decoder", "encoder"])),
        positions=Positions(
            kind=draw(st.sampled_from(positions)),
            scaling=draw(st.sampled_from(["none", "linear", "ntk"])),
            factor=2.0,
            interleaved=draw(st.booleans()),
            buckets=8,
            distance_tokens=12,
        ),
        norm=Norm(draw(st.sampled_from(NORM_KINDS)), draw(st.sampled_from(NORM_PLACES))),
        attention=AttentionStyle(
            bias=draw(st.booleans()),
            scaled=draw(st.booleans()),
            query_key_norm=draw(st.booleans()),
            window_tokens=draw(st.sampled_from(windows)),
        ),
        feedforward=FeedForwardStyle("silu" if gated else "relu", gated=gated),
        embedding=EmbeddingStyle(scaled=draw(st.booleans()), normed=draw(st.booleans())),
    )
    model = build_model(config, draw(st.integers(0, 3))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter *= 5
    assert isinstance(model, Decoder | Encoder)
    return model.double()


def some_ids(batch: int, num_tokens: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (batch, num_tokens), generator=generator)


def read(model: Decoder | Encoder, ids: Tensor, rows: Rows = NO_ROWS) -> Tensor:
    with torch.no_grad():
        return model(ids, rows=rows)


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-7, rtol=1e-7)


def lengths_of(cuts: list[int], total: int) -> list[int]:
    """The lengths of the pieces between cuts."""
    ends = [*sorted({cut % total for cut in cuts} - {0}), total]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


CUTS = st.lists(st.integers(1, 99), max_size=5)


@few
@given(models("decoder"), CUTS, st.integers(1, CONTEXT), st.booleans(), st.booleans())
def test_cached_equals_uncached_for_any_split(
    model: Decoder, cuts: list[int], num_tokens: int, packed: bool, padded: bool
) -> None:
    ids = some_ids(2, num_tokens)
    documents = (torch.arange(num_tokens) * 3 // num_tokens).expand(2, -1) if packed else None
    real = torch.arange(num_tokens) >= torch.tensor([[0], [num_tokens // 3]]) if padded else None
    whole = read(model, ids, Rows(real, documents))
    cache = KVCache(model.config, 2, num_tokens, torch.float64)
    pieces, end = [], 0
    with torch.no_grad():
        for part in ids.split(lengths_of(cuts, num_tokens), dim=1):
            end += part.shape[1]
            so_far = Rows(
                real[:, :end] if real is not None else None,
                documents[:, :end] if documents is not None else None,
            )
            pieces.append(model(part, cache, so_far))
    assert cache.length == num_tokens
    assert close(torch.cat(pieces, 1), whole)


@few
@given(models("decoder"), st.integers(1, CONTEXT - 1))
def test_a_causal_model_never_depends_on_the_future(model: Decoder, at: int) -> None:
    ids = some_ids(2, CONTEXT)
    changed = ids.clone()
    changed[:, at:] = (ids[:, at:] + 1) % VOCAB
    before, after = read(model, ids), read(model, changed)
    assert close(before[:, :at], after[:, :at])
    assert not close(before[:, at], after[:, at])


@few
@given(models("decoder", windows=(0,)), st.integers(2, CONTEXT - 2), st.data())
def test_a_prompt_reads_itself_both_ways_and_the_answer_is_causal(
    model: Decoder, num_prompt: int, data: st.DataObject
) -> None:
    ids = some_ids(2, CONTEXT)
    rows = Rows(prefix_tokens=torch.tensor([num_prompt, 0]))
    before = read(model, ids, rows)
    assert close(before[1], read(model, ids)[1])  # an empty prompt is none

    def changed_at(at: int) -> Tensor:
        other = ids.clone()
        other[:, at] = (ids[:, at] + 1) % VOCAB
        return read(model, other, rows)[0]

    in_prompt = changed_at(num_prompt - 1)
    assert not close(in_prompt[0], before[0, 0])
    at = data.draw(st.integers(num_prompt, CONTEXT - 1))
    in_answer = changed_at(at)
    assert close(in_answer[:at], before[0, :at])
    assert not close(in_answer[at], before[0, at])


@few
@given(models("decoder"), st.integers(1, CONTEXT - 1))
def test_an_answer_after_a_cached_prompt_is_that_of_one_pass(
    model: Decoder, num_prompt: int
) -> None:
    ids = some_ids(1, CONTEXT)
    rows = Rows(prefix_tokens=torch.tensor([num_prompt]))
    cache = KVCache(model.config, 1, CONTEXT, torch.float64)
    with torch.no_grad():
        parts = [model(ids[:, :num_prompt], cache, rows)]
        with pytest.raises(UsageError, match="first pass"):
            model(ids[:, num_prompt:], cache, rows)
        for at in range(num_prompt, CONTEXT):
            parts.append(model(ids[:, at : at + 1], cache))
    assert close(torch.cat(parts, 1), read(model, ids, rows))


@few
@given(models(), CUTS)
def test_packed_documents_each_give_what_they_give_alone(
    model: Decoder | Encoder, cuts: list[int]
) -> None:
    ids = some_ids(2, CONTEXT)
    lengths = lengths_of(cuts, CONTEXT)
    documents = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    packed = read(model, ids, Rows(documents=documents.expand(2, -1)))
    alone = [read(model, part) for part in ids.split(lengths, dim=1)]
    assert close(packed, torch.cat(alone, dim=1))


@few
@given(models(windows=(2, 3, 5)))
def test_a_window_bounds_how_far_two_layers_see(model: Decoder | Encoder) -> None:
    ids, at = some_ids(2, CONTEXT), 9
    changed = ids.clone()
    changed[:, at] = (ids[:, at] + 1) % VOCAB
    before, after = read(model, ids), read(model, changed)
    reach = 2 * (model.config.attention.window_tokens - 1)
    assert not close(before[:, at], after[:, at])
    for place in range(CONTEXT):
        seen = at <= place <= at + reach if model.causal else abs(place - at) <= reach
        assert seen or close(before[:, place], after[:, place])


@few
@given(models(), st.permutations(range(4)))
def test_the_order_of_a_batch_does_not_matter(model: Decoder | Encoder, order: list[int]) -> None:
    ids = some_ids(4, 9)
    real = torch.arange(9) < torch.tensor([[9], [5], [1], [7]])
    straight, turned = read(model, ids, Rows(real)), read(model, ids[order], Rows(real[order]))
    assert close(straight[order], turned)


@few
@given(models(), st.integers(1, 12))
def test_padding_changes_nothing_on_real_tokens(model: Decoder | Encoder, num_real: int) -> None:
    ids = some_ids(2, 12)
    real = torch.arange(12) < torch.tensor([[num_real], [12]])
    padded = read(model, ids, Rows(real=real))
    assert close(padded[0, :num_real], read(model, ids[:1, :num_real])[0])
    assert close(padded[1], read(model, ids)[1])
    other = torch.where(real, ids, (ids + 7) % VOCAB)
    assert close(read(model, other, Rows(real=real))[real], padded[real])


@few
@given(models("encoder", ("none",), (0,)), st.permutations(range(10)))
def test_permuting_the_input_of_an_encoder_without_positions_permutes_its_output(
    model: Encoder, order: list[int]
) -> None:
    ids = some_ids(2, 10)
    assert close(read(model, ids)[:, order], read(model, ids[:, order]))


@pytest.mark.parametrize("kind", [kind for kind in POSITION_KINDS if kind != "none"])
@settings(max_examples=6, deadline=None)
@given(st.data())
def test_with_positions_it_does_not(kind: str, data: st.DataObject) -> None:
    model = data.draw(models("encoder", (kind,), (0,)))
    ids, order = some_ids(2, 10), [3, 1, 2, 0, *range(4, 10)]
    assert not close(read(model, ids)[:, order], read(model, ids[:, order]))


DROPOUT_MODEL = ModelConfig(
    vocab_size=VOCAB,
    context_tokens=4,
    num_layers=1,
    width=32,
    num_heads=8,
    num_kv_heads=8,
    ffn_width=64,
)


@pytest.mark.parametrize("rate", ["hidden", "attention", "activation", "output", "none"])
@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_each_rate_of_dropout_acts_in_its_places_while_training_only(
    family: str, rate: str
) -> None:
    dropout = Dropout() if rate == "none" else Dropout(**{rate: 0.5})
    model = build_model(replace(DROPOUT_MODEL, family=family, dropout=dropout), 1)
    assert isinstance(model, Decoder | Encoder)
    ids = some_ids(50, 1)  # one token reads itself alone: a dropped weight leaves a head nothing
    torch.manual_seed(0)
    shares = shares_of_zeros(model.train(), ids)
    assert shares_of_zeros(model.eval(), ids) == dict.fromkeys(shares, 0.0)
    assert torch.equal(read(model, ids), read(model, ids))
    sums = {"embedding": 0.5, "attention sum": 0.5, "feedforward sum": 0.5}
    wanted = {"hidden": {**sums, "output": 0.5**3}}.get(rate, {rate: 0.5})  # nothing of three is 0
    for place, share in shares.items():
        assert share == pytest.approx(wanted.get(place, 0.0), abs=0.06), place
    plain = build_model(replace(DROPOUT_MODEL, family=family), 1)
    assert isinstance(plain, Decoder | Encoder)
    assert torch.equal(read(model, ids), read(plain, ids))
    assert torch.equal(read(model.train(), ids), read(plain, ids)) == (rate == "none")


def shares_of_zeros(model: Decoder | Encoder, ids: Tensor) -> dict[str, float]:
    """How much of what passes each place of dropout is 0."""
    block = model.blocks[0]
    assert isinstance(block, Block)
    entered: dict[str, Tensor] = {}
    handles = []
    for name, module in {
        "embedding": block.attention_norm,
        "attention": block.attention.output,
        "feedforward": block.feedforward_norm,
        "activation": block.feedforward.down,
    }.items():
        handles.append(
            module.register_forward_hook(
                lambda _, args, __, name=name: entered.update({name: args[0]})
            )
        )
    last = []
    handles.append(block.register_forward_hook(lambda _, __, output: last.append(output)))
    output = read(model, ids)
    for handle in handles:
        handle.remove()
    places = {
        "embedding": entered["embedding"],
        "attention": entered["attention"],
        "attention sum": entered["feedforward"] - entered["embedding"],
        "activation": entered["activation"],
        "feedforward sum": last[0] - entered["feedforward"],
        "output": output,
    }
    return {name: (tensor == 0).float().mean().item() for name, tensor in places.items()}
