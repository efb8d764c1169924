"""The named base, made a folder of ours once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from noria.bases.catalogue import resolve_base
from noria.bases.importing import import_encoder
from noria.runtime import cache_folder

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("minilm")
    import_encoder(resolve_base("all-minilm-l6-v2", Path(), cache_folder()), out)
    return out
