"""How the compiled pass has its matrices: in panels, in the order in which they are read.

In: integers and scales of a matrix. Out: the same, laid out once.
Legend: O outputs (rows of the matrix), I inputs, G groups of inputs with one scale, P panels,
Q fours of inputs of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LANES = 16  # floats of a vector, or integers of 32 bits
VECTOR_BYTES = 64
PANEL_OUTPUTS = 2 * LANES
PANEL_BYTES = 2 * VECTOR_BYTES  # of a float for each output, or of four inputs' integers for each
MOST_ROWS = 8  # of a tile: the sums of 8 rows of a panel take half of the processor's registers


class Matrices(NamedTuple):
    """Matrices of one shape, one for each layer.

    weights: integers, (layers, P, G, Q, 32 · 4). sums: of each output's integers in a group,
    (layers, P, G, 32) of float32. scales: (layers, P, 32) of float32.
    """

    weights: NDArray[np.int8]
    sums: NDArray[np.float32]
    scales: NDArray[np.float32]


def laid_out(
    matrices: Sequence[tuple[NDArray[np.int8], NDArray[np.float32]]], num_groups: int
) -> Matrices:
    """Integers (O, I) and scales (O) of each layer, in panels; the last is filled with zeros."""
    num_outputs, num_inputs = matrices[0][0].shape
    num_panels = -(-num_outputs // PANEL_OUTPUTS)
    fours = (num_panels, PANEL_OUTPUTS, num_groups, num_inputs // num_groups // 4, 4)
    num_layers = len(matrices)
    weights = np.zeros((num_layers, num_panels, num_groups, fours[3], PANEL_OUTPUTS * 4), np.int8)
    sums = np.zeros((num_layers, num_panels, num_groups, PANEL_OUTPUTS), np.float32)
    scales = np.zeros((num_layers, num_panels, PANEL_OUTPUTS), np.float32)
    for layer, (integers, scale) in enumerate(matrices):
        filled = np.zeros((num_panels * PANEL_OUTPUTS, num_inputs), np.int8)
        filled[:num_outputs] = integers
        split = filled.reshape(fours)  # (P, 32, G, Q, 4)
        weights[layer] = split.transpose(0, 2, 3, 1, 4).reshape(weights.shape[1:])
        sums[layer] = split.sum((3, 4), dtype=np.int32).transpose(0, 2, 1)
        scales[layer].reshape(-1)[:num_outputs] = scale
    return Matrices(weights, sums, scales)
