"""Every stratum has its shares, and what was decided stays."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.corpus import parts, prepare
from noria.corpus.prepare import prepare_corpus
from noria.corpus.read import Request, Wanted, find_files
from noria.corpus.split import SPLITS
from noria.corpus.strata import DECIDED_NAME, Decided, deal_records, read_decided, side_of
from noria.errors import FormatError, InputError
from noria.records import Document, Labelled, Record, Source, read_records, text_content
from noria.text_settings import CorpusSettings

SETTINGS = CorpusSettings(split="stratified", held_out=0.1, test=0.1, identities="keep")


def _labelled(number: int, label: str, group: str = "a.csv", file: str = "a.csv") -> Labelled:
    source = Source(file, number + 2, number)
    return Labelled(text_content(f"row {number} {label}"), (label,), source, group)


def _by_label(records: Sequence[Record], sides: Sequence[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record, side in zip(records, sides, strict=True):
        assert isinstance(record, Labelled)
        for label in record.labels:
            found.setdefault(label, [0, 0, 0])[side] += 1
    return found


def test_each_label_has_its_share_however_rare_it_is() -> None:
    labels = ["often"] * 500 + ["seldom"] * 40 + ["rare"] * 6
    records = [_labelled(number, label) for number, label in enumerate(labels)]
    sides, _ = deal_records(records, SETTINGS, 1, {})
    assert _by_label(records, sides) == {
        "often": [400, 50, 50],
        "seldom": [32, 4, 4],
        "rare": [4, 1, 1],
    }


def test_labels_too_rare_for_three_splits_share_one_stratum() -> None:
    records = [_labelled(number, f"label {number // 2}") for number in range(100)]
    sides, _ = deal_records(records, SETTINGS, 1, {})
    assert Counter(sides) == {0: 80, 1: 10, 2: 10}


def test_a_text_of_several_labels_counts_for_each() -> None:
    draw = random.Random(1)
    records = [
        Labelled(
            text_content(f"row {n}"), tuple(draw.sample("abcde", 2)), Source("a.csv", n, n), "a.csv"
        )
        for n in range(400)
    ]
    sides, _ = deal_records(records, SETTINGS, 1, {})
    for train, held_out, test in _by_label(records, sides).values():
        total = train + held_out + test
        assert abs(held_out - total / 10) <= 2 and abs(test - total / 10) <= 2


def test_each_source_and_language_has_its_share() -> None:
    texts = {"en/": "the lamp number {}", "zh/": "第{}盏灯亮了", "few/": "a boat number {}"}
    sizes = {"en/": 200, "zh/": 30, "few/": 5}
    records = [
        Document(text_content(text.format(n)), Source(f"{folder}{n}.txt", 1), f"{folder}{n}.txt")
        for folder, text in texts.items()
        for n in range(sizes[folder])
    ]
    sides, _ = deal_records(records, SETTINGS, 1, {})
    found = Counter(
        (one.source.file[:3], side) for one, side in zip(records, sides, strict=True) if side
    )
    assert found == {
        ("en/", 1): 20,
        ("en/", 2): 20,
        ("zh/", 1): 3,
        ("zh/", 2): 3,
        ("few", 1): 1,
        ("few", 2): 1,
    }


def test_threads_stay_whole_whatever_labels_they_have() -> None:
    draw = random.Random(2)
    records = [
        _labelled(number, draw.choice("aaabbc"), group=f"thread#{draw.randrange(60)}")
        for number in range(600)
    ]
    sides, _ = deal_records(records, SETTINGS, 1, {})
    of_group: dict[str, set[int]] = {}
    for record, side in zip(records, sides, strict=True):
        of_group.setdefault(record.group, set()).add(side)
    assert all(len(some) == 1 for some in of_group.values())
    for counts in _by_label(records, sides).values():
        for side in (1, 2):
            assert abs(counts[side] - sum(counts) / 10) <= max(4, 0.03 * sum(counts))


LINES = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 40), st.sampled_from(["x", "y", "z"]))
SOME = st.lists(LINES, max_size=60, unique_by=lambda one: one[1])


def _records(lines: Sequence[tuple[str, int, str]]) -> list[Record]:
    """Of file a each line is by itself, of the others each file is a thread."""
    return [
        _labelled(n, label, "a.csv" if group == "a" else f"thread#{group}")
        for group, n, label in lines
    ]


@settings(deadline=None, max_examples=80)
@given(SOME, SOME, st.sets(st.integers(0, 40)), st.integers(0, 3), st.randoms())
def test_what_was_decided_stays_whatever_is_added_removed_and_shuffled(
    first: list[tuple[str, int, str]],
    more: list[tuple[str, int, str]],
    gone: set[int],
    seed: int,
    draw: random.Random,
) -> None:
    records = _records(first)
    sides, decided = deal_records(records, SETTINGS, seed, {})
    added = _records([one for one in more if one[1] not in {n for _, n, _ in first}])
    there = [one for one in records if one.source.byte_start not in gone] + added
    draw.shuffle(there)
    later_sides, later = deal_records(there, SETTINGS, seed + 1, decided)
    later_of = dict(zip(there, later_sides, strict=True))
    for record, side in zip(records, sides, strict=True):
        assert later_of.get(record, side) == side == side_of(record, later)
    shuffled = draw.sample(there, len(there))
    again, same = deal_records(shuffled, SETTINGS, seed + 1, decided)
    assert same == later and again == [later_of[one] for one in shuffled]
    back, _ = deal_records(records, SETTINGS, seed, later)  # all that had gone comes back
    assert back == sides


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("aaaaabbbc"), max_size=200), st.integers(0, 5))
def test_a_label_of_five_texts_or_more_is_on_every_side(labels: list[str], seed: int) -> None:
    records = [_labelled(number, label) for number, label in enumerate(labels)]
    sides, _ = deal_records(records, SETTINGS, seed, {})
    for counts in _by_label(records, sides).values():
        if sum(counts) >= 5:
            assert min(counts) >= 1
            assert counts[1] == counts[2] == max(1, round(sum(counts) / 10))


def test_what_is_new_fills_what_is_missing() -> None:
    records = [_labelled(number, "a") for number in range(100)]
    decided: Decided = {}
    for size in (10, 37, 38, 100):
        sides, decided = deal_records(records[:size], SETTINGS, 1, decided)
        assert Counter(sides)[1] == Counter(sides)[2] == max(1, round(size / 10))


def test_a_measured_text_stays_so_when_its_file_has_another_name() -> None:
    records: list[Record] = [
        Document(text_content(f"text {n}"), Source(f"{n}.txt", 1), f"{n}.txt") for n in range(50)
    ]
    sides, decided = deal_records(records, SETTINGS, 1, {})
    renamed: list[Record] = [
        Document(one.content, Source(f"new-{one.source.file}", 1), f"new-{one.source.file}")
        for one in records
        if isinstance(one, Document)
    ]
    later, _ = deal_records(renamed, SETTINGS, 1, decided)
    assert all(now == side for now, side in zip(later, sides, strict=True) if side)


def _write(folder: Path, name: str, count: int, start: int = 0) -> None:
    rows = [
        json.dumps({"text": f"{name} line {n} of a lamp", "label": "abbccc"[n % 6]})
        for n in range(start, start + count)
    ]
    (folder / name).write_text("\n".join(rows), encoding="utf-8")


def _prepare(folder: Path, out: Path, earlier: Path | None = None, num_workers: int = 1) -> None:
    requests = [Request(one, Wanted("labelled")) for one in find_files(["*.jsonl"], folder, {})]
    requests += [Request(one, Wanted("document")) for one in find_files(["*.txt"], folder, {})]
    prepare_corpus(
        requests,
        SETTINGS,
        1,
        out,
        lambda *_: None,
        num_workers=num_workers,
        earlier=earlier,
    )


def _measured_and_trained(out: Path) -> tuple[set[str], set[str]]:
    texts: dict[str, set[str]] = {name: set() for name in SPLITS}
    for folder in (out, out / "labelled"):
        for name, some in texts.items():
            records = read_records(folder / f"{name}.jsonl")
            some |= {str(getattr(one, "content", "")).casefold() for one in records}
    return texts["held_out"] | texts["test"], texts["train"]


def _fill(folder: Path, num_files: int) -> None:
    draw = random.Random(num_files)
    folder.mkdir(exist_ok=True)
    for n in range(num_files):
        words = " ".join(f"word{draw.randrange(10**6)}" for _ in range(40))
        path = folder / f"{draw.randrange(10**9)}-{n}.txt"
        path.write_text(words if n % 3 else "灯塔" + words.replace("word", "灯塔"), "utf-8")


def test_a_corpus_goes_on_from_the_earlier_one_and_no_process_changes_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text"
    _fill(text, 40)
    _write(text, "a.jsonl", 120)
    _prepare(text, tmp_path / "first")
    _fill(text, 25)
    _write(text, "0.jsonl", 60)
    copied = sorted(text.glob("*.txt"))
    for number, one in enumerate(copied):  # copies in files that come before the originals
        (text / f"!{number}.txt").write_text(one.read_text("utf-8") + " more", "utf-8")
    _prepare(text, tmp_path / "second", tmp_path / "first")
    measured, trained = _measured_and_trained(tmp_path / "first")
    later_measured, later_trained = _measured_and_trained(tmp_path / "second")
    assert measured and measured <= later_measured and not measured & later_trained
    assert not trained & later_measured
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    monkeypatch.setattr(prepare, "WORKER_BYTES", 1)
    _prepare(text, tmp_path / "again", tmp_path / "first", 2)
    made = [path for path in (tmp_path / "second").rglob("*") if path.is_file()]
    assert tmp_path / "second" / DECIDED_NAME in made
    for path in made:
        other = tmp_path / "again" / path.relative_to(tmp_path / "second")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_what_another_rule_decided_is_kept_too(tmp_path: Path) -> None:
    text = tmp_path / "text"
    _fill(text, 60)
    requests = [Request(one, Wanted("document")) for one in find_files(["*.txt"], text, {})]
    by_record = CorpusSettings(split="record", held_out=0.2, test=0.2, identities="keep")
    prepare_corpus(requests, by_record, 1, tmp_path / "first", lambda *_: None)
    _write(text, "a.jsonl", 30)
    _prepare(text, tmp_path / "second", tmp_path / "first")
    for name in SPLITS:
        before = {str(one) for one in read_records(tmp_path / "first" / f"{name}.jsonl")}
        after = {str(one) for one in read_records(tmp_path / "second" / f"{name}.jsonl")}
        assert before and before == after


@pytest.mark.parametrize("rows", [np.zeros((3, 5), np.uint8), np.full((3, 17), 9, np.uint8)])
def test_decisions_that_are_none_are_told(tmp_path: Path, rows: np.ndarray) -> None:
    np.save(tmp_path / DECIDED_NAME, rows)
    with pytest.raises(FormatError, match="holds no decisions"):
        read_decided(tmp_path)
    (tmp_path / DECIDED_NAME).write_bytes(b"torn")
    with pytest.raises(FormatError, match="holds no decisions"):
        read_decided(tmp_path)


def test_labels_alone_are_nothing_to_train_on(tmp_path: Path) -> None:
    text = tmp_path / "text"
    _fill(text, 2)
    _write(text, "a.jsonl", 30)
    with pytest.raises(InputError, match="leaves nothing for held_out and test"):
        _prepare(text, tmp_path / "out")
