from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.errors import UsageError
from noria.model import attention
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Reading
from noria.model.norm import RMSNorm
from noria.model.rotary import rotary_table, rotate
from noria.model.styles import Positions
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash

torch.set_num_threads(1)
CONFIG = ModelConfig(
    vocab_size=300,
    context_tokens=48,
    num_layers=3,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=64,
)


def some_ids(batch: int, num_tokens: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 300, (batch, num_tokens), generator=generator)


def test_same_seed_gives_the_same_weights_whatever_the_global_state() -> None:
    torch.manual_seed(5)
    first = model_weight_hash(build_decoder(CONFIG, 1))
    torch.manual_seed(6)
    second = build_decoder(CONFIG, 1)
    assert model_weight_hash(second) == first
    assert model_weight_hash(build_decoder(CONFIG, 2)) != first


def test_building_a_model_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    build_decoder(CONFIG, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_model_is_as_uncertain_as_its_vocabulary_is_large() -> None:
    model = build_decoder(CONFIG, 1)
    ids = some_ids(4, 48)
    total, num_tokens = cross_entropy_sum(model, model(ids), ids.roll(-1, 1), torch.ones(4, 48))
    assert abs(float(total.detach() / num_tokens) - 5.70) < 0.1  # ln 300


def test_no_token_sees_a_later_one() -> None:
    model = build_decoder(CONFIG, 1)
    ids = some_ids(2, 20)
    changed = ids.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 300
    with torch.no_grad():
        before, after = model(ids), model(changed)
    assert torch.allclose(before[:, :12], after[:, :12], atol=1e-6)
    assert (before[:, 12] - after[:, 12]).abs().max() > 1e-3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3), st.booleans())
def test_cached_logits_equal_uncached(parts: list[int], batch: int, tied: bool) -> None:
    num_tokens = min(sum(parts), 48)
    model = build_decoder(replace(CONFIG, tied=tied), 3)
    ids = some_ids(batch, num_tokens)
    cache = KVCache(CONFIG, batch, num_tokens)
    with torch.no_grad():
        whole = model.logits(model(ids))
        pieces = [model.logits(model(part, cache)) for part in ids.split(parts_of(parts, 48), 1)]
    assert cache.length == num_tokens
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-5)


def parts_of(parts: list[int], limit: int) -> list[int]:
    kept: list[int] = []
    for part in parts:
        if sum(kept) + part <= limit:
            kept.append(part)
    rest = min(sum(parts), limit) - sum(kept)
    return [*kept, rest] if rest else kept


def test_a_full_cache_and_a_full_context_are_refused() -> None:
    model = build_decoder(CONFIG, 1)
    with pytest.raises(UsageError, match="48"):
        model(some_ids(1, 49))
    cache = KVCache(CONFIG, 1, 4)
    model(some_ids(1, 4), cache)
    with pytest.raises(UsageError, match="cache of 4"):
        model(some_ids(1, 1), cache)


def test_rotation_keeps_lengths_and_depends_on_distance_only() -> None:
    cos, sin = rotary_table(40, 8, Positions())
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(at: int, other: int) -> float:
        turned = [
            rotate(x, cos[None, [p], None], sin[None, [p], None])
            for x, p in ((query, at), (key, other))
        ]
        assert torch.allclose(turned[0].norm(), query.norm(), atol=1e-5)
        return float((turned[0] * turned[1]).sum())

    assert score(9, 4) == pytest.approx(score(35, 30), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-4)


def test_norm_is_the_formula() -> None:
    norm = RMSNorm(6, 1e-5)
    norm.weight.data = torch.randn(6)
    x = torch.randn(4, 6)
    wanted = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
    assert torch.allclose(norm(x), wanted, atol=1e-6)


def test_short_bfloat16_attention_equals_torch_and_its_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(2, 3, 20, 8, generator=generator) for _ in range(3)]
    slope = torch.randn(2, 3, 20, 8, generator=generator)
    exact = [part.clone().requires_grad_() for part in parts]
    wanted = F.scaled_dot_product_attention(*exact, is_causal=True)
    wanted.backward(slope)
    rounded = [part.bfloat16().requires_grad_() for part in parts]
    found = attention.attend(*rounded, Reading(None, None, None, causal=True), 8**-0.5)
    found.backward(slope.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().max() < 0.03
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert (ours.grad.float() - theirs.grad).abs().max() < 0.06


def test_training_in_bfloat16_gives_nearly_the_gradients_of_float32() -> None:
    model = build_decoder(CONFIG, 1)
    ids = some_ids(4, 40)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            total, _ = cross_entropy_sum(model, model(ids), ids.roll(-1, 1), torch.ones(4, 40))
        total.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    similarity = F.cosine_similarity(gradients[0], gradients[1], dim=0)
    assert similarity > 0.999
    assert not torch.equal(gradients[0], gradients[1])


# torch warns of its own way to trace an autograd.Function.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_the_whole_step_is_one_graph_for_the_compiler() -> None:
    model = build_decoder(replace(CONFIG, num_layers=1), 1)
    ids = some_ids(2, 16)

    def loss(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return cross_entropy_sum(model, model(ids), ids, mask)[0]

    compiled = torch.compile(loss, fullgraph=True, dynamic=False, backend="aot_eager")
    mask = torch.ones(2, 16)
    compiled(ids, mask).backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    loss(ids, mask).backward()
    for ours, wanted in zip(found, model.parameters(), strict=True):
        assert wanted.grad is not None and torch.allclose(ours, wanted.grad, atol=1e-4)
