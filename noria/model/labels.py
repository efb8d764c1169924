"""What the outputs of a head are called: `labels.json` beside a headed model's config.

In: names, in the order of the head's classes, and how texts are read. Out: the file, and back.
This module does not know what a label means.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from noria.artifacts import atomic_write
from noria.errors import FormatError
from noria.model.weights import read_json_object

LABELS_FILE = "labels.json"
LABELS_FORMAT = 1


@dataclass(frozen=True)
class HeadLabels:
    """names: of the classes. many: each holds or not by itself, instead of one of them.

    window_tokens: how many tokens are read at a time, the marks at both ends included.
    """

    names: tuple[str, ...]
    many: bool
    window_tokens: int


def write_labels(folder: Path, labels: HeadLabels) -> None:
    """Write the file into a model folder, whole or not at all."""
    text = json.dumps({"format": LABELS_FORMAT, **asdict(labels)}, indent=1, ensure_ascii=False)
    atomic_write(folder / LABELS_FILE, text.encode("utf-8"))


def read_labels(folder: Path, num_classes: int, context_tokens: int) -> HeadLabels:
    """Read them back for a head of so many classes on a body of that context.

    Raises InputError if the file is missing, FormatError for another format or number of names, or
    a window that the body can't read.
    """
    path = folder / LABELS_FILE
    value = read_json_object(path)
    names, many, window = (value.get(key) for key in ("names", "many", "window_tokens"))
    sound = (
        value.get("format") == LABELS_FORMAT
        and isinstance(names, list)
        and all(isinstance(one, str) for one in names)
        and len(set(names)) == len(names) == num_classes
        and isinstance(many, bool)
        and type(window) is int
        and 2 < window <= context_tokens
    )
    if not sound:
        raise FormatError(
            f"{path} that makes no sense",
            f"format {LABELS_FORMAT}, {num_classes} names, many, and a window of 3 to "
            f"{context_tokens} tokens",
            "train the model again",
        )
    assert isinstance(names, list) and isinstance(many, bool) and isinstance(window, int)
    return HeadLabels(tuple(names), many, window)
