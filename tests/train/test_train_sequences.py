"""Whole sequences as rows, batches of uneven rows, and Muon: what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from adapted_models import CONFIG

from noria.errors import FormatError, TrainingError
from noria.model.transformer import build_decoder
from noria.tokenizer.pack import open_shard, write_shard
from noria.train.batches import Blocks, Mixture, Sequences
from noria.train.checkpoint import frozen_digest, load_latest_checkpoint, save_checkpoint
from noria.train.objectives.losses import next_token
from noria.train.optim import build_optimizer
from noria.train.packing import Packed
from noria.train.plan import Choices
from noria.train.step import accumulate, train_step

CHATS = [([n, n + 1, n + 2, n + 3, 0], [0, 0, 1, 1, 0]) for n in range(10, 40)]
DOCUMENT = ([*range(50, 90), 0], [1] * 41)


def _shard(folder: Path, sequences: list[tuple[list[int], list[int]]]) -> Path:
    write_shard(folder, sequences, 97)
    return folder


def test_a_row_is_one_sequence_up_to_its_last_counted_token(tmp_path: Path) -> None:
    rows = Sequences(open_shard(_shard(tmp_path, CHATS)), 16, leads=False, seed=1)
    read = [rows.read(i) for i in range(30)]
    assert sorted(ids.tolist() for ids, *_ in read) == [ids[:4] for ids, _ in CHATS]
    assert all(mask.tolist() == [False, False, True, True] for _, mask, _ in read)
    assert [rows.read(30 + i)[0].tolist() for i in range(30)] != [one[0].tolist() for one in read]
    assert rows.mean_tokens == 3.0


def test_a_row_begins_behind_the_end_token_where_the_model_does(tmp_path: Path) -> None:
    shard = open_shard(_shard(tmp_path, [*CHATS, DOCUMENT]))
    leading = Sequences(shard, 64, leads=True, seed=1)
    assert all(leading.read(i)[0][0] == 0 for i in range(31))
    given = Sequences(shard, 64, leads=False, seed=1)
    first = [int(given.read(i)[0][0]) for i in range(31)]
    assert first.count(0) == 1  # the document: its own first token counts


def test_a_long_sequence_is_cut_and_every_token_counts_once(tmp_path: Path) -> None:
    rows = Sequences(open_shard(_shard(tmp_path, [DOCUMENT])), 16, leads=True, seed=1)
    targets = sorted(t for i in range(3) for t in rows.read(i)[0][1:].tolist())
    assert targets == sorted(DOCUMENT[0])
    assert all(len(rows.read(i)[0]) <= 17 for i in range(3))


def test_an_end_token_inside_a_chat_does_not_cut_it(tmp_path: Path) -> None:
    chat = ([5, 6, 0, 7, 8, 0], [0, 1, 1, 0, 1, 1])
    rows = Sequences(open_shard(_shard(tmp_path, [chat])), 16, leads=True, seed=1)
    assert rows.read(0)[0].tolist() == [0, *chat[0]]


def test_shards_of_the_first_format_are_still_read(tmp_path: Path) -> None:
    _shard(tmp_path, CHATS)
    wanted = open_shard(tmp_path).starts.tolist()
    (tmp_path / "starts.bin").unlink()
    path = tmp_path / "shard.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    assert open_shard(tmp_path).starts.tolist() == wanted


def test_starts_that_lie_are_refused(tmp_path: Path) -> None:
    _shard(tmp_path, CHATS)
    data = (tmp_path / "starts.bin").read_bytes()
    for lie in (b"\xff" * 8, (10**6).to_bytes(8, "little")):
        (tmp_path / "starts.bin").write_bytes(data[:8] + lie + data[16:])
        with pytest.raises(FormatError, match="out of order"):
            open_shard(tmp_path)


def test_nothing_to_learn_is_a_clear_error(tmp_path: Path) -> None:
    shard = open_shard(_shard(tmp_path, [([1, 2, 0], [0, 0, 0])]))
    with pytest.raises(TrainingError, match="no sequence"):
        Sequences(shard, 16, leads=False, seed=1)


def test_uneven_rows_have_the_gradient_of_each_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noria.train.batch.WIDTH_STEP", 4)
    shard = open_shard(_shard(tmp_path, [*CHATS[:5], DOCUMENT, ([3, 4, 0], [0, 1, 1])]))
    batch = Mixture([(Sequences(shard, 16, leads=True, seed=1), 1.0)], 9).batch(0)
    assert batch.lengths is not None and batch.lengths.tolist() == sorted(
        batch.lengths.tolist(), reverse=True
    )
    gradients = []
    for num_sequences in (9, 2, 1):
        model = build_decoder(CONFIG, 1)
        accumulate(model, batch, Choices("float32", False, num_sequences, 1), next_token())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)
    widths = [part.ids.shape[1] for part in batch.split(1)]
    assert widths == [-(-length // 4) * 4 for length in batch.lengths.tolist()]
    assert widths[-1] < widths[0]


def test_muon_turns_matrices_inside_blocks_and_adamw_the_rest() -> None:
    model = build_decoder(CONFIG, 1)
    optimizer = build_optimizer(model, "muon", 0.01, 0.1)
    assert [type(part).__name__ for part in optimizer.parts] == ["AdamW", "Muon"]
    owned = [sum(len(g["params"]) for g in part.param_groups) for part in optimizer.parts]
    assert owned == [1 + 2 * 2 + 1, 7 * 2]  # embedding, norms; seven matrices in each block
    optimizer.set_share(0.5)
    rates = {group["lr"] for part in optimizer.parts for group in part.param_groups}
    assert rates == {0.005}
    assert [type(p).__name__ for p in build_optimizer(model, "adamw", 0.01, 0.1).parts] == ["AdamW"]


def test_muon_goes_on_exactly_from_a_checkpoint(tmp_path: Path) -> None:
    shard = open_shard(_shard(tmp_path / "shard", [*CHATS, DOCUMENT]))
    mixture = Mixture([(Sequences(shard, 16, leads=True, seed=1), 1.0)], 8)

    def steps(model, optimizer, first: int, last: int) -> None:  # type: ignore[no-untyped-def]
        for step in range(first, last):
            train_step(
                model,
                optimizer,
                mixture.batch(step),
                Choices("float32", False, 4, 1),
                1.0,
                next_token(),
            )

    whole = build_decoder(CONFIG, 1)
    optimizer = build_optimizer(whole, "muon", 0.01, 0.1)
    steps(whole, optimizer, 0, 3)
    save_checkpoint(tmp_path / "c", whole, optimizer, 3, [], frozen_digest(whole))
    steps(whole, optimizer, 3, 6)
    resumed = build_decoder(CONFIG, 2)
    other = build_optimizer(resumed, "muon", 0.01, 0.1)
    assert load_latest_checkpoint(tmp_path / "c", resumed, other, "").step == 3
    steps(resumed, other, 3, 6)
    for ours, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_muon_learns_faster_than_adamw_in_few_steps(tmp_path: Path) -> None:
    shard = open_shard(_shard(tmp_path, [*CHATS, DOCUMENT]))
    mixture = Mixture([(Sequences(shard, 16, leads=True, seed=1), 1.0)], 8)
    losses = {}
    for name in ("adamw", "muon"):
        model = build_decoder(CONFIG, 1)
        optimizer = build_optimizer(model, name, 0.01, 0.0)
        for step in range(40):
            loss = train_step(
                model,
                optimizer,
                mixture.batch(step),
                Choices("float32", False, 8, 1),
                1.0,
                next_token(),
            ).loss
        losses[name] = loss
    assert losses["muon"] < losses["adamw"] < 4.0


def test_packed_rows_hold_every_sequence_once_a_pass_and_hardly_any_padding(
    tmp_path: Path,
) -> None:
    shard = open_shard(_shard(tmp_path, [*CHATS, DOCUMENT] * 6))
    sequences = Sequences(shard, 16, leads=True, seed=1)
    packed = Packed(sequences, 16)
    wanted = sorted(tuple(sequences.read(i).ids) for i in range(sequences.num_rows))
    first, index, seen = [], 0, 0
    while seen < sequences.num_rows:
        row = packed.read(index)
        assert row.documents is not None and len(row.ids) <= 17
        for number in range(row.documents[-1] + 1):
            first.append(tuple(row.ids[row.documents == number]))
        seen += row.documents[-1] + 1
        index += 1
    assert sorted(first) == wanted
    padding = sum(17 - len(packed.read(i).ids) for i in range(index)) / (17 * index)
    assert padding < 0.15
    again = Packed(Sequences(shard, 16, leads=True, seed=1), 16)
    for later in (index + 3, 1, 2 * index + 1):  # in any order, as after a resume
        assert np.array_equal(again.read(later).ids, packed.read(later).ids)
    assert packed.read(index).ids.tolist() != packed.read(0).ids.tolist()


def test_packed_rows_have_the_gradient_of_each_sequence_alone(tmp_path: Path) -> None:
    shard = open_shard(_shard(tmp_path, [*CHATS[:5], DOCUMENT]))
    sequences = Sequences(shard, 16, leads=True, seed=1)
    packed = Packed(sequences, 16)
    num_rows = int(sequences.num_tokens / packed.mean_tokens)
    gradients = []
    for source, count in ((packed, num_rows), (sequences, sequences.num_rows)):
        model = build_decoder(CONFIG, 1)
        batch = Mixture([(source, 1.0)], count).batch(0)
        accumulate(model, batch, Choices("float32", False, 2, 1), next_token())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_documents_of_a_block_do_not_read_each_other_when_kept_apart(tmp_path: Path) -> None:
    shard = open_shard(_shard(tmp_path, [([5, 6, 7, 0], None), ([8, 9, 0], None)] * 4))
    row = Blocks(shard, 16, 0, seed=1, apart=True).read(0)
    assert row.documents is not None
    for place in range(1, 17):
        new = row.ids[place] == 0  # the end token is the first that the next document reads
        assert row.documents[place] - row.documents[place - 1] == new
