"""Every kind of tensor has the values that the gguf package finds in it, bit for bit."""

from __future__ import annotations

import io

import gguf
import numpy as np
import pytest
from seeds import KINDS as TESTED_KINDS

from noria.containers.dequantize import KINDS, SLICE_ELEMENTS, dequantize_from


def read(raw: bytes, kind: str, num_blocks: int) -> np.ndarray:
    out = np.full(num_blocks * KINDS[kind].block_elements, -1, np.float32)
    assert dequantize_from(io.BytesIO(raw), kind, out) == len(raw)
    return out


def theirs(raw: np.ndarray, kind: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind]).reshape(-1)


def test_the_kinds_are_those_of_the_gguf_package() -> None:
    assert set(KINDS) == set(TESTED_KINDS)
    for name, kind in KINDS.items():
        wanted = gguf.GGMLQuantizationType[name]
        assert kind.code == wanted
        assert (kind.block_elements, kind.block_bytes) == gguf.GGML_QUANT_SIZES[wanted]
        assert SLICE_ELEMENTS % kind.block_elements == 0


@pytest.mark.parametrize("kind", KINDS)
def test_random_blocks_have_the_same_bits_as_theirs(kind: str) -> None:
    """Random bytes: every pattern of quants and packed scales, infinities and subnormals too."""
    num_blocks = 2 * SLICE_ELEMENTS // KINDS[kind].block_elements + 3  # two slices and a rest
    shape = (num_blocks, KINDS[kind].block_bytes)
    raw = np.random.default_rng(7).integers(0, 256, shape, np.uint8)
    ours, wanted = read(raw.tobytes(), kind, num_blocks), theirs(raw, kind)
    np.testing.assert_array_equal(ours.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_what_the_gguf_package_quantized_comes_back_near(kind: str) -> None:
    """An oracle beside its dequantiser: the numbers that went in."""
    values = np.random.default_rng(8).standard_normal((40, 64), np.float32)
    raw = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    ours = read(raw.tobytes(), kind, values.size // KINDS[kind].block_elements)
    steps = {"F16": 1e-3, "BF16": 1e-2, "Q8_0": 0.02, "Q4_0": 0.4, "Q4_1": 0.3}
    assert np.abs(ours - values.reshape(-1)).max() < steps.get(kind, 0.2)


def test_a_source_that_ends_early_says_how_far_it_came() -> None:
    out = np.empty(64, np.float32)
    assert dequantize_from(io.BytesIO(bytes(40)), "Q8_0", out) == 40


def test_an_empty_tensor_reads_nothing() -> None:
    assert dequantize_from(io.BytesIO(b"xx"), "F32", np.empty(0, np.float32)) == 0
