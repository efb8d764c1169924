"""One vector for each token id, from wherever it was trained, and a model that begins with them.

In: a matrix with a row for each id. Out: nearest neighbours; a Transformer whose embedding is made
of these vectors. This module does not know how vectors are trained.
Legend: V vocabulary, C width of the vectors, M width of a model.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from noria.baselines.folders import arrays_hash, read_array, read_facts, reading, write_folder
from noria.errors import UsageError
from noria.model.transformer import ModelT

VECTORS_FORMAT = 1
NOISE = 0.1  # of columns that vectors do not fill, beside those that they do: breaks their symmetry


@dataclass(frozen=True, eq=False)
class Vectors:
    """`matrix` (V, C) float32; the row of an id that training never met is 0."""

    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.dtype != np.float32 or not self.known.any():
            raise UsageError(
                f"vectors of shape {self.matrix.shape}, {self.matrix.dtype}",
                "a row of float32 for each id, one of them at least not 0",
                "train the vectors on more text",
            )

    @cached_property
    def known(self) -> Bool[np.ndarray, " V"]:
        """Which ids have a vector."""
        return np.asarray(self.matrix.any(axis=1))

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        lengths = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return np.asarray(self.matrix / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of the matrix."""
        return arrays_hash({}, {"matrix": self.matrix})

    def neighbours(self, token_id: int, num: int = 10) -> list[tuple[int, float]]:
        """The ids whose vectors point most nearly the same way, with the cosines, nearest first.

        Raises UsageError for an id without a vector.
        """
        if not 0 <= token_id < len(self.matrix) or not self.known[token_id]:
            raise UsageError(f"token id {token_id}", "one that has a vector", "choose another")
        cosines = self._directions @ self._directions[token_id]
        cosines[~self.known] = -np.inf
        cosines[token_id] = -np.inf
        nearest = np.argsort(-cosines, kind="stable")[: min(num, int(self.known.sum()) - 1)]
        return [(int(one), float(cosines[one])) for one in nearest]

    def save(self, folder: Path) -> None:
        """Write vectors.json and matrix.npy into an existing folder."""
        write_folder(folder, "vectors", VECTORS_FORMAT, {}, {"matrix": self.matrix})


def load_vectors(folder: Path) -> Vectors:
    """Read vectors back. Raises FormatError if a file is missing, cut or of another shape."""
    with reading(folder, "word vectors"):
        read_facts(folder, "vectors", VECTORS_FORMAT)
        return Vectors(read_array(folder, "matrix", "float32", 2))


def with_vectors(model: ModelT, vectors: Vectors, seed: int = 0) -> ModelT:
    """A copy of a fresh model whose embedding holds these vectors, as large as its own were.

    Wider vectors are projected on the M directions in which they vary most (uncentred PCA, which
    keeps dot products best: Eckart & Young 1936); narrower ones get small noise beside them. All
    are scaled to the deviation that the model's embedding has, and ids without a vector keep what
    they had. Raises UsageError if the vocabularies are of different sizes.
    """
    embedding = model.embedding.weight
    num_ids, width = embedding.shape
    if len(vectors.matrix) != num_ids:
        raise UsageError(
            f"vectors of {len(vectors.matrix)} ids for a model of {num_ids}",
            "one vocabulary",
            "train the vectors with the model's tokenizer",
        )
    rows = _of_width(vectors.matrix[vectors.known], width, seed)
    rows *= float(embedding.detach().float().std()) / float(rows.std())
    begun = copy.deepcopy(model)
    with torch.no_grad():
        known = torch.from_numpy(vectors.known).to(embedding.device)
        begun.embedding.weight[known] = torch.from_numpy(rows).to(embedding)
    return begun


def _of_width(rows: Any, width: int, seed: int) -> Float32[np.ndarray, "V M"]:
    """A copy of the rows, as wide as a model."""
    missing = width - rows.shape[1]
    if missing > 0:
        noise = np.random.default_rng(seed).standard_normal((len(rows), missing))
        rows = np.concatenate([rows, NOISE * rows.std() * noise], axis=1)
    elif missing < 0:
        _, directions = np.linalg.eigh(rows.T @ rows)  # (C, C), the least first
        rows = rows @ directions[:, : -width - 1 : -1]
    return np.array(rows, dtype=np.float32)
