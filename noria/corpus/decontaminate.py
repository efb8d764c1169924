"""Drop training records that share a long passage with what is measured on.

In: training records and the sets that are measured on: the splits, and evaluation sets by name.
Out: the training records that share no run of 13 words (Chinese: 26 characters) with them, and for
each other one the passage. 13 words as in Brown et al. 2020, appendix C. A text of an evaluation
set that is shorter is looked for whole, down to that paper's least, 8 words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar, final

import numpy as np
import numpy.typing as npt

from noria.corpus.deduplicate import whole_text
from noria.corpus.language import guess_script
from noria.corpus.shingles import Hashes, WordHasher, ngrams, word_range
from noria.records import Record, Source

RUN_WORDS = 13
RUN_CHARACTERS = 26
SHORTEST_WORDS = 8
SHORTEST_CHARACTERS = 16
PASSAGE_CHARACTERS = 200  # of an example
NUM_EXAMPLES = 3  # of each set

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class MeasuredSet:
    """Records that are measured on; `short_too`: so are those too short for a long run."""

    name: str
    records: Sequence[Record]
    short_too: bool = False


@dataclass(frozen=True)
class Contaminated(Generic[RecordT]):
    """A training record, the set and the record in it that it shares a passage with, and which."""

    record: RecordT
    name: str
    measured: Source
    passage: str  # of the training record, in small letters


@dataclass(frozen=True)
class Decontaminated(Generic[RecordT]):
    """What stays, what went, and by set how many texts were too short to be looked for."""

    clean: list[RecordT]
    dropped: list[Contaminated[RecordT]]
    too_short: dict[str, int]


def drop_contaminated(
    train: Sequence[RecordT],
    measured: Iterable[MeasuredSet],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Decontaminated[RecordT]:
    """Part training records into clean ones and those that share a passage with a measured one."""
    known = _KnownRuns(measured)
    clean: list[RecordT] = []
    dropped: list[Contaminated[RecordT]] = []
    for index, record in enumerate(train):
        text = whole_text(record)
        found = known.first_shared(text)
        if found is None:
            clean.append(record)
        else:
            (name, source), first, last = found
            dropped.append(Contaminated(record, name, source, word_range(text, first, last)))
        progress(index + 1, len(train))
    return Decontaminated(clean, dropped, known.too_short)


def contamination_facts(result: Decontaminated[Any]) -> list[dict[str, Any]]:
    """For the report: by set, how many training records went for it, with examples."""
    by_name: dict[str, list[Contaminated[Any]]] = {name: [] for name in result.too_short}
    for one in result.dropped:
        by_name.setdefault(one.name, []).append(one)
    return [
        {
            "set": name,
            "records": len(ones),
            "too_short_to_look_for": result.too_short.get(name, 0),
            "examples": [
                {
                    "source": asdict(one.record.source),
                    "measured": asdict(one.measured),
                    "passage": one.passage[:PASSAGE_CHARACTERS],
                }
                for one in ones[:NUM_EXAMPLES]
            ],
        }
        for name, ones in sorted(by_name.items())
        if ones or result.too_short.get(name)
    ]


@final
class _KnownRuns:
    """Hashes of all runs of what is measured on, by their length, and whose each is."""

    def __init__(self, measured: Iterable[MeasuredSet]) -> None:
        self._hasher = WordHasher()
        self._owners: list[tuple[str, Source]] = []
        self.too_short: dict[str, int] = {}
        runs: dict[int, list[Hashes]] = defaultdict(list)
        owners: dict[int, list[npt.NDArray[np.int32]]] = defaultdict(list)
        for one in measured:
            for record in one.records:
                text = whole_text(record)
                words = self._hasher.words(text)
                least, size = _run_sizes(text)
                if one.short_too and len(words) < least:
                    self.too_short[one.name] = self.too_short.get(one.name, 0) + 1
                elif one.short_too:
                    size = min(size, len(words))
                found = ngrams(words, size)
                runs[size].append(found)
                owners[size].append(np.full(len(found), len(self._owners), np.int32))
                self._owners.append((one.name, record.source))
        self._known: dict[int, tuple[Hashes, npt.NDArray[np.int32]]] = {}
        for size in sorted(runs):
            hashes, first = np.unique(np.concatenate(runs[size]), return_index=True)
            self._known[size] = hashes, np.concatenate(owners[size])[first]

    def first_shared(self, text: str) -> tuple[tuple[str, Source], int, int] | None:
        """Whose passage a text has, and its words [first, last); None if it has none."""
        words = self._hasher.words(text)
        least, most = _run_sizes(text)
        for size in range(most, least - 1, -1):
            known, owners = self._known.get(size, (words[:0], None))
            runs = ngrams(words, size)
            if owners is None or not len(runs) or not len(known):
                continue
            places = np.minimum(np.searchsorted(known, runs), len(known) - 1)
            hits = known[places] == runs
            if hits.any():
                first = int(hits.argmax())
                rest = hits[first:]
                num_hits = len(rest) if rest.all() else int(rest.argmin())
                return self._owners[owners[places[first]]], first, first + num_hits - 1 + size
        return None


def _run_sizes(text: str) -> tuple[int, int]:
    """The least and the usual length of a run, in words, or for Chinese in characters."""
    if guess_script(text) == "zh":
        return SHORTEST_CHARACTERS, RUN_CHARACTERS
    return SHORTEST_WORDS, RUN_WORDS
