"""Positions are what the papers' formulas and other programs compute."""

import math
import warnings
from dataclasses import replace

import pytest
import torch

from noria.model.positions import places_in_documents, sinusoidal_table
from noria.model.relative import relative_buckets
from noria.model.rotary import rotary_table, rotate
from noria.model.styles import Positions

torch.set_num_threads(1)


@pytest.mark.parametrize("factor", [1.0, 4.0])
@pytest.mark.parametrize("scaling", ["none", "linear", "ntk"])
def test_rotary_angles_are_the_formula(scaling: str, factor: float) -> None:
    positions = Positions(base=500.0, scaling=scaling, factor=factor)
    cos, sin = rotary_table(12, 8, positions)
    assert cos.shape == sin.shape == (12, 4)
    for place in range(12):
        for pair in range(4):
            base, at = 500.0, float(place)
            if scaling == "linear":
                at /= factor
            if scaling == "ntk":
                base *= factor ** (8 / 6)
            angle = at * base ** (-2 * pair / 8)
            assert cos[place, pair].item() == pytest.approx(math.cos(angle), abs=1e-5)
            assert sin[place, pair].item() == pytest.approx(math.sin(angle), abs=1e-5)


def test_ntk_leaves_the_fastest_pair_alone_and_stretches_the_slowest_by_the_factor() -> None:
    plain, stretched = (
        torch.atan2(*reversed(rotary_table(2, 16, Positions(scaling=scaling, factor=4.0))))[1]
        for scaling in ("none", "ntk")
    )
    assert stretched[0].item() == pytest.approx(plain[0].item(), rel=1e-5)
    assert stretched[-1].item() == pytest.approx(plain[-1].item() / 4.0, rel=1e-4)


def test_linear_scaling_is_that_of_transformers() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    config = LlamaConfig(hidden_size=32, num_attention_heads=2, rope_parameters=rope)
    frequencies, amplitude = ROPE_INIT_FUNCTIONS["linear"](config, "cpu")
    assert amplitude == 1.0
    angles = torch.arange(50).float()[:, None] * frequencies
    cos, sin = rotary_table(50, 16, Positions(scaling="linear", factor=4.0))
    assert torch.allclose(cos, angles.cos(), atol=1e-5)
    assert torch.allclose(sin, angles.sin(), atol=1e-5)


def test_rotation_turns_each_pair_by_its_angle() -> None:
    cos, sin = rotary_table(9, 6, Positions())
    x = torch.randn(2, 9, 3, 6, generator=torch.Generator().manual_seed(1))
    found = rotate(x, cos[None, :, None], sin[None, :, None])
    pairs = torch.complex(x[..., :3], x[..., 3:])
    turned = pairs * torch.complex(cos, sin)[None, :, None]
    assert torch.allclose(found, torch.cat((turned.real, turned.imag), -1), atol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20), (6, 9)])
def test_relative_buckets_are_those_of_t5(causal: bool, buckets: int, distance: int) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    positions = Positions(kind="relative", buckets=buckets, distance_tokens=distance)
    distances = torch.arange(-300, 301)[None]
    wanted = T5Attention._relative_position_bucket(
        distances, bidirectional=not causal, num_buckets=buckets, max_distance=distance
    )
    assert torch.equal(relative_buckets(distances, positions, causal=causal), wanted)


def test_sines_are_the_papers() -> None:
    table = sinusoidal_table(20, 10)
    for place in range(20):
        for pair in range(5):
            angle = place / 10000 ** (2 * pair / 10)
            assert table[place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sines_before_cosines_are_marians() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    wanted = MarianSinusoidalPositionalEmbedding(40, 12).create_weight()
    assert torch.allclose(sinusoidal_table(40, 12, interleaved=False), wanted, atol=1e-6)


def test_places_start_anew_with_every_document() -> None:
    documents = torch.tensor([[4, 4, 4, 7, 2, 2], [0, 1, 2, 2, 2, 2]])
    wanted = torch.tensor([[0, 1, 2, 0, 0, 1], [0, 0, 0, 1, 2, 3]])
    assert torch.equal(places_in_documents(documents), wanted)


def test_a_factor_of_one_scales_nothing() -> None:
    plain = Positions(base=300.0)
    for scaling in ("linear", "ntk"):
        one = rotary_table(30, 8, replace(plain, scaling=scaling))
        assert all(map(torch.equal, one, rotary_table(30, 8, plain)))
