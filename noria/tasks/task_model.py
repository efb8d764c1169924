"""What is served of an application: one folder that answers texts, whichever ways it is made of.

    task.json    format, name, kind, way, labels, many, temperature, threshold, and the parts
    <way>/       a folder for each part

In: such a folder, or the parts of one. Out: something that answers texts, under one weight hash
over all of it. This module does not know where the folder lies, nor who asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from noria.artifacts import value_digest
from noria.baselines.crf import load_crf
from noria.baselines.hmm import load_hmm
from noria.baselines.interface import Baseline, Classifier, Labeller, TokenScorer
from noria.baselines.tfidf import load_tfidf
from noria.baselines.tfidf_many import load_tfidf_many
from noria.errors import FormatError, IntegrityError
from noria.model.headed import HeadedModel
from noria.tasks.classify import CLASSIFY, TextClassifier
from noria.tasks.declaration import Task
from noria.tasks.encoder import load_encoder_classifier
from noria.tasks.encoder_parts import EncoderParts, ReadRows
from noria.tasks.encoder_tagger import load_encoder_tagger
from noria.tasks.tag import TAG, TextTagger
from noria.tasks.vectors import VectorParts, load_vectors

TASK_FORMAT = 1
TASK_FILE = "task.json"
TASKS: dict[str, Task] = {one.kind: one for one in (CLASSIFY, TAG)}


class Answer(Protocol):
    """What a text is answered with."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        ...

    def as_text(self) -> str:
        """One line for a person."""
        ...


@dataclass(frozen=True)
class Part:
    """A model inside: the way that made it, its folder, how much it counts, its weight hash."""

    way: str
    folder: str
    weight: float
    weight_hash: str


@dataclass(frozen=True)
class Description:
    """Everything that task.json says; `threshold`: below it no label is given."""

    name: str
    kind: str
    way: str
    labels: tuple[str, ...]
    many: bool
    temperature: float
    threshold: float
    parts: tuple[Part, ...]

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all that decides an answer."""
        return value_digest({**asdict(self), "name": "", "way": ""})


class Loaded(Protocol):
    """What answers, loaded."""

    def predict(self, texts: Sequence[str]) -> Sequence[Answer]:
        """An answer to each text, in order. Raises UsageError for an empty one."""
        ...


@dataclass(frozen=True, eq=False)
class TaskModel:
    """An application that answers."""

    description: Description
    parts: tuple[Baseline, ...]
    loaded: Loaded

    @property
    def weight_hash(self) -> str:
        """The name under which its scores and answers know it."""
        return self.description.weight_hash

    @property
    def encoders(self) -> tuple[HeadedModel, ...]:
        """The models under their heads that it reads with."""
        return tuple(one.model for one in self.parts if isinstance(one, EncoderParts))

    @property
    def vectors(self) -> VectorParts | None:
        """What it makes sentence vectors with, if it does."""
        return next((one for one in self.parts if isinstance(one, VectorParts)), None)

    def predict(self, texts: Sequence[str]) -> Sequence[Answer]:
        """An answer to each text, in order. Raises UsageError for an empty one."""
        return self.loaded.predict(texts)


def _load_tfidf(folder: Path, many: bool) -> Baseline:
    return load_tfidf_many(folder) if many else load_tfidf(folder)


# Kind -> way -> what reads its folder; `many` says whether a text has any number of labels.
_LOADERS: Mapping[str, Mapping[str, Callable[[Path, bool], Baseline]]] = {
    "classify": {
        "classical": _load_tfidf,
        "vectors": lambda folder, many: load_vectors(folder),
        "scratch": lambda folder, many: load_encoder_classifier(folder),
        "tuned": lambda folder, many: load_encoder_classifier(folder),
    },
    "tag": {
        "classical": lambda folder, many: load_crf(folder),
        "dictionary": lambda folder, many: load_crf(folder),
        "hmm": lambda folder, many: load_hmm(folder),
        "scratch": lambda folder, many: load_encoder_tagger(folder),
        "tuned": lambda folder, many: load_encoder_tagger(folder),
    },
}


def load_part(kind: str, way: str, folder: Path, many: bool) -> Baseline:
    """A model that one way made. Raises FormatError if its folder can't be read."""
    loaders = _LOADERS[kind]
    if way not in loaders:
        raise FormatError(f"{folder}: the way {way!r}", f"one of {', '.join(loaders)}")
    return loaders[way](folder, many)


def assembled(description: Description, parts: Sequence[Baseline]) -> TaskModel:
    """The application of loaded parts. Raises IntegrityError for parts of other weights."""
    for part, said in zip(parts, description.parts, strict=True):
        if part.weight_hash != said.weight_hash:
            raise IntegrityError(
                f"{said.folder} holds weights {part.weight_hash[:12]}",
                said.weight_hash[:12],
                "restore the folder or run again",
            )
    weights = tuple(one.weight for one in description.parts)
    loaded: Loaded
    if description.kind == TAG.kind:
        scorers = tuple(part for part in parts if isinstance(part, TokenScorer))
        loaded = TextTagger(scorers, weights, description.labels, description.temperature)
    else:
        loaded = TextClassifier(
            tuple(part for part in parts if isinstance(part, Classifier | Labeller)),
            weights,
            description.labels,
            description.many,
            description.temperature,
            description.threshold,
        )
    return TaskModel(description, tuple(parts), loaded)


def write_description(folder: Path, description: Description) -> None:
    """Write task.json into an existing folder, beside the parts."""
    value = {"format": TASK_FORMAT, **asdict(description)}
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / TASK_FILE).write_text(text, encoding="utf-8")


def read_description(folder: Path) -> Description:
    """Read task.json back. Raises FormatError."""
    try:
        value = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
        if value.pop("format") != TASK_FORMAT:
            raise ValueError("another format")
        value["labels"] = tuple(map(str, value["labels"]))
        value["parts"] = tuple(Part(**one) for one in value["parts"])
        found = Description(**value)
        inside = all(Path(one.folder).name == one.folder for one in found.parts)
        if found.kind not in TASKS or not found.parts or not inside:
            raise ValueError("an unknown kind, no parts, or a part that lies elsewhere")
        return replace(
            found, temperature=float(found.temperature), threshold=float(found.threshold)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{folder / TASK_FILE} can't be read ({error})",
            f"an application of format {TASK_FORMAT}",
            "run: noria run",
        ) from error


def load_task_model(
    folder: Path, serve: Callable[[HeadedModel, int], ReadRows] | None = None
) -> TaskModel:
    """Load an application. Raises FormatError or IntegrityError for a damaged folder.

    serve: for a model under its head and the id that pads its rows, what reads them in its place.
    """
    description = read_description(folder)
    parts = [
        load_part(description.kind, one.way, folder / one.folder, description.many)
        for one in description.parts
    ]
    if serve is not None:
        parts = [
            one.serving(serve(one.model, one.tokenizer.pad_id))
            if isinstance(one, EncoderParts)
            else one
            for one in parts
        ]
    return assembled(description, parts)
