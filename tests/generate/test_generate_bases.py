"""Models over one base: one copy of its weights, and proof that each is the one it is named for."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from noria.errors import FormatError, IntegrityError
from noria.generate.loaded import Bases, LanguageModel, load_language_model
from noria.model.adapters import adapter_tensors, add_adapter, fill_adapter
from noria.model.over_base import ADAPTER_FOLDER, ADAPTER_NAME, BASE_FILE
from noria.model.quantized import to_int8
from noria.model.weights import load_decoder
from noria.train.learner import save_learner


def tuned(base: Path, out: Path, seed: int, *, int8: bool = False) -> str:
    """A version folder as training leaves it; its weight hash."""
    model = load_decoder(base)
    if int8:
        to_int8(model)
    add_adapter(model, ADAPTER_NAME, 2, 4, ["query", "down"], seed)
    chance = torch.Generator().manual_seed(seed)
    drawn = {
        key: torch.randn(one.shape, generator=chance) / 4
        for key, one in adapter_tensors(model, ADAPTER_NAME).items()
    }
    fill_adapter(model, ADAPTER_NAME, drawn)
    out.mkdir(parents=True)
    return save_learner(out, model, base, base, "the base")


@pytest.fixture
def base(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["plain"], tmp_path / "base" / "one"))


def logits(model: LanguageModel) -> torch.Tensor:
    with torch.inference_mode():
        return model.model.logits(model.model(torch.tensor([[5, 6, 7, 8]])))


@pytest.mark.parametrize("int8", [False, True])
def test_versions_over_one_base_share_its_weights_under_their_own_hashes(
    base: Path, tmp_path: Path, int8: bool
) -> None:
    folders = [tmp_path / "train" / name for name in ("one", "two")]
    hashes = [tuned(base, folder, seed, int8=int8) for seed, folder in enumerate(folders)]
    bases = Bases()
    models = [bases.load(folder) for folder in folders]
    assert [one.weight_hash for one in models] == hashes
    assert models[0].base is models[1].base
    for path in ("blocks.0.attention.query.weight", "embedding.weight"):
        pointers = {one.model.state_dict()[path].data_ptr() for one in models}
        assert pointers == {models[0].base.state_dict()[path].data_ptr()}
    for model, folder in zip(models, folders, strict=True):
        merged = load_language_model(folder)
        assert merged.weight_hash == model.weight_hash and merged.adapter is None
        torch.testing.assert_close(logits(model), logits(merged), rtol=0, atol=1e-5)
    assert not torch.allclose(logits(models[0]), logits(models[1]), atol=1e-2)


def test_a_base_that_answers_itself_is_the_one_that_is_shared(base: Path, tmp_path: Path) -> None:
    tuned(base, tmp_path / "train" / "one", 1)
    bases = Bases()
    itself = bases.load(base)
    assert bases.load(tmp_path / "train" / "one").base is itself.model


def test_a_base_is_forgotten_with_the_last_model_over_it(base: Path, tmp_path: Path) -> None:
    tuned(base, tmp_path / "train" / "one", 1)
    bases = Bases()
    model = bases.load(tmp_path / "train" / "one")
    assert len(bases._bases) == 1
    del model
    gc.collect()
    assert len(bases._bases) == 0


def test_weights_that_are_not_base_and_adapter_are_refused(base: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "train" / "one", tmp_path / "train" / "other"
    tuned(base, folder, 1)
    tuned(base, other, 2)
    shutil.copytree(other / ADAPTER_FOLDER, folder / ADAPTER_FOLDER, dirs_exist_ok=True)
    with pytest.raises(IntegrityError, match="is not the base's plus the adapter's"):
        Bases().load(folder)


def test_a_base_of_other_weights_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "train" / "one"
    tuned(base, folder, 1)
    weights = load_file(base / "model.safetensors")
    weights["final_norm.weight"][0] += 1
    save_file(weights, base / "model.safetensors")
    with pytest.raises(IntegrityError, match="restore the base's folder"):
        Bases().load(folder)


def test_without_its_base_a_version_answers_from_its_merged_weights(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "train" / "one"
    found = tuned(base, folder, 1)
    shutil.rmtree(base)
    model = Bases().load(folder)
    assert model.adapter is None and model.weight_hash == found
    assert "base is gone" in caplog.text


def test_a_reference_of_another_form_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "train" / "one"
    tuned(base, folder, 1)
    (folder / ADAPTER_FOLDER / BASE_FILE).write_text('{"folder": 5}')
    with pytest.raises(FormatError, match="an object with"):
        Bases().load(folder)
