"""The vectorised n-gram model against a slow one, written from the formulas of the paper."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.baselines.ngram import NgramModel, load_ngram, train_ngram
from noria.errors import FormatError, UsageError

END = 0


class SlowKneserNey:
    """Chen & Goodman (1998), section 4.1.6 and equation 4.34, with dictionaries and recursion."""

    def __init__(self, documents: list[list[int]], vocab_size: int, order: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        occurrences: Counter[tuple[int, ...]] = Counter()
        before: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        for document in documents:
            line = [END, *document, END]
            for end in range(1, len(line)):
                for length in range(1, order + 1):
                    start = end - length + 1
                    if start < 0:
                        continue
                    gram = tuple(line[start : end + 1])
                    occurrences[gram] += 1
                    if start > 0:
                        before[gram].add(line[start - 1])
        self.counts: dict[int, dict[tuple[int, ...], int]] = {n: {} for n in range(1, order + 1)}
        for gram, times in occurrences.items():
            begins = len(gram) > 1 and gram[0] == END
            longest = len(gram) == order
            self.counts[len(gram)][gram] = times if begins or longest else len(before[gram])
        self.discounts = {n: self._discounts(n) for n in self.counts}

    def _discounts(self, length: int) -> tuple[float, float, float]:
        n = Counter(self.counts[length].values())
        fallback = (0.5, 1.0, 1.5)
        if not all(n[j] for j in (1, 2, 3, 4)):
            return fallback
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))
        return found if all(0 < d <= j + 1 for j, d in enumerate(found)) else fallback

    def probability(self, word: int, history: tuple[int, ...]) -> float:
        history = history[-(self.order - 1) :] if self.order > 1 else ()
        length = len(history) + 1
        lower = self.probability(word, history[1:]) if history else 1 / self.vocab_size
        followers = {g: c for g, c in self.counts[length].items() if g[:-1] == history}
        if not followers:
            return lower
        total = sum(followers.values())
        d = self.discounts[length]
        gamma = sum(d[min(c, 3) - 1] for c in followers.values()) / total
        count = followers.get((*history, word), 0)
        kept = count - d[min(count, 3) - 1] if count else 0.0
        return kept / total + gamma * lower

    def log_probs(self, document: list[int]) -> list[float]:
        line = [END, *document]
        found = []
        for at in range(1, len(line)):
            ends = [i for i in range(at) if line[i] == END]
            found.append(math.log(self.probability(line[at], tuple(line[ends[-1] : at]))))
        return found


def joined(documents: list[list[int]]) -> np.ndarray:
    return np.array([id_ for document in documents for id_ in (*document, END)], dtype=np.uint16)


def some_documents(seed: int, num: int, vocab_size: int) -> list[list[int]]:
    """Documents in which few tokens are frequent and many rare, as in text."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 14, size=num)
    return [
        (1 + np.minimum(random.zipf(1.6, size=length), vocab_size - 1) - 1).tolist()
        for length in lengths
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("num", [3, 200])
def test_probabilities_equal_the_papers_formulas(order: int, num: int) -> None:
    documents = some_documents(order, num, 24)
    fast = train_ngram(joined(documents), 24, order, end_id=END)
    slow = SlowKneserNey(documents, 24, order)
    for document in [*documents[:15], [7, 7, 23, 1, 1, 2], [23, 22], [1, END, 2, 1, END]]:
        assert fast.log_probs(document) == pytest.approx(slow.log_probs(document), abs=2e-6)


def test_discounts_of_a_large_enough_corpus_are_estimated_not_the_fallback() -> None:
    slow = SlowKneserNey(some_documents(3, 200, 24), 24, 3)
    assert slow.discounts[3] != (0.5, 1.0, 1.5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=9), min_size=1, max_size=12),
    st.lists(st.integers(1, 8), max_size=6),
    st.integers(1, 5),
)
def test_probabilities_of_all_tokens_sum_to_one(
    documents: list[list[int]], context: list[int], order: int
) -> None:
    model = train_ngram(joined(documents), 9, order, end_id=END)
    total = sum(math.exp(model.log_probs([*context, token])[-1]) for token in range(9))
    assert total == pytest.approx(1.0, abs=1e-5)


def test_contexts_do_not_cross_the_end_of_a_document() -> None:
    documents = some_documents(5, 60, 12)
    model = train_ngram(joined(documents), 12, end_id=END)
    one, other = [*documents[0], END], [*documents[1], END]
    apart = np.concatenate([model.log_probs(one), model.log_probs(other)])
    assert np.array_equal(model.log_probs([*one, *other]), apart)


def test_a_leading_end_token_changes_nothing() -> None:
    tokens = joined(some_documents(6, 40, 12))
    model = train_ngram(tokens, 12, end_id=END)
    with_end = train_ngram(np.concatenate([[END], tokens]), 12, end_id=END)
    assert model.weight_hash == with_end.weight_hash


def test_text_like_the_training_text_is_likelier_than_shuffled_text() -> None:
    line = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    model = train_ngram(joined([line] * 6 + some_documents(7, 20, 12)), 12, end_id=END)
    assert model.log_probs(line).sum() > model.log_probs(sorted(line)).sum() + 5


def test_a_saved_model_is_the_same_when_loaded(tmp_path: Path) -> None:
    model = train_ngram(joined(some_documents(8, 80, 16)), 16, 4, end_id=END)
    model.save(tmp_path)
    loaded = load_ngram(tmp_path)
    assert loaded.weight_hash == model.weight_hash
    assert loaded.num_ngrams == model.num_ngrams > 16
    assert np.array_equal(loaded.log_probs([1, 2, 3, 1]), model.log_probs([1, 2, 3, 1]))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[NgramModel, Path]:
    model = train_ngram(joined(some_documents(9, 30, 12)), 12, 3, end_id=END)
    model.save(tmp_path)
    return model, tmp_path


def test_a_damaged_folder_is_refused(saved: tuple[NgramModel, Path]) -> None:
    _, folder = saved
    path = folder / "keys-2.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])  # cut
    with pytest.raises(FormatError, match="train it again"):
        load_ngram(folder)
    np.save(path, np.array(["a", {}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="n-gram model"):
        load_ngram(folder)
    np.save(path, np.zeros(3, dtype=np.int64))
    with pytest.raises(FormatError, match="different lengths"):
        load_ngram(folder)
    path.write_bytes(whole)
    load_ngram(folder)
    (folder / "ngram.json").write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(FormatError, match="format 2"):
        load_ngram(folder)


def test_ids_outside_the_vocabulary_are_refused(saved: tuple[NgramModel, Path]) -> None:
    model, _ = saved
    with pytest.raises(UsageError, match="0 to 11"):
        model.log_probs([12])
    with pytest.raises(UsageError, match="0 to 11"):
        train_ngram(np.array([1, 40]), 12, end_id=END)
    with pytest.raises(UsageError, match="no token"):
        train_ngram(np.array([END]), 12, end_id=END)
