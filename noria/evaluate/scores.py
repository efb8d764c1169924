"""Stored numbers: each knows the weights, the records, the lock, the seed and the backend.

In: intervals and where they come from. Out: a JSON file of scores, whole or not at all; and a
refusal for a number that was measured on other weights than those it is asked for.

Format 3 (docs/formats.md) names the machine where a number depends on it. Format 2, without, and
format 1, which did not say how an interval was found and under which lock, are still read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noria.artifacts import atomic_write, value_digest
from noria.errors import FormatError, IntegrityError

SCORES_FORMAT = 3
_LATER: dict[int, dict[str, Any]] = {  # what a format does not have, and what it means by that
    1: {"lock_digest": "", "confidence": 0.95, "interval": "bootstrap", "machine": ""},
    2: {"machine": ""},
    3: {},
}


@dataclass(frozen=True)
class Score:
    """A number that knows what it was measured on: which weights, which records, by what.

    `metric` is a family and a name, such as `corpus.bits_per_byte` or `intent.macro_f1`, with
    `, LABEL` behind it for one class; `num_tokens` is 0 where none are counted; `lock_digest` names
    the measured choices that the weights were trained under; `interval` says how it was found;
    `machine` is where a number of speed or memory was measured, empty for any other number.
    """

    metric: str
    value: float
    low: float
    high: float
    num_records: int
    num_tokens: int
    weight_hash: str
    data_digest: str
    seed: int
    backend: str
    measured_at: float
    lock_digest: str
    confidence: float
    interval: str
    machine: str = ""


def lock_digest(lock: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of an artifact's lock."""
    return value_digest(dict(lock))


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write scores as JSON, whole or not at all; an end at infinity is stored as null."""
    value = {"format": SCORES_FORMAT, "scores": [score_to_json(one) for one in scores]}
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, text.encode("utf-8"))


def score_to_json(score: Score) -> dict[str, Any]:
    """A score as plain JSON values; an end at infinity is null."""
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value
        for key, value in asdict(score).items()
    }


def read_scores(path: Path) -> list[Score]:
    """Read scores of format 1, 2 or 3 back. Raises FormatError if the file can't be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] not in _LATER:
            raise ValueError(f"format {value['format']}")
        return [_read(row, value["format"]) for row in value["scores"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} can't be read ({error})",
            f"scores of a format from 1 to {SCORES_FORMAT}",
            "evaluate the model again",
        ) from error


def _read(row: dict[str, Any], written_format: int) -> Score:
    if written_format == SCORES_FORMAT and "machine" not in row:
        raise ValueError("a score without its machine")
    return Score(**{**row, **_LATER[written_format], **_ends(row)})


def _ends(row: dict[str, Any]) -> dict[str, float]:
    return {
        "low": -math.inf if row["low"] is None else row["low"],
        "high": math.inf if row["high"] is None else row["high"],
    }


def require_weights(scores: Sequence[Score], weight_hashes: Collection[str]) -> None:
    """Refuse scores of which one was measured on other weights. Raises IntegrityError naming it."""
    for score in scores:
        if score.weight_hash not in weight_hashes:
            raise IntegrityError(
                f"{score.metric} was measured on weights {score.weight_hash}",
                f"a score of weights {', '.join(sorted(weight_hashes))}",
                "evaluate these weights",
            )


def unchanged_weights(weight_hash: str, base_hash: str, what: str, base: str) -> str:
    """A warning if a model is to the bit what it was made from or compared with; else nothing."""
    if weight_hash != base_hash:
        return ""
    return (
        f"warning: the weights of {what} equal those of {base} to the bit "
        f"({weight_hash[:12]}): nothing was learned, and every difference is zero"
    )
