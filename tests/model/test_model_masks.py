"""Who may read whom, against a rule for each pair; attention over it, against its formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from noria.errors import UsageError
from noria.model.attention import attend, attention_weights
from noria.model.masks import NO_ROWS, Reading, Rows, readable

torch.set_num_threads(1)
CPU = torch.device("cpu")
BATCH = 3


@st.composite
def rows_and_lengths(draw: st.DrawFn) -> tuple[Rows, int, int]:
    """What is known of three rows, how many of their tokens are new, and how many there are."""
    num_all = draw(st.integers(1, 9))
    real = documents = prefix = None
    if draw(st.booleans()):
        flags = st.lists(st.booleans(), min_size=num_all, max_size=num_all)
        real = torch.tensor([draw(flags) for _ in range(BATCH)])
    if draw(st.booleans()):
        steps = st.lists(st.integers(0, 1), min_size=num_all, max_size=num_all)
        documents = torch.tensor([draw(steps) for _ in range(BATCH)]).cumsum(1)
    whole = draw(st.booleans())
    if whole and draw(st.booleans()):
        prefix = torch.tensor([draw(st.integers(0, num_all)) for _ in range(BATCH)])
    num_new = num_all if whole else draw(st.integers(1, num_all))
    return Rows(real, documents, prefix), num_new, num_all


def may_read(rows: Rows, row: int, query: int, key: int, *, causal: bool, window: int) -> bool:
    """The rule for one pair, in words."""
    before = not causal or key <= query
    if rows.prefix_tokens is not None and key < rows.prefix_tokens[row]:
        before = True
    near = window == 0 or abs(query - key) < window
    own = rows.documents is None or bool(rows.documents[row, query] == rows.documents[row, key])
    real = rows.real is None or bool(rows.real[row, key])
    return (before and near and own and real) or (rows.real is not None and query == key)


@settings(max_examples=200, deadline=None)
@given(rows_and_lengths(), st.booleans(), st.integers(0, 10))
def test_the_mask_is_the_rule_for_every_pair(
    drawn: tuple[Rows, int, int], causal: bool, window: int
) -> None:
    rows, num_new, num_all = drawn
    mask = readable(num_new, num_all, rows, CPU, causal=causal, window_tokens=window)
    if mask is None:  # then `causal` alone says it, for the fused kernel
        assert rows == NO_ROWS and (not causal or num_new in (1, num_all))
        mask = torch.ones(1, 1, num_new, num_all, dtype=torch.bool)
        mask = mask.tril(diagonal=num_all - num_new) if causal else mask
    mask = mask.expand(BATCH, 1, num_new, num_all)
    for row in range(BATCH):
        for new in range(num_new):
            for key in range(num_all):
                query = num_all - num_new + new
                allowed = may_read(rows, row, query, key, causal=causal, window=window)
                assert bool(mask[row, 0, new, key]) == allowed, (row, query, key)


@pytest.mark.parametrize("num_new", [1, 3])
def test_a_prefix_beside_an_earlier_pass_is_refused(num_new: int) -> None:
    rows = Rows(prefix_tokens=torch.tensor([2]))
    with pytest.raises(UsageError, match="first pass"):
        readable(num_new, 5, rows, CPU, causal=True)


@settings(max_examples=40, deadline=None)
@given(
    rows_and_lengths(),
    st.booleans(),
    st.integers(0, 10),
    st.booleans(),
    st.sampled_from([1.0, 0.35]),
    st.integers(0, 99),
)
def test_fused_attention_and_its_gradients_are_those_of_weights_times_values(
    drawn: tuple[Rows, int, int],
    causal: bool,
    window: int,
    biased: bool,
    scale: float,
    seed: int,
) -> None:
    rows, num_new, num_all = drawn
    mask = readable(num_new, num_all, rows, CPU, causal=causal, window_tokens=window)
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    queries = some(BATCH, 2, num_new, 4)
    keys, values = some(BATCH, 2, num_all, 4), some(BATCH, 2, num_all, 4)
    bias = some(1, 2, num_new, num_all) if biased else None
    reading = Reading(None, mask, bias, causal=causal)
    weights = attention_weights(queries, keys, reading, scale)
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-6)
    if mask is not None:
        assert (weights.masked_select(~mask.expand_as(weights)) == 0).all()
    found, wanted = attend(queries, keys, values, reading, scale), weights @ values
    assert torch.allclose(found, wanted, atol=1e-5)
    slope = torch.randn(found.shape, generator=generator)
    parts = [queries, keys, values] if bias is None else [queries, keys, values, bias]
    ours = torch.autograd.grad(found, parts, slope)
    theirs = torch.autograd.grad(wanted, parts, slope)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
