"""What a baseline can do, by task: every `train_…` and `load_…` here returns one of these.

In: token ids, texts or tokens. Out: log probabilities, probabilities or tags.
This module knows no baseline; a Transformer beside a callable of the same shape is another row of
the same table (noria.baselines.table).
Legend: T tokens, B texts, N classes or tags.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

Progress = Callable[[int, int], None]
Ids = Sequence[int] | NDArray[Any]


@runtime_checkable
class Baseline(Protocol):
    """A trained value: it has a name for its weights and can be stored."""

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of what it learnt: the name under which its scores are stored."""
        ...

    def save(self, folder: Path) -> None:
        """Write it into an existing folder, as JSON, npy and safetensors."""
        ...


@runtime_checkable
class LanguageModel(Baseline, Protocol):
    """Says how likely each token is after those before it."""

    def log_probs(self, ids: Ids) -> Float64[np.ndarray, " T"]:
        """Natural log P(ids[i] | those before it in its document), after a leading end token.

        Raises UsageError for an id outside the vocabulary.
        """
        ...


@runtime_checkable
class Classifier(Baseline, Protocol):
    """Says how likely each class is for a text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes' names, in the order of the columns of `probabilities`."""
        ...

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text; a row sums to 1."""
        ...


@runtime_checkable
class Labeller(Baseline, Protocol):
    """Says of each label by itself how likely a text has it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in the order of the columns of `label_probabilities`."""
        ...

    def label_probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(the text has the label), a row for each text; a row need not sum to 1."""
        ...


@runtime_checkable
class Tagger(Baseline, Protocol):
    """Gives each token of a sequence a tag."""

    def tag(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """As many tags as tokens."""
        ...


@runtime_checkable
class TokenScorer(Baseline, Protocol):
    """Says how likely each tag is for each token of a sequence."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The tags' names, in the order of the columns of `tag_probabilities`."""
        ...

    def tag_probabilities(self, tokens: Sequence[str]) -> Float64[np.ndarray, "T N"]:
        """P(tag | tokens), a row for each token; a row sums to 1."""
        ...

    def batch_tag_probabilities(
        self, sequences: Sequence[Sequence[str]]
    ) -> list[Float64[np.ndarray, "T N"]]:
        """As `tag_probabilities`, of many sequences."""
        ...
