"""What a model made of each record of a set, stored so that it can be compared with another's.

In: answers (likelihoods, classes, sets of labels, spans) beside their records and where they come
from. Out: a folder, written whole or not at all; answers read back and checked; their scores.

    results.json    format, kind, labels, threshold, and the provenance
    records.jsonl   the records, in order
    *.npy           nll_nats, num_bytes; or gold, probabilities
    spans.json      gold and predicted spans of each record
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noria.artifacts import atomic_folder
from noria.errors import FormatError, IntegrityError, UsageError
from noria.evaluate.classes import Classified, MultiLabelled, class_sums, label_sums
from noria.evaluate.confusion import confusion, reliability
from noria.evaluate.contents import ClassesSection, MetricRow
from noria.evaluate.harness import data_digest
from noria.evaluate.intervals import NUM_RESAMPLES, measure
from noria.evaluate.metrics import Interval, Likelihoods
from noria.evaluate.scores import Score
from noria.evaluate.spans import SpanAnswers, span_sums
from noria.evaluate.sums import Sums
from noria.records import Record, Span, read_records, write_records

RESULTS_FORMAT = 1
RESULTS_FILE = "results.json"
Answers = Likelihoods | Classified | MultiLabelled | SpanAnswers


@dataclass(frozen=True)
class Provenance:
    """By what the answers were given: the weights, their lock, the seed, the backend, when."""

    weight_hash: str
    lock_digest: str
    seed: int
    backend: str
    measured_at: float


@dataclass(frozen=True, eq=False)
class Result:
    """Answers to records, one each, in the same order."""

    answers: Answers
    records: tuple[Record, ...]
    made_by: Provenance

    def __post_init__(self) -> None:
        if num_answers(self.answers) != len(self.records):
            raise UsageError(
                f"{num_answers(self.answers)} answers to {len(self.records)} records",
                "one for each, in the same order",
            )


def num_answers(answers: Answers) -> int:
    """How many records were answered."""
    return len(answers.nll_nats if isinstance(answers, Likelihoods) else answers.gold)


def sums_of(answers: Answers, groups: Sequence[str] = ()) -> Sums:
    """The sums that the metrics of these answers are functions of. Not of likelihoods."""
    match answers:
        case Classified():
            return class_sums(answers, groups)
        case MultiLabelled():
            return label_sums(answers, groups)
        case SpanAnswers():
            return span_sums(answers, groups)
        case Likelihoods():
            raise UsageError("likelihoods", "answers", "bits_per_byte measures likelihoods")


def scores_of(
    family: str,
    result: Result,
    confidence: float = 0.95,
    groups: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> list[Score]:
    """Every metric of the answers, or those named, as scores under the family's name (`intent`).

    Raises MissingExtra without scipy.
    """
    sums = sums_of(result.answers, groups)
    if metrics:
        sums = replace(sums, metrics={one: sums.metrics[one] for one in metrics})
    found = measure([sums], confidence, result.made_by.seed)
    digest = data_digest(result.records)
    return [
        Score(
            metric=f"{family}.{name}",
            value=one.value,
            low=one.low,
            high=one.high,
            num_records=len(result.records),
            num_tokens=0,
            weight_hash=result.made_by.weight_hash,
            data_digest=digest,
            seed=result.made_by.seed,
            backend=result.made_by.backend,
            measured_at=result.made_by.measured_at,
            lock_digest=result.made_by.lock_digest,
            confidence=confidence,
            interval=(
                "Clopper–Pearson"
                if sums.metrics[name].share is not None and not groups
                else f"bootstrap of {NUM_RESAMPLES} resamples, or Student's t where that is wider"
            ),
        )
        for name, one in found.items()
    ]


def classes_section(name: str, result: Result) -> ClassesSection:
    """What the report shows of a classifier or tagger. Raises UsageError for likelihoods."""
    rows = []
    for score in scores_of(name, result):
        metric, _, label = score.metric.removeprefix(f"{name}.").partition(", ")
        value = Interval(score.value, score.low, score.high)
        rows.append(MetricRow(metric, label, value, score.num_records, score.weight_hash))
    answers = result.answers
    if not isinstance(answers, Classified):
        return ClassesSection(name, tuple(rows), (), (), ())
    return ClassesSection(
        name, tuple(rows), answers.labels, confusion(answers), reliability(answers)
    )


def write_result(path: Path, result: Result) -> None:
    """Write a result as a folder, whole or not at all; one that is there is replaced."""
    answers = result.answers
    value: dict[str, Any] = {
        "format": RESULTS_FORMAT,
        "kind": _KINDS[type(answers)],
        "data_digest": data_digest(result.records),
        "made_by": asdict(result.made_by),
    }
    with atomic_folder(path) as folder:
        if isinstance(answers, SpanAnswers):
            sides = {name: getattr(answers, name) for name in ("gold", "predicted")}
            rows = {
                name: [sorted([s.start, s.end, s.tag] for s in spans) for spans in side]
                for name, side in sides.items()
            }
            text = json.dumps(rows, ensure_ascii=False)
            (folder / "spans.json").write_text(text, encoding="utf-8")
        else:
            for name in _ARRAYS[value["kind"]]:
                np.save(folder / f"{name}.npy", getattr(answers, name), allow_pickle=False)
        if isinstance(answers, Classified | MultiLabelled):
            value |= {"labels": list(answers.labels), "threshold": answers.threshold}
        if isinstance(answers, Likelihoods):
            value["num_tokens"] = answers.num_tokens
        write_records(folder / "records.jsonl", result.records)
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / RESULTS_FILE).write_text(text, encoding="utf-8")


_KINDS: dict[type[Answers], str] = {
    Likelihoods: "likelihoods",
    Classified: "classes",
    MultiLabelled: "labels",
    SpanAnswers: "spans",
}
_ARRAYS = {
    "likelihoods": ("nll_nats", "num_bytes"),
    "classes": ("gold", "probabilities"),
    "labels": ("gold", "probabilities"),
}


def read_result(path: Path) -> Result:
    """Read a result back.

    Raises FormatError if a file is missing, cut or of another format, IntegrityError if the records
    are not those that were measured.
    """
    try:
        value = json.loads((path / RESULTS_FILE).read_text(encoding="utf-8"))
        if value["format"] != RESULTS_FORMAT:
            raise ValueError(f"format {value['format']}")
        records = tuple(read_records(path / "records.jsonl"))
        result = Result(_read_answers(path, value), records, Provenance(**value["made_by"]))
        digest = value["data_digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise FormatError(
            f"{path} can't be read ({error})",
            f"a folder of results of format {RESULTS_FORMAT}",
            "evaluate the model again",
        ) from error
    if data_digest(records) != digest:
        raise IntegrityError(
            f"{path}/records.jsonl is not what was measured",
            f"records of digest {digest}",
            "evaluate the model again",
        )
    return result


def _read_answers(path: Path, value: dict[str, Any]) -> Answers:
    kind = value["kind"]
    if kind == "spans":
        rows = json.loads((path / "spans.json").read_text(encoding="utf-8"))
        gold, predicted = (
            tuple(frozenset(Span(*span) for span in spans) for spans in rows[name])
            for name in ("gold", "predicted")
        )
        return SpanAnswers(gold, predicted)
    first, second = (np.load(path / f"{name}.npy", allow_pickle=False) for name in _ARRAYS[kind])
    if kind == "likelihoods":
        return Likelihoods(first, second, int(value["num_tokens"]))
    make = Classified if kind == "classes" else MultiLabelled
    return make(tuple(value["labels"]), first, second, float(value["threshold"]))
