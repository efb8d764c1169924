"""Rows of two corpora are paired as a person with paper would, and lengths counted likewise."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from noria.corpus.choose import Smallest
from noria.corpus.ledger import pair_single, pair_up
from noria.corpus.lengths import distribution

KEYS = st.lists(st.integers(0, 5), max_size=20)


@given(KEYS, KEYS)
def test_equal_keys_are_paired_as_often_as_both_sides_have_them(a: list[int], b: list[int]) -> None:
    one, other = np.array(a, np.uint64), np.array(b, np.uint64)
    rows = pair_up(one, other, np.arange(len(a)), np.arange(len(b)))
    pairs_a, pairs_b, left_a, left_b = rows
    assert (one[pairs_a] == other[pairs_b]).all()
    assert Counter(one[pairs_a].tolist()) == Counter(a) & Counter(b)
    assert sorted([*pairs_a, *left_a]) == list(range(len(a)))
    assert sorted([*pairs_b, *left_b]) == list(range(len(b)))


@given(KEYS, KEYS)
def test_only_keys_that_stand_once_on_both_sides_are_paired_alone(
    a: list[int], b: list[int]
) -> None:
    one, other = np.array(a, np.uint64), np.array(b, np.uint64)
    rows = pair_single(one, other, np.arange(len(a)), np.arange(len(b)))
    single = {key for key in a if a.count(key) == 1 == b.count(key)}
    assert set(one[rows[0]].tolist()) == set(other[rows[1]].tolist()) == single
    assert sorted([*rows[0], *rows[2]]) == list(range(len(a)))


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50))
def test_every_length_is_in_one_bin_and_quantiles_are_lengths(values: list[int]) -> None:
    found = distribution("x", "characters", array("Q", values))
    assert found is not None
    assert [sum(b.low <= n < b.high for n in values) for b in found.bins] == [
        b.count for b in found.bins
    ]
    assert sum(b.count for b in found.bins) == len(values) == found.count
    for percent, value in found.quantiles:
        assert value in values
        assert sum(n <= value for n in values) * 100 >= percent * len(values)


def test_what_is_chosen_depends_on_the_keys_and_the_seed_and_not_on_their_order() -> None:
    def chosen(keys: list[str], seed: int) -> set[str]:
        some: Smallest[str] = Smallest(5, seed)
        for key in keys:
            some.offer(key, lambda key=key: key)  # type: ignore[misc]
        return set(some.kept())

    keys = [f"train.jsonl:{n}" for n in range(500)]
    assert chosen(keys, 0) == chosen(keys[::-1], 0) != chosen(keys, 1)
    assert len(chosen(keys, 0)) == 5 and len(chosen(keys[:3], 0)) == 3
