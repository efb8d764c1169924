"""Drop training records that share a long passage with what is measured on.

In: training records and the sets that are measured on: the splits, and evaluation sets by name.
Out: the training records that share no run of 13 words (Chinese: 26 characters) with them, and for
each other one the passage. 13 words as in Brown et al. 2020, appendix C. A text of an evaluation
set that is shorter is looked for whole, down to that paper's least, 8 words.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from noria.corpus.kept import Kept, num_characters, whole_text
from noria.corpus.language import guess_script
from noria.corpus.shingles import Hashes, WordHasher, ngrams, word_range
from noria.corpus.table import Entry, word_places, words_at
from noria.corpus.workers import Task, Workers
from noria.records import Source

RUN_WORDS = 13
RUN_CHARACTERS = 26
SHORTEST_WORDS = 8
SHORTEST_CHARACTERS = 16
PASSAGE_CHARACTERS = 200  # of an example
NUM_EXAMPLES = 3  # of each set
CHUNK_CHARACTERS = 1 << 20  # of texts that a process looks through at a time

RecordT = TypeVar("RecordT", bound=Kept)


@dataclass(frozen=True)
class MeasuredSet:
    """Records that are measured on; `short_too`: so are those too short for a long run."""

    name: str
    records: Sequence[Kept]
    short_too: bool = False


@dataclass(frozen=True)
class Contaminated(Generic[RecordT]):
    """A training record, the set and the record in it that it shares a passage with, and which."""

    record: RecordT
    name: str
    measured: Source
    words: tuple[int, int]  # of the training record: first, and behind the last

    @property
    def passage(self) -> str:
        """What both say, in small letters."""
        return word_range(whole_text(self.record), *self.words)


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
    workers: Workers | None = None,
    scratch: Path | None = None,
) -> Decontaminated[RecordT]:
    """Part training records into clean ones and those that share a passage with a measured one.

    `scratch`: a folder on disk for the hashes of what is measured, 8 bytes a word.
    """
    workers = workers or Workers(1)
    measured = list(measured)
    with tempfile.TemporaryDirectory(prefix="runs-", dir=scratch) as name:
        folder = Path(name)
        too_short = _store_runs(measured, folder, workers)
        shared: list[tuple[RecordT, _Hit]] = []
        clean: list[RecordT] = []
        done = 0
        chunks = list(_chunks(train))
        tasks = ({**_words_task(chunk), "known": str(folder)} for chunk in chunks)
        for chunk, answer in zip(chunks, workers.map(shared_passages, tasks), strict=True):
            hits = {hit[0]: hit for hit in answer["hits"]}
            for index, record in enumerate(chunk):
                if index in hits:
                    shared.append((record, tuple(hits[index][1:])))
                else:
                    clean.append(record)
            done += len(chunk)
            progress(done, len(train))
        owners = _owners({(size, run) for _, (size, run, *_) in shared}, measured, folder, workers)
    _load_runs.cache_clear()  # the files are gone
    dropped = [
        Contaminated(record, *owners[size, run], (first, last))
        for record, (size, run, first, last) in shared
    ]
    return Decontaminated(clean, dropped, too_short)


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


_Hit = tuple[int, int, int, int]  # size of the run, its hash, first word, behind the last


def _chunks(records: Sequence[RecordT]) -> Iterable[list[RecordT]]:
    chunk: list[RecordT] = []
    characters = 0
    for record in records:
        chunk.append(record)
        characters += num_characters(record)
        if characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _words_task(records: Sequence[Kept]) -> Task:
    """Where a process finds the words; texts that lie on no disk go with the task."""
    entries = [one for one in records if isinstance(one, Entry)]
    if len(entries) == len(records):
        return {"places": word_places(entries), "scripts": [one.script for one in entries]}
    return {"texts": [whole_text(one) for one in records]}


def _words(task: Task) -> Iterator[tuple[Hashes, str]]:
    """The hashed words of each text, and its script."""
    if "texts" in task:
        yield from ((_hasher().words(one), guess_script(one)) for one in task["texts"])
    else:
        yield from zip(words_at(task["places"]), task["scripts"], strict=True)


def _measured_chunks(
    measured: Iterable[MeasuredSet],
) -> Iterable[tuple[MeasuredSet, Sequence[Kept]]]:
    for one in measured:
        for chunk in _chunks(one.records):
            yield one, chunk


def _store_runs(measured: list[MeasuredSet], folder: Path, workers: Workers) -> dict[str, int]:
    """Write the distinct runs of each length, sorted; returns how many texts were too short."""
    chunks = list(_measured_chunks(measured))
    tasks = (
        {**_words_task(chunk), "short_too": one.short_too, "out": str(folder / f"{number:06}.npz")}
        for number, (one, chunk) in enumerate(chunks)
    )
    too_short: dict[str, int] = {}
    found: dict[int, list[Hashes]] = defaultdict(list)
    for (one, _), answer in zip(chunks, workers.map(measured_runs, tasks), strict=True):
        if answer["too_short"]:
            too_short[one.name] = too_short.get(one.name, 0) + answer["too_short"]
        with np.load(answer["out"], allow_pickle=False) as stored:
            for size in stored.files:
                found[int(size)].append(stored[size])
        Path(answer["out"]).unlink()
    for size in sorted(found):
        together = np.concatenate(found.pop(size))
        together.sort()
        np.save(folder / f"{size}.npy", together[np.diff(together, prepend=~together[:1]) != 0])
    return too_short


def measured_runs(task: Task) -> Task:
    """Write the distinct runs of the texts by their length; counts texts that are too short."""
    runs: dict[int, list[Hashes]] = defaultdict(list)
    too_short = 0
    for words, script in _words(task):
        too_short += task["short_too"] and len(words) < _run_sizes(script)[0]
        size = _measured_size(words, script, task["short_too"])
        runs[size].append(ngrams(words, size))
    found = {str(size): np.unique(np.concatenate(some)) for size, some in runs.items()}
    np.savez(task["out"], **found)  # type: ignore[arg-type]  # names of arrays, no option
    return {"out": task["out"], "too_short": too_short}


def shared_passages(task: Task) -> Task:
    """Which of the texts share a run with what is known: number, run and its words of each."""
    known = _load_runs(task["known"])
    hits = []
    for number, (words, script) in enumerate(_words(task)):
        hit = _first_shared(words, script, known)
        if hit is not None:
            hits.append([number, *hit])
    return {"hits": hits}


def _first_shared(words: Hashes, script: str, known: dict[int, Hashes]) -> _Hit | None:
    """The first run of a text that is known, the longest length first; None if it has none."""
    least, most = _run_sizes(script)
    for size in range(most, least - 1, -1):
        if size not in known:
            continue
        runs = ngrams(words, size)
        if not len(runs) or not len(known[size]):
            continue
        places_ = np.minimum(np.searchsorted(known[size], runs), len(known[size]) - 1)
        hits = known[size][places_] == runs
        if hits.any():
            first = int(hits.argmax())
            rest = hits[first:]
            num_hits = len(rest) if rest.all() else int(rest.argmin())
            return size, int(runs[first]), first, first + num_hits - 1 + size
    return None


def _owners(
    wanted: set[tuple[int, int]], measured: list[MeasuredSet], folder: Path, workers: Workers
) -> dict[tuple[int, int], tuple[str, Source]]:
    """Whose each of these runs is: the first of the measured records that has it."""
    if not wanted:
        return {}
    known = folder / "wanted"
    known.mkdir()
    for size in {size for size, _ in wanted}:
        runs = sorted(run for its, run in wanted if its == size)
        np.save(known / f"{size}.npy", np.array(runs, np.uint64))
    found: dict[tuple[int, int], tuple[str, Source]] = {}
    chunks = list(_measured_chunks(measured))
    tasks = (
        {**_words_task(chunk), "short_too": one.short_too, "known": str(known)}
        for one, chunk in chunks
    )
    for (one, chunk), answer in zip(chunks, workers.map(owned_runs, tasks), strict=True):
        for number, size, run in answer["runs"]:
            found.setdefault((size, run), (one.name, chunk[number].source))
    return found


def owned_runs(task: Task) -> Task:
    """Which of the texts have which of the wanted runs: number, size and run of each."""
    known = _load_runs(task["known"])
    found = []
    for number, (words, script) in enumerate(_words(task)):
        size = _measured_size(words, script, task["short_too"])
        if size in known:
            for run in np.intersect1d(ngrams(words, size), known[size]).tolist():
                found.append([number, size, run])
    return {"runs": found}


@lru_cache(maxsize=1)
def _hasher() -> WordHasher:
    return WordHasher()


@lru_cache(maxsize=1)
def _load_runs(folder: str) -> dict[int, Hashes]:
    """By length, the sorted runs of a folder, mapped: processes share their memory."""
    return {int(one.stem): np.load(one, mmap_mode="r") for one in Path(folder).glob("*.npy")}


def _measured_size(words: Hashes, script: str, short_too: bool) -> int:
    """The length of the runs of a text that is measured on; no run of one that is too short."""
    least, most = _run_sizes(script)
    return min(most, max(least, len(words))) if short_too else most


def _run_sizes(script: str) -> tuple[int, int]:
    """The least and the usual length of a run, in words, or for Chinese in characters."""
    if script == "zh":
        return SHORTEST_CHARACTERS, RUN_CHARACTERS
    return SHORTEST_WORDS, RUN_WORDS
