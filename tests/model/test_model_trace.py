"""Looking inside a model finds what it computes, and changes nothing of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from noria.errors import UsageError
from noria.model.attention import Attention
from noria.model.block import Block
from noria.model.config import ModelConfig
from noria.model.headed import build_headed_model
from noria.model.heads import HeadConfig
from noria.model.masks import Rows
from noria.model.stack import Stack
from noria.model.styles import AttentionStyle, Dropout, EmbeddingStyle, Norm, Positions
from noria.model.trace import StackTrace, Trace, layer_logits, trace
from noria.model.transformer import Encoder, EncoderDecoder, Transformer, build_model

torch.set_num_threads(1)
LLAMA = ModelConfig(
    vocab_size=90,
    context_tokens=24,
    num_layers=3,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=48,
    dropout=Dropout(0.2, 0.2, 0.2, 0.2),
)
OLD = replace(
    LLAMA,
    positions=Positions(kind="sinusoidal"),
    norm=Norm(kind="layer", place="after"),
    attention=AttentionStyle(bias=True, window_tokens=4),
)
T5 = replace(
    LLAMA,
    positions=Positions(kind="relative"),
    attention=AttentionStyle(scaled=False, query_key_norm=True),
    embedding=EmbeddingStyle(output_scaled=True, output_bias=True),
)
CONFIGS = {
    "decoder": LLAMA,
    "decoder-old": OLD,
    "decoder-t5": T5,
    "encoder": replace(LLAMA, family="encoder"),
    "encoder-old": replace(OLD, family="encoder", embedding=EmbeddingStyle(num_segments=2)),
    "both": replace(LLAMA, family="encoder-decoder", num_encoder_layers=2),
    "both-old": replace(OLD, family="encoder-decoder", num_encoder_layers=2),
    "both-t5": replace(T5, family="encoder-decoder", num_encoder_layers=2),
}
every_model = pytest.mark.parametrize("name", CONFIGS)

GENERATOR = torch.Generator().manual_seed(3)
IDS = torch.randint(90, (3, 11), generator=GENERATOR)
SOURCE = torch.randint(90, (3, 9), generator=GENERATOR)
REAL = torch.arange(11) < torch.tensor([[11], [7], [2]])
SOURCE_REAL = torch.arange(9) < torch.tensor([[3], [9], [6]])


def looked_into(model: Transformer) -> Trace:
    if isinstance(model, EncoderDecoder):
        return trace(model, IDS, rows=Rows(real=REAL), source_ids=SOURCE, source_real=SOURCE_REAL)
    return trace(model, IDS, rows=Rows(real=REAL))


def outputs(model: Transformer) -> Tensor:
    """What the model itself says in evaluation."""
    with torch.no_grad():
        if isinstance(model, EncoderDecoder):
            memory = model.encode(SOURCE, Rows(real=SOURCE_REAL))
            return model.decode(IDS, memory, SOURCE_REAL, rows=Rows(real=REAL))
        return model(IDS, rows=Rows(real=REAL))


def parts(model: Transformer, traced: Trace) -> list[tuple[Stack, StackTrace]]:
    if isinstance(model, EncoderDecoder):
        assert traced.encoder is not None
        return [(model.encoder, traced.encoder), (model.decoder, traced.stack)]
    assert traced.encoder is None
    return [(model, traced.stack)]


@every_model
def test_weights_sum_to_one_and_are_zero_where_nothing_may_be_read(name: str) -> None:
    model = build_model(CONFIGS[name], 1)
    for stack, seen in parts(model, looked_into(model)):
        assert len(seen.attention) == len(stack.blocks)
        is_source = isinstance(model, EncoderDecoder) and stack is model.encoder
        real = SOURCE_REAL if is_source else REAL
        num_tokens = real.shape[1]
        near = (torch.arange(num_tokens)[:, None] - torch.arange(num_tokens)).abs()
        allowed = real[:, None, :] | (near == 0)
        if stack.causal:
            allowed = allowed & torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()
        allowed = allowed & (near < (model.config.attention.window_tokens or num_tokens))
        for weights in seen.attention:
            assert weights.shape == (3, 4, num_tokens, num_tokens)
            assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-6)
            assert ((weights > 0) == allowed[:, None]).all()
    if isinstance(model, EncoderDecoder):
        for weights in looked_into(model).stack.cross_attention:
            assert weights.shape == (3, 4, 11, 9)
            assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-6)
            assert ((weights > 0) == SOURCE_REAL[:, None, None, :]).all()


@every_model
def test_weights_times_values_are_what_the_fused_attention_gives(name: str) -> None:
    model = build_model(CONFIGS[name], 1).eval()
    traced = looked_into(model)
    read: dict[Attention, Tensor] = {}  # what goes into the values
    mixed: dict[Attention, Tensor] = {}  # what fused attention gives to the output layer

    def note(into: dict[Attention, Tensor], attention: Attention) -> Callable[..., None]:
        return lambda module, args, output: into.__setitem__(attention, args[0])

    handles = []
    for module in model.modules():
        if isinstance(module, Attention):
            handles.append(module.value.register_forward_hook(note(read, module)))
            handles.append(module.output.register_forward_hook(note(mixed, module)))
    outputs(model)
    for handle in handles:
        handle.remove()
    for stack, seen in parts(model, traced):
        for layer, block in enumerate(stack.blocks):
            assert isinstance(block, Block)
            pairs = [(block.attention, seen.attention[layer])]
            if block.cross_attention is not None:
                pairs.append((block.cross_attention, seen.cross_attention[layer]))
            for attention, weights in pairs:
                with torch.no_grad():
                    values = attention.value(read[attention])
                values = values.unflatten(-1, (2, 8)).repeat_interleave(2, dim=2)  # (B, S, H, D)
                wanted = torch.einsum("bhts,bshd->bthd", weights, values).flatten(2)
                assert torch.allclose(mixed[attention], wanted, atol=1e-5)


@every_model
def test_hidden_vectors_lead_from_the_embedding_to_the_output(name: str) -> None:
    model = build_model(CONFIGS[name], 1).eval()
    traced = looked_into(model)
    for stack, seen in parts(model, traced):
        assert len(seen.hidden) == len(seen.finished) == len(stack.blocks) + 1
    assert torch.equal(traced.stack.finished[-1], outputs(model))
    if not isinstance(model, Encoder):
        logits = layer_logits(model, traced.stack)
        assert len(logits) == 4
        assert torch.equal(logits[-1], model.logits(outputs(model)))
        assert not torch.allclose(logits[0], logits[-1], atol=1e-3)


def test_a_masked_language_head_reads_every_layer_of_its_encoder() -> None:
    headed = build_headed_model(CONFIGS["encoder-old"], HeadConfig("masked"), 1).eval()
    assert isinstance(headed.body, Encoder)
    seen = trace(headed.body, IDS, rows=Rows(real=REAL), segments=torch.ones_like(IDS))
    logits = layer_logits(headed.head, seen.stack)  # type: ignore[arg-type]
    assert torch.equal(logits[-1], headed(IDS, REAL, torch.ones_like(IDS)))
    assert not torch.equal(logits[-1], headed(IDS, REAL))


@every_model
def test_looking_inside_leaves_no_hook_no_mode_and_no_bit_changed(name: str) -> None:
    model = build_model(CONFIGS[name], 1).eval()
    before = outputs(model)
    next(iter(model.modules())).training = True  # a mode of its own, which must come back
    modes = [module.training for module in model.modules()]
    looked_into(model)
    assert [module.training for module in model.modules()] == modes
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert torch.equal(outputs(model.eval()), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hooks_are_gone_after_a_pass_that_failed() -> None:
    model = build_model(LLAMA, 1)
    with pytest.raises(UsageError, match="25 tokens"):
        trace(model, torch.zeros(1, 25, dtype=torch.int64))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("both", {}),
        ("decoder", {"source_ids": SOURCE}),
        ("encoder", {"source_real": SOURCE_REAL}),
        ("decoder", {"segments": torch.zeros_like(IDS)}),
        ("both", {"source_ids": SOURCE, "segments": torch.zeros_like(IDS)}),
    ],
)
def test_what_a_family_does_not_read_is_refused(name: str, more: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match="family"):
        trace(build_model(CONFIGS[name], 1), IDS, **more)  # type: ignore[arg-type]
