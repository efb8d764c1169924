"""Any metric that is a function of sums over examples, and what it comes to when they are redrawn.

In: what each example adds to each of some sums, and metrics as functions of the sums. Out: values,
and the values of resamples. This module does not know what a class, a span or a byte is.

Accuracy, precision, recall, F1, MCC, Brier score, calibration error and bits per byte are all
functions of sums, so a resample is a matrix product instead of one call of a library for each
metric: thousands of resamples take milliseconds. Examples are the unit of resampling, or groups of
them that are not independent (a file, a thread, an author).
Legend: E examples, U units of resampling, K sums, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import MissingExtra, UsageError
from noria.evaluate.metrics import Floats

_MAX_CELLS = 1 << 22  # of one chunk of resamples; bounds the memory


@dataclass(frozen=True)
class Metric:
    """A function of K sums: `of` takes them (K, R), one column a resample, to values (R,).

    `share` names two sums if the value is the one over the other and each example adds 0 or 1: then
    its interval can be exact. `biased` metrics grow with noise, as a mean of absolute values does.
    """

    of: Callable[[Floats], Floats]
    lowest: float = 0.0
    highest: float = 1.0
    higher_is_better: bool = True
    share: tuple[int, int] | None = None
    biased: bool = False


@dataclass(frozen=True, eq=False)
class Sums:
    """What E examples add to K sums: `added` (E, K), a sparse array; and the metrics of them.

    `groups` (E,), where given, says which examples are not independent of each other.
    """

    added: Any
    metrics: Mapping[str, Metric]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        num_examples = self.added.shape[0]
        if not num_examples or len(self.groups) not in (0, num_examples):
            raise UsageError(
                f"{num_examples} examples, {len(self.groups)} groups",
                "at least one example, and a group for each or for none",
                "measure on examples",
            )

    @property
    def num_examples(self) -> int:
        """How many examples were measured."""
        return int(self.added.shape[0])

    def value(self, name: str) -> float:
        """The metric on all examples; not a number where it is not defined."""
        totals = np.asarray(self.added.sum(axis=0), dtype=np.float64).reshape(-1, 1)
        return float(self.metrics[name].of(totals)[0])


def sparse_sums(
    num_examples: int, num_sums: int, entries: Sequence[tuple[Any, Any, Any]]
) -> NDArray[Any]:
    """(E, K) from triples of arrays (example, sum, what is added); the same cell may come twice.

    Raises MissingExtra without scipy.
    """
    try:
        from scipy.sparse import coo_array
    except ImportError as error:
        raise MissingExtra("scipy, which holds the counts of many classes,", "eval") from error
    rows, columns, values = (
        np.concatenate([np.asarray(entry[place], dtype=kind) for entry in entries])
        for place, kind in enumerate((np.int64, np.int64, np.float64))
    )
    found: NDArray[Any] = coo_array((values, (rows, columns)), (num_examples, num_sums)).tocsr()
    return found


def ratio(over: Floats, under: Floats) -> Floats:
    """over / under, not a number where there is nothing below."""
    found: Floats = np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)
    return found


def num_units_of(run: Sums) -> int:
    """How many groups there are, or examples where none were named."""
    return len(set(run.groups)) if run.groups else run.num_examples


def resampled(runs: Sequence[Sums], seed: int, num_resamples: int) -> list[dict[str, Floats]]:
    """Every metric on num_resamples draws of the units with replacement, the same for all runs."""
    tables = [_by_unit(run) for run in runs]
    num_units = num_units_of(runs[0])
    widest = max(num_units, *(table.shape[0] for table in tables))
    random = np.random.default_rng(seed)
    chunk = max(1, _MAX_CELLS // widest)
    found: list[dict[str, list[Floats]]] = [{name: [] for name in run.metrics} for run in runs]
    for start in range(0, num_resamples, chunk):
        num = min(chunk, num_resamples - start)
        drawn = random.integers(0, num_units, size=(num, num_units))
        drawn += np.arange(num)[:, None] * num_units
        times = np.bincount(drawn.ravel(), minlength=num * num_units).reshape(num, num_units)
        weights = np.ascontiguousarray(times.T, dtype=np.float64)  # (U, R)
        for run, table, kept in zip(runs, tables, found, strict=True):
            totals = np.asarray(table @ weights)  # (K, R)
            for name, metric in run.metrics.items():
                kept[name].append(metric.of(totals))
    return [{name: np.concatenate(kept) for name, kept in one.items()} for one in found]


def _by_unit(run: Sums) -> Any:
    """(K, U): what each unit adds."""
    if not run.groups:
        return run.added.T.tocsr()
    names, units = np.unique(np.array(run.groups), return_inverse=True)
    ones = np.ones(len(units))
    members = sparse_sums(len(names), run.num_examples, [(units, np.arange(len(units)), ones)])
    return (members @ run.added).T.tocsr()
