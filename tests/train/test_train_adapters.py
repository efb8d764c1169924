"""LoRA adapters: the acting one alone trains, the base never changes, merged weights are equal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from adapted_models import CONFIG, IDS, adapted, logits, spread, trained_names
from torch import nn

from noria.compress.quantize import quantize_model
from noria.errors import FormatError, UnknownName, UsageError
from noria.model.adapted import TARGETS
from noria.model.adapters import (
    adapter_tensors,
    adapters,
    add_adapter,
    fill_adapter,
    merged,
    remove_adapter,
    use_adapter,
)
from noria.model.quantized import Int8Linear
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, weight_hash
from noria.train.batch import TokenBatch
from noria.train.casting import cast_once
from noria.train.objectives.losses import next_token
from noria.train.optim import build_optimizer
from noria.train.plan import Choices
from noria.train.step import accumulate, train_step


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_fresh_adapter_changes_no_logit_and_alone_trains() -> None:
    model = build_decoder(CONFIG, seed=5)
    before = logits(model)
    add_adapter(model, "one", 4, 8, ["query", "down"], seed=2)
    assert torch.equal(logits(model), before)
    assert len(trained_names(model)) == 2 * 2 * CONFIG.num_layers
    assert all("@one.lora_" in name for name in trained_names(model))


def test_the_same_seed_gives_the_same_adapter_within_its_bound() -> None:
    models = [build_decoder(CONFIG, seed=5) for _ in range(3)]
    for model, seed in zip(models, (2, 2, 3), strict=True):
        add_adapter(model, "one", 4, 8, TARGETS, seed)
    found = [adapter_tensors(model, "one") for model in models]
    assert weight_hash(found[0]) == weight_hash(found[1]) != weight_hash(found[2])
    for name, tensor in found[0].items():
        if name.endswith("lora_a"):
            bound = tensor.shape[1] ** -0.5
            assert 0.9 * bound < tensor.abs().max() <= bound, name


def test_adapters_switch_without_residue() -> None:
    model = build_decoder(CONFIG, seed=5)
    seen = {None: logits(model)}
    for seed, (name, targets) in enumerate({"keys": TARGETS, "b-2": ["gate", "value"]}.items()):
        add_adapter(model, name, 2 + seed, 8, targets, seed)
        spread(model, name, seed)
        seen[name] = logits(model)
    assert not torch.equal(seen["keys"], seen["b-2"])
    for name in ("keys", None, "b-2", "keys", "b-2", None):
        use_adapter(model, name)
        assert torch.equal(logits(model), seen[name])
        assert all(f"@{name}." in one for one in trained_names(model))
        assert bool(trained_names(model)) == (name is not None)
    assert {name: one.rank for name, one in adapters(model).items()} == {"keys": 2, "b-2": 3}


def test_a_removed_adapter_leaves_no_trace() -> None:
    plain = build_decoder(CONFIG, seed=5)
    model = adapted()
    add_adapter(model, "two", 2, 4, ["up"], seed=1)
    remove_adapter(model, "one")
    assert adapters(model).keys() == {"two"}
    assert torch.equal(logits(model), logits(plain))
    assert "blocks.0.attention.query.weight" not in trained_names(model)
    remove_adapter(model, "two")
    assert str(model) == str(plain)
    assert model_weight_hash(model) == model_weight_hash(plain)
    assert trained_names(model) == trained_names(plain)


def test_merged_weights_give_the_adapted_logits_and_leave_the_original() -> None:
    model = adapted()
    before, digest = logits(model), model_weight_hash(model)
    plain = merged(model, "one")
    assert not adapters(plain)
    assert before.std() > 0.1
    assert (logits(plain) - before).abs().max() <= 1e-5
    assert (logits(plain) - logits(build_decoder(CONFIG, seed=5))).abs().max() > 0.1
    layer = model.blocks[1].feedforward.down
    update = layer.find("one")
    exact = layer.weight.double() + 2.0 * (update.lora_b.double() @ update.lora_a.double())
    assert torch.equal(plain.blocks[1].feedforward.down.weight, exact.float())
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert model_weight_hash(model) == digest


def test_gradients_come_from_counted_targets_only() -> None:
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[0, 4:9] = mask[2, 11:] = True
    gradients = []
    for seed in (1, 2):  # other targets where nothing counts
        other = torch.randint(97, (3, 16), generator=torch.Generator().manual_seed(seed))
        targets = torch.where(mask, IDS.roll(-1, 1), other)
        model = adapted()
        accumulate(
            model, TokenBatch(IDS, targets, mask), Choices("float32", False, 2, 1), next_token()
        )
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
        assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    assert all(map(torch.equal, *gradients))
    model = adapted()
    wanted = F.cross_entropy(model.logits(model(IDS))[mask], targets[mask])
    wanted.backward()
    exact = [p.grad for p in model.parameters() if p.requires_grad]
    for found, one in zip(gradients[0], exact, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(found, one, rtol=1e-4, atol=1e-6)


# torch's own tracing looks at .grad of tensors that have none.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_blocks_give_the_same_gradients_for_every_adapter(precision: str) -> None:
    torch.compiler.reset()
    batch = TokenBatch(IDS, IDS.roll(-1, 1), torch.ones(3, 16, dtype=torch.bool))
    model = adapted("first")
    add_adapter(model, "second", 4, 8, TARGETS, seed=4)
    wanted = {}
    for name in ("first", "second"):
        use_adapter(model, name)
        accumulate(model, batch, Choices(precision, False, 3, 1), next_token())
        wanted[name] = [p.grad for p in model.parameters() if p.requires_grad]
        model.zero_grad()
    for block in model.blocks:
        block.compile(dynamic=False, fullgraph=True, backend="aot_eager")
    use_adapter(model, "first")
    accumulate(model, batch, Choices(precision, False, 3, 1), next_token())
    model.zero_grad()
    with torch.compiler.set_stance("fail_on_recompile"):  # one code serves every name
        for name in ("second", "first"):
            use_adapter(model, name)
            accumulate(model, batch, Choices(precision, False, 3, 1), next_token())
            found = [p.grad for p in model.parameters() if p.requires_grad]
            for one, exact in zip(found, wanted[name], strict=True):
                torch.testing.assert_close(one, exact, rtol=2e-2, atol=1e-3)
            model.zero_grad()
    torch.compiler.reset()


def test_an_adapter_over_int8_weights_trains_and_merges_into_what_they_stand_for() -> None:
    model = quantize_model(build_decoder(CONFIG, 1))
    plain = model.logits(model(IDS)).detach()
    add_adapter(model, "one", 4, 8, TARGETS, 1)
    assert torch.equal(model.logits(model(IDS)), plain)  # nothing learned yet
    before = {name: one.clone() for name, one in model.state_dict().items() if "lora" not in name}
    trained = [p for p in model.parameters() if p.requires_grad]
    stepping = torch.optim.AdamW(trained, lr=0.02)
    batch = TokenBatch(IDS, IDS.roll(-1, 1), torch.ones(3, 16, dtype=torch.bool))
    losses = []
    for _ in range(30):
        losses.append(accumulate(model, batch, Choices("float32", False, 2, 1), next_token()))
        stepping.step()
        stepping.zero_grad()
    assert losses[-1] < 0.95 * losses[0]
    assert all(torch.equal(model.state_dict()[name], one) for name, one in before.items())
    whole = merged(model, "one")
    assert whole.quantization is None
    torch.testing.assert_close(
        whole.logits(whole(IDS)), model.logits(model(IDS)), rtol=0, atol=1e-4
    )
    remove_adapter(model, "one")
    assert torch.equal(model.logits(model(IDS)), plain)


def test_int8_layers_have_the_gradient_of_the_weights_that_they_stand_for() -> None:
    layer = nn.Linear(12, 5)
    small = Int8Linear(layer)
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(1), requires_grad=True)
    slope = torch.randn(3, 5, generator=torch.Generator().manual_seed(2))
    (small(x) * slope).sum().backward()
    found, x.grad = x.grad, None
    (nn.functional.linear(x, small.floats(), layer.bias) * slope).sum().backward()
    torch.testing.assert_close(found, x.grad)


def test_settings_and_names_that_make_no_adapter_are_refused() -> None:
    model = adapted()
    for rank, alpha, targets, message in (
        (0, 8, TARGETS, "rank 0"),
        (4, -1, TARGETS, "alpha -1"),
        (4, 8, [], "targets"),
        (4, 8, ["query", "embedding"], "some of query, key"),
    ):
        with pytest.raises(UsageError, match=message):
            add_adapter(model, "two", rank, alpha, targets, 1)
    with pytest.raises(UsageError, match="a second adapter named 'one'"):
        add_adapter(model, "one", 4, 8, TARGETS, 1)
    for name in ("", "a.b", "-a", "é", "a" * 65):
        with pytest.raises(UsageError, match="an adapter named"):
            add_adapter(model, name, 4, 8, TARGETS, 1)
    for act in (use_adapter, remove_adapter, merged, adapter_tensors):
        with pytest.raises(UnknownName, match="no adapter named 'two'; expected one of: one"):
            act(model, "two")
    tensors = adapter_tensors(model, "one")
    with pytest.raises(FormatError, match="is absent"):
        fill_adapter(model, "one", dict(list(tensors.items())[1:]))


def test_frozen_matrices_are_cast_once_and_come_back_without_a_changed_bit() -> None:
    found = []
    for once in (False, True):
        model = adapted()
        before = {name: one.clone() for name, one in model.state_dict().items()}
        optimizer = build_optimizer(model, "adamw", 0.01, 0.1)
        with cast_once(model, "bfloat16" if once else "float32"):
            matrix = model.blocks[0].attention.query.weight
            assert matrix.dtype == (torch.bfloat16 if once else torch.float32)
            batch = TokenBatch(IDS[:, :-1], IDS[:, 1:], torch.ones_like(IDS[:, 1:]).bool())
            for _ in range(3):
                loss = train_step(
                    model, optimizer, batch, Choices("bfloat16", False, 2, 1), 1.0, next_token()
                ).loss
        after = model.state_dict()
        trained = trained_names(model)
        assert all(torch.equal(after[n], one) for n, one in before.items() if n not in trained)
        assert model.output_weight().dtype == torch.float32
        found.append((loss, {name: after[name] for name in trained}))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(one, found[1][1][name]) for name, one in found[0][1].items())


def test_micro_batches_at_once_give_the_gradient_of_one_after_the_other() -> None:
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[0, 4:9] = mask[1, 2:] = mask[2, 11:] = True
    batch = TokenBatch(IDS, IDS.roll(-1, 1), mask)
    gradients, losses = [], []
    for at_once in (1, 2, 2):
        model = adapted()
        choices = Choices("float32", False, 1, torch.get_num_threads(), at_once)
        losses.append(accumulate(model, batch, choices, next_token()))
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
        assert torch.get_num_threads() == choices.num_threads
    assert losses[1] == losses[2] == pytest.approx(losses[0])
    assert all(map(torch.equal, gradients[1], gradients[2]))  # whichever thread ends first
    for one, other in zip(*gradients[:2], strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
