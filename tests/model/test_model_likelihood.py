from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from noria.model import cost, likelihood
from noria.model.likelihood import cross_entropy_sum
from noria.model.presets import preset
from noria.model.transformer import Decoder, build_decoder

torch.set_num_threads(1)


def batch(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 500, (3, 41), generator=generator)
    mask = (torch.rand(3, 40, generator=generator) < 0.6).to(torch.uint8)
    return ids[:, :-1], ids[:, 1:], mask


def plain_loss(model: Decoder) -> torch.Tensor:
    ids, targets, mask = batch()
    losses = F.cross_entropy(
        model.logits(model(ids)).flatten(0, 1), targets.flatten(), reduction="none"
    )
    return (losses * mask.flatten()).sum()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("chunk_tokens", [7, 120, 4096])
def test_chunked_loss_and_gradients_equal_the_plain_ones(
    tied: bool, chunk_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "CHUNK_TOKENS", chunk_tokens)
    model = build_decoder(replace(preset("decoder-1m", 500, 64), tied=tied), 1)
    ids, targets, mask = batch()
    total, num_tokens = cross_entropy_sum(model, model(ids), targets, mask)
    (3 * total).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    wanted = plain_loss(model)
    (3 * wanted).backward()
    assert int(num_tokens) == int(mask.sum())
    assert torch.allclose(total, wanted, rtol=1e-5)
    assert len(found) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=2e-4), name


def test_loss_without_gradient_equals_loss_with() -> None:
    model = build_decoder(preset("decoder-1m", 500, 64), 1)
    ids, targets, mask = batch()
    with_graph, _ = cross_entropy_sum(model, model(ids), targets, mask)
    with torch.inference_mode():
        without, _ = cross_entropy_sum(model, model(ids), targets, mask)
    assert torch.allclose(with_graph.detach(), without, rtol=1e-6)


def test_an_impossible_target_costs_a_finite_number() -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]])
    assert float(likelihood.token_losses(logits, torch.tensor([2]))) == pytest.approx(400.0)


def test_huge_logits_train_without_overflow() -> None:
    model = build_decoder(preset("decoder-1m", 500, 64), 1)
    model.embedding.weight.data *= 1e4
    ids, targets, mask = batch()
    total, _ = cross_entropy_sum(model, model(ids), targets, mask)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(model.embedding.weight.grad).all()


def test_no_more_logits_exist_at_a_time_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "CHUNK_TOKENS", 16)
    model = build_decoder(preset("decoder-1m", 500, 64), 1)
    ids, targets, mask = batch()
    hidden = model(ids)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        cross_entropy_sum(model, hidden, targets, mask)
    assert max(kept) == max(model.embedding.weight.numel(), hidden.numel())


@pytest.mark.parametrize("tied", [True, False])
def test_a_frozen_matrix_gets_no_gradient_and_hidden_vectors_the_same(tied: bool) -> None:
    found = []
    for frozen in (False, True):
        model = build_decoder(replace(preset("decoder-1m", 500, 64), tied=tied), 1)
        model.requires_grad_(not frozen)
        ids, targets, mask = batch()
        hidden = model(ids).detach().requires_grad_()
        total, _ = cross_entropy_sum(model, hidden, targets, mask)
        total.backward()
        assert (model.output_weight().grad is None) == frozen
        found.append((total.detach(), hidden.grad))
    assert all(map(torch.equal, *found))


def test_tokens_that_do_not_count_are_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_decoder(preset("decoder-1m", 500, 64), 1)
    ids, targets, mask = batch()
    hidden = model(ids).detach()
    hidden[mask == 0] = float("nan")
    for needs_gradient in (False, True):
        states = hidden.clone().requires_grad_(needs_gradient)
        total, num_tokens = cross_entropy_sum(model, states, targets, mask)
        assert torch.isfinite(total)
        assert int(num_tokens) == int(mask.sum())
        if needs_gradient:
            total.backward()
            assert torch.isfinite(states.grad).all()
            assert (states.grad[mask == 0] == 0).all()


def test_a_batch_in_which_nothing_counts_costs_nothing() -> None:
    model = build_decoder(preset("decoder-1m", 500, 64), 1)
    ids, targets, mask = batch()
    total, num_tokens = cross_entropy_sum(model, model(ids), targets, torch.zeros_like(mask))
    total.backward()
    assert (float(total.detach()), int(num_tokens)) == (0.0, 0)
    assert not any(parameter.grad.any() for parameter in model.parameters())
