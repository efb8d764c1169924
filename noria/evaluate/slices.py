"""A set of records cut into slices: by source, by language, by length, by label.

In: records. Out: a name and a mask for each slice. This module knows no model and no number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noria.corpus.kept import language_of
from noria.corpus.sources import source_name
from noria.records import Labelled, Record, record_texts

MAX_VALUES = 12  # of one kind of slice; more are too many to read, and too small to show anything
MIN_RECORDS = 5
Mask = NDArray[np.bool_]


def slices_of(records: Sequence[Record]) -> dict[str, Mask]:
    """Masks over the records, by names such as `language: zh`.

    Lengths are three parts of equal count. A kind with one value only says nothing; of one with
    many the most frequent are kept; and a slice of fewer than five records is left out.
    """
    kinds = {
        "source": [source_name(record.source) for record in records],
        "language": [language_of(record) for record in records],
        "length": _lengths(records),
        "label": [_label_of(record) for record in records],
    }
    found: dict[str, Mask] = {}
    for kind, values in kinds.items():
        names, counts = np.unique(np.array(values), return_counts=True)
        if len(names) < 2:
            continue
        kept = names[np.argsort(-counts, kind="stable")][:MAX_VALUES]
        for name in sorted(kept):
            mask = np.array([value == name for value in values])
            if name and mask.sum() >= MIN_RECORDS:
                found[f"{kind}: {name}"] = mask
    return found


def _label_of(record: Record) -> str:
    return " + ".join(record.labels) or "(none)" if isinstance(record, Labelled) else ""


def _lengths(records: Sequence[Record]) -> list[str]:
    sizes = np.array([sum(map(len, record_texts(record))) for record in records])
    low, high = np.quantile(sizes, [1 / 3, 2 / 3], method="lower")
    if low == sizes.max():
        return [""] * len(records)
    names = (f"to {low:,} characters", f"{low + 1:,} to {high:,}", f"above {high:,}")
    return [names[int(size > low) + int(size > high)] for size in sizes]
