"""Span F1 beside seqeval's, default and strict, on random tags: the largest difference.

    pip install --target FOLDER --no-deps seqeval==1.2.2
    PYTHONPATH=FOLDER python benchmarks/span_f1.py

seqeval is no dependency: its only file is a source archive that asks for setuptools-scm while it is
built, and without a build environment of its own (as `make` installs) its version becomes 0.0.0,
which pip refuses.
"""

from __future__ import annotations

import random
import warnings

from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from noria.evaluate.spans import SpanAnswers, bio_spans, span_sums

NUM_CASES = 1_000
KINDS = ("O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
THEIRS = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


def main() -> None:
    warnings.simplefilter("ignore")
    draw = random.Random(20261122)
    largest = {"default": 0.0, "strict": 0.0}
    for case in range(NUM_CASES):
        gold, said = [], []
        for _ in range(draw.randint(1, 12)):
            tags = [draw.choice(KINDS) for _ in range(draw.randint(1, 15))]
            gold.append(tags)
            said.append([tag if draw.random() < 0.7 else draw.choice(KINDS) for tag in tags])
        mode = ("default", "strict")[case % 2]
        strict = mode == "strict"
        sides = [tuple(bio_spans(tags, strict) for tags in side) for side in (gold, said)]
        sums = span_sums(SpanAnswers(*sides))
        options = {"mode": "strict", "scheme": IOB2} if strict else {}
        for average in ("micro", "macro"):
            for name, score in THEIRS.items():
                value = score(gold, said, average=average, zero_division=0, **options)
                ours = sums.value(f"{average}_{name}")
                ours = 0.0 if ours != ours else ours  # not defined: they say 0
                largest[mode] = max(largest[mode], abs(ours - float(value)))
    for mode, value in largest.items():
        print(f"{mode}: largest difference {value:.1e} in {NUM_CASES // 2} cases")


if __name__ == "__main__":
    main()
