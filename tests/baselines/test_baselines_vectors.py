"""Vectors against formulas written as loops, and on a corpus whose neighbours are known."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_data import TWINS, company, joined
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.baselines.glove import (
    EXPONENT,
    FULL_COUNT,
    GloveNetwork,
    GlovePlan,
    count_pairs,
    train_glove,
)
from noria.baselines.vectors import Vectors, load_vectors, with_vectors
from noria.baselines.word2vec import Word2VecPlan, train_word2vec
from noria.errors import FormatError, MissingExtra, TrainingError, UsageError
from noria.model.config import ModelConfig
from noria.model.transformer import Decoder, build_decoder, build_model
from noria.model.weights import model_weight_hash

torch.set_num_threads(1)
END = 0
GLOVE = GlovePlan(width=8, window_tokens=2, num_epochs=200)
WORD2VEC = Word2VecPlan(width=8, window_tokens=2, kept_whole=1.0, num_epochs=200)


def slow_pairs(documents: list[list[int]], window: int) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = defaultdict(float)
    for document in documents:
        for i, first in enumerate(document):
            for j, second in enumerate(document):
                if 0 < abs(i - j) <= window:
                    found[first, second] += 1 / abs(i - j)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=7), min_size=1, max_size=5),
    st.integers(1, 9),
)
def test_pairs_are_counted_as_by_loops(documents: list[list[int]], window: int) -> None:
    pairs = count_pairs(joined(documents, END), 6, window, end_id=END)
    found = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    counted = dict(zip(found, pairs.counts.tolist(), strict=True))
    assert counted == pytest.approx(dict(slow_pairs(documents, window)))


def test_the_loss_equals_the_formula_by_loops() -> None:
    documents = [[1, 2, 3, 2], [3, 1], [4, 4, 1] * 90]
    pairs = slow_pairs(documents, 3)
    assert min(pairs.values()) < FULL_COUNT < max(pairs.values())
    network = GloveNetwork(5, 6, torch.Generator().manual_seed(1))
    for table in (network.main, network.context):
        table.weight.data.mul_(8)
    main, context = (
        table.weight.detach().double().numpy() for table in (network.main, network.context)
    )
    wanted = 0.0
    for (i, j), x in pairs.items():
        weight = (x / FULL_COUNT) ** EXPONENT if x < FULL_COUNT else 1.0
        product = sum(main[i, k] * context[j, k] for k in range(6))
        wanted += weight * (product + main[i, 6] + context[j, 6] - math.log(x)) ** 2
    counted = count_pairs(joined(documents, END), 5, 3, end_id=END)
    columns = (torch.from_numpy(counted.first), torch.from_numpy(counted.second))
    loss = network(*columns, torch.from_numpy(counted.counts).float())
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.fixture(scope="module")
def trained() -> dict[str, Vectors]:
    tokens = company(600, 1)
    return {
        "glove": train_glove(tokens, 14, end_id=END, plan=GLOVE),
        "word2vec": train_word2vec(tokens, 14, end_id=END, plan=WORD2VEC),
    }


@pytest.mark.parametrize("kind", ["glove", "word2vec"])
def test_tokens_in_the_same_company_are_nearest(trained: dict[str, Vectors], kind: str) -> None:
    vectors = trained[kind]
    nearest = {
        one: next(other for other, _ in vectors.neighbours(one, 12) if other in TWINS)
        for one in TWINS
    }
    assert nearest == TWINS
    assert vectors.known.tolist() == [False, *[True] * 12, False]  # neither the end nor 13
    with pytest.raises(UsageError, match="has a vector"):
        vectors.neighbours(END)


def test_the_seed_alone_decides_both_kinds() -> None:
    tokens = company(100, 2)
    for train, plan in ((train_glove, GlovePlan), (train_word2vec, Word2VecPlan)):
        hashes = []
        for seed in (0, 0, 1):
            torch.manual_seed(len(hashes))
            found = train(tokens, 14, end_id=END, plan=plan(4, 2, num_epochs=3, seed=seed))
            hashes.append(found.weight_hash)
        assert hashes[0] == hashes[1] != hashes[2]


def test_a_document_longer_than_gensim_reads_is_read_whole() -> None:
    document = [1, 2] * 5_500 + [3, 4] * 20
    vectors = train_word2vec(
        joined([document], END), 5, end_id=END, plan=Word2VecPlan(4, 2, kept_whole=1.0)
    )
    cosines = dict(vectors.neighbours(3))
    assert vectors.known[[3, 4]].all()
    untrained = 0.5 / 4  # what gensim draws vectors from, at most, in each direction
    assert np.abs(vectors.matrix[3]).max() > untrained
    assert cosines[4] > cosines[1]


def test_losses_that_explode_and_text_without_pairs_are_refused() -> None:
    with pytest.raises(TrainingError, match="learning rate"):
        train_glove(company(20, 1), 14, end_id=END, plan=GlovePlan(4, learning_rate=1e30))
    with pytest.raises(UsageError, match="no two tokens"):
        count_pairs(np.array([1, END, 2, END]), 3, 5, end_id=END)
    with pytest.raises(UsageError, match="0 to 2"):
        train_word2vec(np.array([3, END]), 3, end_id=END)


def test_without_gensim_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(MissingExtra, match=r"noria\[vectors\]"):
        train_word2vec(company(5, 1), 14, end_id=END)


def test_neighbours_are_those_of_the_largest_cosines() -> None:
    matrix = np.random.default_rng(1).standard_normal((30, 5)).astype(np.float32)
    cosines = [
        float(matrix[4] @ row / np.linalg.norm(matrix[4]) / np.linalg.norm(row)) for row in matrix
    ]
    wanted = sorted((one for one in range(30) if one != 4), key=lambda one: -cosines[one])
    found = Vectors(matrix).neighbours(4, 50)
    assert [one for one, _ in found] == wanted
    assert [cosine for _, cosine in found] == pytest.approx(
        [cosines[one] for one in wanted], abs=1e-6
    )


def test_saved_vectors_are_the_same_when_loaded(
    trained: dict[str, Vectors], tmp_path: Path
) -> None:
    trained["glove"].save(tmp_path)
    loaded = load_vectors(tmp_path)
    assert loaded.weight_hash == trained["glove"].weight_hash
    assert loaded.neighbours(1) == trained["glove"].neighbours(1)
    np.save(tmp_path / "matrix.npy", np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(FormatError, match="word vectors"):
        load_vectors(tmp_path)
    with pytest.raises(UsageError, match="float64"):
        Vectors(np.ones((3, 2)))


def fresh(width: int, vocab_size: int = 40) -> Decoder:
    config = ModelConfig(
        vocab_size=vocab_size,
        context_tokens=8,
        num_layers=1,
        width=width,
        num_heads=2,
        num_kv_heads=2,
        ffn_width=16,
    )
    return build_decoder(config, seed=1)


def low_rank(width: int) -> Vectors:
    """Vectors of 40 ids that vary in 4 directions alone; id 7 has none."""
    random = np.random.default_rng(2)
    matrix = random.standard_normal((40, 4)) @ random.standard_normal((4, width))
    matrix[7] = 0
    return Vectors(matrix.astype(np.float32))


@pytest.mark.parametrize("width", [16, 12, 8, 32])
def test_a_model_begins_with_the_neighbours_of_its_vectors(width: int) -> None:
    vectors, model = low_rank(16), fresh(width)
    before = model_weight_hash(model)
    begun = with_vectors(model, vectors, seed=3)
    rows = begun.embedding.weight.detach()
    known = torch.from_numpy(vectors.known)
    made = Vectors(np.where(vectors.known[:, None], rows.numpy(), np.float32(0)))
    for one in (0, 5, 39):
        exact = width <= 16  # four directions fit into 8 too; noise beside them moves cosines
        wanted, found = dict(vectors.neighbours(one, 40)), dict(made.neighbours(one, 40))
        assert found == pytest.approx(wanted, abs=1e-4 if exact else 0.1)
        assert made.neighbours(one, 1)[0][0] == vectors.neighbours(one, 1)[0][0]
    own = model.embedding.weight.detach()
    assert float(rows[known].std(correction=0)) == pytest.approx(float(own.std()), rel=1e-4)
    assert torch.equal(rows[7], own[7])  # an id without a vector
    assert model_weight_hash(model) == before
    assert torch.equal(begun.blocks[0].feedforward.up.weight, model.blocks[0].feedforward.up.weight)
    assert not torch.equal(begun(torch.tensor([[1, 2]])), model(torch.tensor([[1, 2]])))


def test_an_encoder_decoder_begins_with_vectors_too() -> None:
    config = ModelConfig(
        vocab_size=40,
        context_tokens=8,
        num_layers=1,
        width=8,
        num_heads=2,
        num_kv_heads=2,
        ffn_width=16,
        family="encoder-decoder",
        num_encoder_layers=1,
    )
    begun = with_vectors(build_model(config, 1), low_rank(8))
    directions = begun.embedding.weight.detach()[0] / torch.from_numpy(low_rank(8).matrix[0])
    assert directions.tolist() == pytest.approx([float(directions[0])] * 8, rel=1e-5)


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(UsageError, match="vectors of 40 ids for a model of 41"):
        with_vectors(fresh(16, vocab_size=41), low_rank(16))
