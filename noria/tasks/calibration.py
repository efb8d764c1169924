"""How far stated probabilities can be believed: several models joined, and one temperature.

In: probabilities of one or several models on the same texts. Out: joined and calibrated ones, and
the temperature that makes known answers likeliest (Guo et al. 2017, "On Calibration of Modern
Neural Networks"). Joining is a weighted mean of logarithms (Hinton 2002, products of experts).
Legend: B texts (or tokens), N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

LEAST_PROBABILITY = 1e-9  # so that a model that is sure of a mistake can be outvoted
_BOUNDS = (0.05, 20.0)  # between which the temperature is looked for
_NUM_STEPS = 40  # of the search; each makes the interval a third smaller

Probabilities = Float64[np.ndarray, "B N"]


def joined(
    parts: Sequence[Probabilities], weights: Sequence[float], temperature: float, many: bool
) -> Probabilities:
    """What several models say together: the weighted mean of their logits over a temperature.

    `many`: each label by itself, the logit being the log odds; else a row sums to 1.
    """
    logits = sum(
        weight * _logits(part, many) for part, weight in zip(parts, weights, strict=True)
    ) / sum(weights)
    return _probabilities(np.asarray(logits) / temperature, many)


def fitted_temperature(
    probabilities: Probabilities, gold: Int64[np.ndarray, " B"] | Bool[np.ndarray, "B N"]
) -> float:
    """The temperature under which the gold classes (B,), or labels (B, N), are likeliest.

    1 without examples. The loss is convex in 1 / temperature, so thirds of its logarithm find it.
    """
    if not len(gold):
        return 1.0
    many = gold.ndim == 2
    logits = _logits(probabilities, many)
    return _smallest(lambda log: _loss(logits / np.exp(log), gold, many))


def surprise(
    probabilities: Probabilities, gold: Int64[np.ndarray, " B"] | Bool[np.ndarray, "B N"]
) -> float:
    """Mean negative log likelihood, in nats, of the gold classes (B,) or labels (B, N)."""
    many = gold.ndim == 2
    return _loss(_logits(probabilities, many), gold, many)


def _logits(probabilities: Probabilities, many: bool) -> Probabilities:
    found: Probabilities = np.log(np.clip(probabilities, LEAST_PROBABILITY, 1.0))
    if many:
        found -= np.log(np.clip(1.0 - probabilities, LEAST_PROBABILITY, 1.0))
    return found


def _probabilities(logits: Probabilities, many: bool) -> Probabilities:
    if many:
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    found = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _loss(logits: Probabilities, gold: Any, many: bool) -> float:
    """Mean negative log likelihood of what is right."""
    if many:
        return float(np.logaddexp(0.0, np.where(gold, -logits, logits)).mean())
    top = logits.max(axis=1, keepdims=True)
    norm = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return float((norm - logits[np.arange(len(gold)), gold]).mean())


def _smallest(loss: Callable[[float], float]) -> float:
    low, high = np.log(_BOUNDS[0]), np.log(_BOUNDS[1])
    for _ in range(_NUM_STEPS):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if loss(first) <= loss(second):
            high = second
        else:
            low = first
    return float(np.exp((low + high) / 2))
