from pathlib import Path

import pytest
import torch

from noria.model.config import ModelConfig
from noria.model.styles import Norm, Positions
from noria.model.transformer import build_decoder
from noria.model.weights import save_model
from noria.tokenizer.train import train_tokenizer

TEXTS = [
    "The wheel turns because the river turns it; the river carries the water up.",
    "A water wheel lifts water to the fields, and the fields feed the town — café, naïve.",
    "水车由河水推动，把水提到高处，灌溉农田。机器学习需要数据。",
] * 3


@pytest.fixture(params=["plain", "chatml"])
def model_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small model with grouped keys and uneven norms; tied for plain, not for chatml."""
    torch.set_num_threads(1)
    folder = tmp_path / "model"
    facts = train_tokenizer(TEXTS, 340, folder, request.param)
    config = ModelConfig(
        vocab_size=facts["vocab_size"],
        context_tokens=48,
        num_layers=3,
        width=48,
        num_heads=6,
        num_kv_heads=2,
        ffn_width=80,
        positions=Positions(base=5000.0),
        norm=Norm(epsilon=3e-6),
        tied=request.param == "plain",
    )
    model = build_decoder(config, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():  # larger than fresh, so that errors would show
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
            else:
                parameter *= 5
    save_model(folder, model)
    return folder
