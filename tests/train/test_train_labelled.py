"""Batches of labelled rows: every row once a pass, a function of the step, little padding."""

from __future__ import annotations

import numpy as np
import torch

from noria.train.labelled import (
    Framing,
    HiddenTokens,
    LabelledRows,
    RowOrder,
    hide,
    windows,
)

FRAMING = Framing(begin_id=2, end_id=3, pad_id=0, mask_id=4, window_tokens=24)
VOCAB_SIZE = 90


def rows_of(num: int, seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(5, VOCAB_SIZE, int(random.integers(0, 60))) for _ in range(num)]


def test_each_pass_sees_every_row_once_in_another_order() -> None:
    order = RowOrder([len(row) for row in rows_of(101)], 8, seed=3)
    assert order.num_batches == 13
    passes = [
        np.concatenate([order.rows(number * 13 + step) for step in range(13)]) for number in (0, 1)
    ]
    assert all(sorted(one) == list(range(101)) for one in passes)
    assert (passes[0] != passes[1]).any()
    again = RowOrder([len(row) for row in rows_of(101)], 8, seed=3)
    assert (again.rows(17) == order.rows(17)).all(), "any step can be asked for first"


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 640)
    sorted_, plain = RowOrder(lengths, 16, 1), np.random.default_rng(2).permutation(640)
    batches = [sorted_.rows(step) for step in range(sorted_.num_batches)]
    padded = sum(len(one) * lengths[one].max() for one in batches)
    unsorted = sum(16 * lengths[plain[at : at + 16]].max() for at in range(0, 640, 16))
    assert padded < 1.2 * lengths.sum() < 0.75 * unsorted


def test_a_batch_is_the_rows_windows_between_marks_with_their_labels() -> None:
    rows = rows_of(40)
    source = LabelledRows(windows(rows, FRAMING, 8, 3), lambda chosen: torch.from_numpy(chosen % 7))
    starts = set()
    for step in range(60):
        batch = source.batch(step)
        again = source.batch(step)
        assert torch.equal(batch.ids, again.ids)
        chosen = source.windows.order.rows(step)
        assert batch.labels.tolist() == [int(one) % 7 for one in chosen]
        assert batch.counted.all()
        assert batch.ids.shape[1] <= FRAMING.window_tokens
        for number, ids, real in zip(chosen, batch.ids, batch.real, strict=True):
            found, whole = ids[real].numpy(), rows[number]
            assert (found[0], found[-1]) == (FRAMING.begin_id, FRAMING.end_id)
            assert len(found) == min(len(whole), FRAMING.window_tokens - 2) + 2
            assert (ids[~real] == FRAMING.pad_id).all()
            inside = found[1:-1]
            start = next(
                at
                for at in range(len(whole) - len(inside) + 1)
                if (whole[at : at + len(inside)] == inside).all()
            )
            if len(whole) > FRAMING.window_tokens:
                starts.add(int(start))
    assert len(starts) > 5, "a long row shows another part each time"
    assert "rows" in source.describe(0)


def test_hidden_tokens_are_asked_for_and_marks_never() -> None:
    rows = [row for row in rows_of(64) if len(row)]
    source = HiddenTokens(windows(rows, FRAMING, 16, 3), VOCAB_SIZE, share=0.3)
    num_hidden = num_real = 0
    for step in range(8):
        batch = source.batch(step)
        assert batch.lengths is not None
        assert not batch.mask[:, 0].any()
        marks = (batch.targets == FRAMING.begin_id) | (batch.targets == FRAMING.end_id)
        assert not (batch.mask & marks).any()
        assert not (batch.mask & ~batch.real).any()
        unchanged = batch.ids == batch.targets
        assert unchanged[~batch.mask].all()
        num_hidden += int(batch.mask.sum())
        num_real += int(batch.lengths.sum()) - 2 * len(batch.ids)
    assert 0.25 < num_hidden / num_real < 0.35


def test_a_share_of_what_a_model_reads_is_hidden() -> None:
    row = np.array([2, *range(5, 85), 3])
    seen = hide(row, FRAMING.mask_id, 0.25, np.random.default_rng(1))
    assert (seen[0], seen[-1]) == (2, 3)
    assert 10 <= (seen == FRAMING.mask_id).sum() <= 30
    assert ((seen == row) | (seen == FRAMING.mask_id)).all()
