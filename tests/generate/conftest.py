from pathlib import Path

import pytest
import torch

from noria.generate.loaded import LanguageModel, load_language_model
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import save_model
from noria.tokenizer.train import train_tokenizer

TEXTS = [
    "The wheel turns because the river turns it; the river carries the water up.",
    "A water wheel lifts water to the fields, and the fields feed the town — café, naïve.",
    "水车由河水推动，把水提到高处，灌溉农田。机器学习需要数据。",
] * 3


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder for each chat format; fresh weights, real tokenizer."""
    torch.set_num_threads(1)
    found = {}
    for chat_format in ("plain", "chatml"):
        folder = tmp_path_factory.mktemp(chat_format)
        facts = train_tokenizer(TEXTS, 340, folder, chat_format)
        save_model(folder, build_decoder(preset("decoder-1m", facts["vocab_size"] + 4, 32), 1))
        found[chat_format] = folder
    return found


@pytest.fixture(scope="session")
def plain(folders: dict[str, Path]) -> LanguageModel:
    return load_language_model(folders["plain"])


@pytest.fixture(scope="session")
def chatml(folders: dict[str, Path]) -> LanguageModel:
    return load_language_model(folders["chatml"])
