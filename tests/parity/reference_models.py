"""What parity tests share: weights and inputs that show a difference, and how two models compare.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import BertConfig, GPT2Config, GPT2LMHeadModel

ModelT = TypeVar("ModelT", bound=nn.Module)
LARGEST_DIFFERENCE = 1e-5
LARGEST_GRADIENT_DIFFERENCE = 1e-4
SMALLEST_GRADIENT = 1e-3  # below it, float32's own error is a larger part of the number


def spread(model: ModelT) -> ModelT:
    """Weights larger and less even than fresh ones, so that a difference would show."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
            else:
                parameter *= 4
    return model


def fresh_gpt2(vocab_size: int, **changes: Any) -> GPT2LMHeadModel:
    """A GPT-2 as transformers itself draws it, its config in its own words."""
    torch.manual_seed(3)
    values = {"vocab_size": vocab_size, "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4}
    return spread(GPT2LMHeadModel(GPT2Config(**(values | changes)))).eval()


def fresh_bert(build: Callable[[BertConfig], ModelT], vocab_size: int, **changes: Any) -> ModelT:
    """A BERT as transformers itself draws it."""
    torch.manual_seed(3)
    sizes = {"vocab_size": vocab_size, "hidden_size": 32, "intermediate_size": 64}
    counts = {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 48}
    config = BertConfig(**(sizes | counts | {"initializer_range": 0.1} | changes))
    return spread(build(config)).eval()


def random_ids(vocab_size: int, batch_size: int, num_tokens: int, seed: int = 1) -> Tensor:
    """Ids, evenly drawn. (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab_size, (batch_size, num_tokens), generator=generator)


def real_tokens(lengths_tokens: Sequence[int]) -> Tensor:
    """True for the first tokens of each row, false where the row is padded. (B, T)."""
    return torch.arange(max(lengths_tokens)) < torch.tensor(lengths_tokens)[:, None]


def fill_reference(
    reference: ModelT, tensors: Mapping[str, Tensor], tied: Collection[str] = ()
) -> ModelT:
    """Give a model of transformers our tensors: all that it has, but for those that are tied."""
    missing, unexpected = reference.load_state_dict(dict(tensors), strict=False)
    assert not unexpected
    assert set(missing) <= set(tied)
    reference.tie_weights()
    return reference.eval()


def assert_near(found: Tensor, wanted: Tensor) -> None:
    """Equal but for float32's own error: 1e-5, relative to the largest number above 1."""
    assert found.shape == wanted.shape
    assert wanted.std() > 0.1, "numbers that are too even to show a difference"
    largest = max(1.0, float(wanted.abs().max()))
    assert (found - wanted).abs().max() <= LARGEST_DIFFERENCE * largest


def assert_same_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """The same names, and the same bits under each."""
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradient of every parameter that the loss depends on, by its name."""
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(
    found: Mapping[str, Tensor], reference: nn.Module, always_zero: Collection[str] = ()
) -> None:
    """Our gradients, under the reference's names, are its own, for every parameter it has.

    They may differ by 1e-4, and by 1e-4 of a parameter's largest gradient where that is below 1.
    always_zero: endings of names whose gradient is zero but for rounding (a bias of all keys
    changes no softmax).
    """
    wanted = gradients(reference)
    trained = {name for name, one in reference.named_parameters() if one.requires_grad}
    assert found.keys() == wanted.keys() == trained
    for name, gradient in wanted.items():
        largest = float(gradient.abs().max())
        assert name.endswith(tuple(always_zero)) or largest > 1e-6, name
        allowed = LARGEST_GRADIENT_DIFFERENCE * min(1.0, max(largest, SMALLEST_GRADIENT))
        assert (found[name] - gradient).abs().max() <= allowed, name
