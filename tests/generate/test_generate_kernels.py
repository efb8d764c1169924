"""Attention of a prompt's first piece, which is read in bands, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from noria.generate.blocks import BlockPool
from noria.generate.kernels import BAND_TOKENS, RaggedStep, Span
from noria.model.config import ModelConfig

CONFIG = ModelConfig(300, 512, 2, 48, 6, 2, 64)
SCALE = 0.3


@pytest.mark.parametrize("num_tokens", [2, BAND_TOKENS, BAND_TOKENS + 1, 3 * BAND_TOKENS - 1])
def test_bands_say_what_the_whole_table_says(num_tokens: int) -> None:
    pool = BlockPool(CONFIG, 32, 16)
    chance = torch.Generator().manual_seed(num_tokens)
    queries, keys, values = (
        torch.randn(1, heads, num_tokens, 8, generator=chance) for heads in (6, 2, 2)
    )
    queries[:, :, -1] *= 30  # sharp: whatever reads the wrong key says so
    step = RaggedStep(pool, [Span(num_tokens, 0, range(1, 17))])
    with torch.inference_mode():
        found = step.attend(1, queries, keys, values, SCALE)
    wanted = F.scaled_dot_product_attention(
        queries, keys, values, is_causal=True, scale=SCALE, enable_gqa=True
    )
    assert float((found - wanted).abs().max()) < 1e-5
