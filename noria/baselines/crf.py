"""Linear-chain conditional random field: the tagger that a Transformer has to beat.

In: sequences of tokens (words, or the characters of Chinese) with their tags. Out: a tagger whose
answers need numpy alone, and the extra `data` where words are by dictionary; training needs the
extra `eval` (python-crfsuite). Lafferty et al. 2001,
"Conditional random fields": a path's probability is in proportion to the exponential of

    sum over tokens of  weights[features of the token, tag] + transitions[tag before, tag]

This module knows neither spans nor tokenizers; a token is any string.
Legend: T tokens, N tags, F features, W weights that are not 0.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from noria.baselines.chain import all_marginals, best_path
from noria.baselines.folders import arrays_hash, read_array, read_facts, reading, write_folder
from noria.baselines.token_features import WORDS_BY, token_features
from noria.errors import MissingExtra, UsageError

CRF_FORMAT = 1
TIMED_ITERATIONS = 3  # are enough to tell how many fit into the time

TaggedTokens = tuple[Sequence[str], Sequence[str]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CrfPlan:
    """How freely weights are chosen: their sizes cost `l1`, their squares `l2`.

    Training ends after `max_iterations` of L-BFGS, or fewer where they don't fit into `seconds`
    (0: no limit). The penalties are in the middle of those that Okazaki's crfsuite is used with.
    `words_by` is "spaces", or "dictionary": Chinese words and their kinds are seen too.
    """

    l1: float = 0.1
    l2: float = 0.01
    max_iterations: int = 100
    seconds: float = 0.0
    words_by: str = "spaces"

    def __post_init__(self) -> None:
        if self.words_by not in WORDS_BY:
            raise UsageError(f"words_by = {self.words_by!r}", f"one of {', '.join(WORDS_BY)}")


@dataclass(frozen=True, eq=False)
class CrfTagger:
    """All its weights, sparse: feature i has those from starts[i] to starts[i + 1].

    `columns` (W,) says each weight's tag; `transitions` (N, N) is from a tag (row) to the next.
    """

    words_by: str
    labels: tuple[str, ...]
    features: tuple[str, ...]
    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]
    transitions: Floats

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all it holds."""
        return arrays_hash(*self._contents())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {feature: place for place, feature in enumerate(self.features)}

    def scores(self, tokens: Sequence[str]) -> Float64[np.ndarray, "T N"]:
        """What the features of each token say of each tag."""
        places = self._places
        rows: list[int] = []  # of each feature that has weights: its token
        known: list[int] = []
        for row, names in enumerate(token_features(tokens, self.words_by)):
            found = [places[name] for name in names if name in places]
            known += found
            rows += [row] * len(found)
        firsts = self.starts[known]
        sizes = self.starts[np.array(known, dtype=np.int64) + 1] - firsts
        ends = np.cumsum(sizes)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(firsts - (ends - sizes), sizes)
        cells = np.repeat(np.array(rows, dtype=np.int64), sizes) * len(self.labels)
        added = np.bincount(
            cells + self.columns[at], self.weights[at], len(tokens) * len(self.labels)
        )
        return added.reshape(len(tokens), len(self.labels))

    def tag(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """The tags of the likeliest path."""
        path = best_path(self.scores(tokens), self.transitions)
        return tuple(self.labels[one] for one in path)

    def tag_probabilities(self, tokens: Sequence[str]) -> Float64[np.ndarray, "T N"]:
        """P(tag | tokens) of each token; a row sums to 1."""
        return self.batch_tag_probabilities([tokens])[0]

    def batch_tag_probabilities(
        self, sequences: Sequence[Sequence[str]]
    ) -> list[Float64[np.ndarray, "T N"]]:
        """As `tag_probabilities`, of many sequences, faster than one by one."""
        return all_marginals([self.scores(tokens) for tokens in sequences], self.transitions)

    def save(self, folder: Path) -> None:
        """Write crf.json and four npy files into an existing folder."""
        write_folder(folder, "crf", CRF_FORMAT, *self._contents())

    def _contents(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        facts = {"words_by": self.words_by, "labels": self.labels, "features": self.features}
        arrays: dict[str, NDArray[Any]] = {
            "starts": self.starts,
            "columns": self.columns,
            "weights": self.weights,
            "transitions": self.transitions,
        }
        return facts, arrays


def train_crf(sequences: Sequence[TaggedTokens], plan: CrfPlan | None = None) -> CrfTagger:
    """Learn what speaks for which tag from sequences, each (tokens, tags).

    The same sequences give the same weights, where the time does not end the training. Raises
    UsageError for a sequence with another number of tags than tokens, or no token at all;
    MissingExtra without python-crfsuite.
    """
    plan = plan or CrfPlan()
    labels = sequence_labels(sequences)
    numbers = {label: str(number) for number, label in enumerate(labels)}
    places: dict[str, int] = {}  # features by numbers: names could have what a dump can't say
    lines = []
    for tokens, tags in sequences:
        if len(tokens):
            names = token_features(tokens, plan.words_by)
            items = [[str(places.setdefault(one, len(places))) for one in row] for row in names]
            lines.append((items, [numbers[tag] for tag in tags]))
    weighted, steps = _crfsuite(lines, plan)
    transitions = np.zeros((len(labels), len(labels)))
    for (before, after), weight in steps.items():
        transitions[int(before), int(after)] = weight
    cells = sorted((int(place), int(tag), weight) for (place, tag), weight in weighted.items())
    kept = sorted({place for place, _, _ in cells})
    names_of = list(places)
    starts = np.searchsorted([place for place, _, _ in cells], [*kept, len(places)])
    return CrfTagger(
        plan.words_by,
        labels,
        tuple(names_of[place] for place in kept),
        starts.astype(np.int64),
        np.array([tag for _, tag, _ in cells], dtype=np.int32),
        np.array([weight for _, _, weight in cells], dtype=np.float32),
        transitions,
    )


def sequence_labels(sequences: Sequence[TaggedTokens]) -> tuple[str, ...]:
    """The different tags, sorted. Raises UsageError as `train_crf` does."""
    for tokens, tags in sequences:
        if len(tokens) != len(tags):
            raise UsageError(
                f"{len(tokens)} tokens with {len(tags)} tags", "one for each", "check the data"
            )
    labels = sorted({tag for _, tags in sequences for tag in tags})
    if not labels:
        raise UsageError("no tagged token", "one at least", "give the tagger some sequences")
    return tuple(labels)


Weights = dict[tuple[str, str], float]


class _OutOfTime(Exception):
    """More iterations were wanted than the time allows; the argument is how many it does."""


def _crfsuite(
    lines: Sequence[tuple[list[list[str]], list[str]]], plan: CrfPlan
) -> tuple[Weights, Weights]:
    """Weights of (feature, tag) and of (tag, next tag), by the library."""
    try:
        import pycrfsuite
    except ImportError as error:
        raise MissingExtra("python-crfsuite, which trains taggers,", "eval") from error

    class Trainer(pycrfsuite.BaseTrainer):  # type: ignore[misc]
        """Raises _OutOfTime once it is known that not all iterations fit."""

        started_at, num_iterations, wanted = 0.0, 0, plan.max_iterations

        def message(self, message: str) -> None:
            if "***** Iteration #" not in message:
                return
            self.num_iterations += 1
            if self.num_iterations == 1:
                self.started_at = time.monotonic()
            if self.num_iterations == TIMED_ITERATIONS + 1 and plan.seconds:
                each = (time.monotonic() - self.started_at) / TIMED_ITERATIONS
                fitting = max(TIMED_ITERATIONS + 1, int(plan.seconds / max(each, 1e-9)))
                if fitting < self.wanted:
                    raise _OutOfTime(fitting)

    trainer = Trainer(algorithm="lbfgs", params={"c1": plan.l1, "c2": plan.l2})
    for items, tags in lines:
        trainer.append(pycrfsuite.ItemSequence(items), tags)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "crf")
        trainer.set("max_iterations", trainer.wanted)
        try:
            trainer.train(path)
        except _OutOfTime as short:
            trainer.wanted = int(short.args[0])
            trainer.set("max_iterations", trainer.wanted)
            trainer.train(path)
        tagger = pycrfsuite.Tagger()
        tagger.open(path)
        dump = tagger.info()
        tagger.close()
    return dump.state_features, dump.transitions


def load_crf(folder: Path) -> CrfTagger:
    """Read a tagger back. Raises FormatError if a file is missing, cut or of another shape."""
    with reading(folder, "a conditional random field"):
        facts = read_facts(folder, "crf", CRF_FORMAT)
        labels, features = (tuple(facts[name]) for name in ("labels", "features"))
        starts = read_array(folder, "starts", "int64")
        columns = read_array(folder, "columns", "int32")
        weights = read_array(folder, "weights", "float32")
        transitions = read_array(folder, "transitions", "float64", 2)
        shapes = (len(starts), transitions.shape, len(columns))
        if shapes != (len(features) + 1, (len(labels), len(labels)), len(weights)):
            raise ValueError("arrays of other lengths than the names")
        sorted_starts = (
            starts[0] == 0 and starts[-1] == len(weights) and (np.diff(starts) >= 0).all()
        )
        in_range = not len(columns) or (columns.min() >= 0 and columns.max() < len(labels))
        words_by = facts["words_by"]
        if not labels or not sorted_starts or not in_range or words_by not in WORDS_BY:
            raise ValueError("weights that belong to no feature or tag")
        return CrfTagger(words_by, labels, features, starts, columns, weights, transitions)
