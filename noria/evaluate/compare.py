"""Two models on the same records, in words: better, worse, or no difference seen.

In: the likelihoods of both. Out: the paired interval, the word that follows from it, and the
smallest difference that these records could have shown. It does not know what the models are.
"""

from __future__ import annotations

from dataclasses import dataclass

from noria.evaluate.metrics import (
    NUM_RESAMPLES,
    Interval,
    Likelihoods,
    bits_per_byte,
    paired_difference,
    smallest_visible_difference,
)

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference seen"


@dataclass(frozen=True)
class Comparison:
    """What came of comparing a with b, in bits per byte; a negative difference favours a."""

    a_value: float
    b_value: float
    difference: Interval
    smallest_visible: float
    confidence: float
    num_records: int
    verdict: str

    def sentence(self, a: str, b: str) -> str:
        """One sentence in which `a` and `b` are the names of the two models."""
        word = {BETTER: "is better than", WORSE: "is worse than"}.get(self.verdict)
        figures = (
            f"{self.a_value:.3f} against {self.b_value:.3f} bits per byte, difference "
            f"{signed(self.difference.value)} ({self.confidence * 100:.3g}% interval "
            f"{signed(self.difference.low)} to {signed(self.difference.high)})"
        )
        if word:
            return f"{a} {word} {b}: {figures}."
        return (
            f"No difference was seen between {a} and {b}: {figures}; these {self.num_records} "
            f"records would have shown one of {self.smallest_visible:.3f}."
        )


def compare(
    a: Likelihoods,
    b: Likelihoods,
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Comparison:
    """Compare a with b on the same records.

    Raises UsageError if they were measured on different ones.
    """
    difference = paired_difference(a, b, confidence, seed, num_resamples)
    return Comparison(
        bits_per_byte(a, confidence, seed, num_resamples=1).value,
        bits_per_byte(b, confidence, seed, num_resamples=1).value,
        difference,
        smallest_visible_difference(a, b, confidence),
        confidence,
        a.num_records,
        verdict_of(difference),
    )


def verdict_of(difference: Interval) -> str:
    """The word for an interval of a - b in bits per byte: zero inside means nothing was seen."""
    if difference.high < 0:
        return BETTER
    return WORSE if difference.low > 0 else NO_DIFFERENCE


def signed(value: float, decimals: int = 3) -> str:
    """A difference with its sign and a true minus, such as −0.042."""
    return f"{value:+.{decimals}f}".replace("-", "−").replace("inf", "∞")
