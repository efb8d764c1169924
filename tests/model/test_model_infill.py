"""A text in the order of infilling says the same, and reads back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.errors import UsageError
from noria.model.infill import ORDERS, Sentinels, infill_order, text_order

MARKS = Sentinels(prefix=97, suffix=98, middle=99)
IDS = st.lists(st.integers(0, 96), max_size=30)


def test_each_order_is_the_papers() -> None:
    ids = [1, 2, 3, 4, 5, 6]
    assert infill_order(ids, 2, 5, MARKS) == [97, 1, 2, 98, 6, 99, 3, 4, 5]
    found = infill_order(ids, 2, 5, MARKS, "suffix-prefix-middle")
    assert found == [97, 98, 6, 99, 1, 2, 3, 4, 5]


@given(IDS, st.data(), st.sampled_from(ORDERS))
def test_any_cut_reads_back(ids: list[int], data: st.DataObject, order: str) -> None:
    start = data.draw(st.integers(0, len(ids)))
    end = data.draw(st.integers(start, len(ids)))
    turned = infill_order(ids, start, end, MARKS, order)
    assert text_order(turned, MARKS) == ids
    assert turned[len(turned) - (end - start) :] == ids[start:end]  # the middle comes last
    assert sorted(turned) == sorted([*ids, 97, 98, 99])


@given(IDS, IDS, IDS, st.sampled_from(ORDERS))
def test_the_prompt_of_a_gap_begins_what_was_trained_on(
    before: list[int], middle: list[int], after: list[int], order: str
) -> None:
    start, end = len(before), len(before) + len(middle)
    trained = infill_order([*before, *middle, *after], start, end, MARKS, order)
    prompt = infill_order([*before, *after], start, start, MARKS, order)
    assert trained == prompt + middle


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_a_cut_outside_the_text_is_refused(start: int, end: int) -> None:
    with pytest.raises(UsageError, match="3 tokens"):
        infill_order([1, 2, 3], start, end, MARKS)


def test_other_orders_and_texts_with_sentinels_are_refused() -> None:
    with pytest.raises(UsageError, match="suffix-prefix-middle"):
        infill_order([1, 2], 0, 1, MARKS, "middle-first")
    with pytest.raises(UsageError, match="sentinel"):
        infill_order([1, 98], 0, 1, MARKS)


@pytest.mark.parametrize(
    "ids", [[], [1, 2], [97, 1, 99, 2, 98], [97, 98], [5, 97, 98, 99], [97, 98, 99, 98]]
)
def test_ids_in_no_such_order_are_refused(ids: list[int]) -> None:
    with pytest.raises(UsageError, match="order of infilling"):
        text_order(ids, MARKS)


@pytest.mark.parametrize("ids", [(1, 1, 2), (1, 2, -3), (1, 2, True), (1, 2.0, 3)])
def test_sentinels_are_three_ids(ids: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="three different"):
        Sentinels(*ids)
