"""What a corpus is: counts by split, shape, language, source and label; lengths; samples.

In: a corpus's folder, read once as a stream, and the lengths in tokens where they are known. Out:
plain values for a screen, a page or a program. Held are a few bytes a record (its length), a row
for each source, language and label, and the samples. This module does not know tokenizers.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noria.corpus.choose import Shown, Smallest, shown
from noria.corpus.folder import Stored, corpus_files, stored_records
from noria.corpus.kept import language_of, whole_text
from noria.corpus.lengths import Lengths, distribution
from noria.corpus.sources import source_name
from noria.corpus.split import SPLITS
from noria.errors import FormatError
from noria.records import Labelled, Record, Source, Tagged, shape_of

MAX_ROWS = 10_000  # of one table; a column of free text that is taken for a label fills no memory
REST = "(the rest)"
SAMPLES_PER_SHAPE = 3

TokenLengths = Mapping[str, npt.NDArray[np.int64]]  # split -> tokens of each record, in order
Watch = Callable[[str, float, float], None]  # what, done, total


@dataclass(frozen=True)
class Amount:
    """How much of the corpus a thing is: records by split, and its text.

    `tokens` are those of what is trained and measured on, 0 where they are not known.
    """

    name: str
    train: int
    held_out: int
    test: int
    characters: int
    bytes: int
    tokens: int

    @property
    def records(self) -> int:
        """Records of all splits."""
        return self.train + self.held_out + self.test


@dataclass(frozen=True)
class Balance:
    """How often each label or tag stands in each split, most frequent first."""

    shape: str
    rows: tuple[Amount, ...]


@dataclass(frozen=True)
class Survey:
    """Everything that is counted in one reading of a corpus."""

    shapes: tuple[Amount, ...]
    sources: tuple[Amount, ...]
    languages: tuple[Amount, ...]
    balances: tuple[Balance, ...]
    lengths: tuple[Lengths, ...]
    synthetic: int
    samples: tuple[Shown, ...]


@dataclass
class _Counts:
    """Counts by name, of which there may be only so many."""

    rows: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def add(self, name: str, split: str, text: str, num_bytes: int, tokens: int) -> None:
        if name not in self.rows and len(self.rows) >= MAX_ROWS:
            name = REST
        row = self.rows.setdefault(name, np.zeros(6, np.int64))
        row[SPLITS.index(split)] += 1
        row[3:] += (len(text), num_bytes, tokens)

    def amounts(self) -> tuple[Amount, ...]:
        found = [Amount(name, *map(int, row)) for name, row in self.rows.items()]
        return tuple(sorted(found, key=lambda one: (-one.records, one.name)))


def survey_corpus(
    folder: Path, tokens: TokenLengths, watch: Watch, wanted: Collection[Source] = ()
) -> tuple[Survey, dict[Source, Shown]]:
    """Read a corpus once and count; returns the records of the wanted sources too, if in it.

    `watch` gets (what, bytes read, bytes in all).
    Raises InputError for a folder that is no corpus, FormatError for a wrong line, or if `tokens`
    were made from another corpus.
    """
    sizes = [(folder / name).stat().st_size for name, _ in corpus_files(folder)]
    counting = _Counting(tokens)
    found: dict[Source, Shown] = {}
    done = 0
    for number, stored in enumerate(stored_records(folder)):
        counting.add(stored)
        if stored.record.source in wanted:
            found.setdefault(stored.record.source, shown(stored))
        done += stored.num_bytes
        if number % 500 == 0:
            watch("reading", done, max(1, sum(sizes)))
    return counting.survey(), found


class _Counting:
    def __init__(self, tokens: TokenLengths) -> None:
        self._tokens = tokens
        self._tables = {name: _Counts() for name in ("shape", "source", "language")}
        self._labels: dict[str, _Counts] = defaultdict(_Counts)
        self._characters: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        self._sequences: array[int] = array("Q")
        self._num_seen = dict.fromkeys(SPLITS, 0)  # of what is trained and measured on
        self._synthetic = 0
        self._samples: dict[str, Smallest[Shown]] = defaultdict(lambda: Smallest(SAMPLES_PER_SHAPE))

    def add(self, stored: Stored) -> None:
        record, split = stored.record, stored.split
        text, shape = whole_text(record), shape_of(record)
        num_bytes = len(text.encode("utf-8"))
        tokens = self._num_tokens(stored)
        keys = {
            "shape": shape,
            "source": source_name(record.source),
            "language": language_of(record),
        }
        for table, name in keys.items():
            self._tables[table].add(name, split, text, num_bytes, tokens)
        for label in _labels(record):
            self._labels[shape].add(label, split, text, num_bytes, tokens)
        self._characters[shape].append(len(text))
        self._synthetic += record.synthetic
        self._samples[shape].offer(f"{stored.file}:{stored.line}", lambda: shown(stored))

    def _num_tokens(self, stored: Stored) -> int:
        """Of a record that is encoded; the shards keep the order of the splits."""
        if "/" in stored.file:
            return 0
        self._num_seen[stored.split] += 1
        lengths = self._tokens.get(stored.split)
        if lengths is None or len(lengths) < stored.line:
            return 0
        self._sequences.append(int(lengths[stored.line - 1]))
        return self._sequences[-1]

    def survey(self) -> Survey:
        for split, lengths in self._tokens.items():
            if len(lengths) != self._num_seen[split]:
                raise FormatError(
                    f"tokens of {len(lengths):,} records for {self._num_seen[split]:,} of {split}",
                    "tokens that were made from this corpus",
                    "run the recipe again",
                )
        found = [distribution(name, "characters", some) for name, some in self._characters.items()]
        found.append(distribution("sequence", "tokens", self._sequences))
        return Survey(
            shapes=self._tables["shape"].amounts(),
            sources=self._tables["source"].amounts(),
            languages=self._tables["language"].amounts(),
            balances=tuple(
                Balance(shape, some.amounts()) for shape, some in sorted(self._labels.items())
            ),
            lengths=tuple(one for one in found if one is not None),
            synthetic=self._synthetic,
            samples=tuple(one for some in self._samples.values() for one in some.kept()),
        )


def _labels(record: Record) -> tuple[str, ...]:
    if isinstance(record, Labelled):
        return record.labels
    return tuple(span.tag for span in record.spans) if isinstance(record, Tagged) else ()
