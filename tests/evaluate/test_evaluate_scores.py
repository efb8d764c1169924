"""Stored numbers come back as they were written, and none is shown for other weights."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from noria.errors import FormatError, IntegrityError
from noria.evaluate.scores import (
    Score,
    lock_digest,
    read_scores,
    require_weights,
    unchanged_weights,
    write_scores,
)

SCORE = Score(
    "corpus.bits_per_byte", 1.5, 1.4, 1.6, 240, 9000, "ab" * 32, "cd" * 32, 1, "torch", 1.79e9,
    lock_digest({"precision": "float32"}), 0.95, "bootstrap", "",
)  # fmt: skip

# as Noria 0.0 wrote it, before scores knew their lock
FORMAT_1 = """{
 "format": 1,
 "scores": [
  {
   "metric": "corpus.bits_per_byte",
   "value": 1.5,
   "low": null,
   "high": 1.6,
   "num_records": 240,
   "num_tokens": 9000,
   "weight_hash": "abababababababababababababababababababababababababababababababab",
   "data_digest": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
   "seed": 1,
   "backend": "torch",
   "measured_at": 1790000000.0
  }
 ]
}"""


def test_scores_are_read_back_as_written(tmp_path: Path) -> None:
    unbounded = replace(SCORE, low=-math.inf, high=math.inf, machine="a laptop")
    write_scores(tmp_path / "scores.json", [SCORE, unbounded])
    assert read_scores(tmp_path / "scores.json") == [SCORE, unbounded]
    json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)


# as Noria 0.1 wrote it, before scores of speed knew their machine
FORMAT_2 = FORMAT_1.replace('"format": 1', '"format": 2').replace(
    '"measured_at": 1790000000.0',
    """"measured_at": 1790000000.0,
   "lock_digest": "3f1f36a3e7b40b66d4a2f0bb5a2e4d34bf11f0b1dbb8ea5a9a0fcb2d0f3a0a55",
   "confidence": 0.95,
   "interval": "Clopper–Pearson\"""",
)


def test_scores_of_the_two_formats_before_are_read(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(FORMAT_1, encoding="utf-8")
    (found,) = read_scores(tmp_path / "scores.json")
    assert found == replace(SCORE, low=-math.inf, lock_digest="", interval="bootstrap")
    (tmp_path / "scores.json").write_text(FORMAT_2, encoding="utf-8")
    (found,) = read_scores(tmp_path / "scores.json")
    assert (found.interval, found.machine, found.low) == ("Clopper–Pearson", "", -math.inf)
    assert found.lock_digest.startswith("3f1f36a3")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 4, "scores": []}', '{"format": 3}', '{"format": 3, "scores": 1}']
)
def test_a_malformed_score_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match="evaluate the model again"):
        read_scores(tmp_path / "scores.json")


@pytest.mark.parametrize(("written", "missing"), [(2, "lock_digest"), (3, "machine")])
def test_a_score_without_what_its_format_has_is_refused(
    written: int, missing: str, tmp_path: Path
) -> None:
    row = {name: value for name, value in asdict(SCORE).items() if name != missing}
    (tmp_path / "scores.json").write_text(json.dumps({"format": written, "scores": [row]}))
    with pytest.raises(FormatError, match=missing):
        read_scores(tmp_path / "scores.json")


def test_a_score_of_other_weights_is_refused() -> None:
    other = replace(SCORE, weight_hash="ff" * 32)
    require_weights([SCORE, other], {"ab" * 32, "ff" * 32})
    with pytest.raises(IntegrityError, match=r"measured on weights ffff.*expected.* abab"):
        require_weights([SCORE, other], {"ab" * 32})


def test_weights_that_equal_their_base_are_warned_of() -> None:
    assert unchanged_weights("ab" * 32, "cd" * 32, "the tuned model", "its base") == ""
    told = unchanged_weights("ab" * 32, "ab" * 32, "the tuned model", "its base")
    assert told.startswith("warning: the weights of the tuned model equal those of its base")
