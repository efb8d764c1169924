"""Fill in the middle: a text is put into another order, so that a decoder learns to fill a gap.

In: ids of a text, and where its middle is. Out: the same ids, in pieces, behind three sentinels.
A causal model reads what stands before and after the gap, then predicts the middle token by token,
and after it the end of the text. The loss counts the tokens of all three parts, as in any text
(Bavarian et al. 2022, section 3): nothing of it is lost for having been put into another order. The
prompt for a gap is the order of a text whose middle is empty.
This module does not know torch, tokenizers, or where cuts are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noria.errors import UsageError

ORDERS = ("prefix-suffix-middle", "suffix-prefix-middle")


@dataclass(frozen=True)
class Sentinels:
    """Three ids that stand for nothing else. Raises UsageError if they are not three."""

    prefix: int
    suffix: int
    middle: int

    def __post_init__(self) -> None:
        ids = (self.prefix, self.suffix, self.middle)
        if any(type(one) is not int or one < 0 for one in ids) or len(set(ids)) < 3:
            raise UsageError(
                f"the sentinels {ids}", "three different ids", "add three tokens to the vocabulary"
            )


def infill_order(
    ids: Sequence[int], start: int, end: int, sentinels: Sentinels, order: str = ORDERS[0]
) -> list[int]:
    """The text with its middle, ids[start:end], at the end (Bavarian et al. 2022, section 3).

    "prefix-suffix-middle": <prefix> before <suffix> after <middle> middle.
    "suffix-prefix-middle": <prefix> <suffix> after <middle> before middle; the middle then follows
    what it continues without a seam, and a cache of the suffix serves while the text grows.
    Raises UsageError for a cut outside the text, another order, or a sentinel within the text.
    """
    if order not in ORDERS:
        raise UsageError(f"the order {order!r}", " or ".join(ORDERS), "choose one of these")
    if not 0 <= start <= end <= len(ids):
        raise UsageError(
            f"a middle from {start} to {end} in {len(ids)} tokens",
            "0 <= start <= end <= tokens",
            "cut inside the text",
        )
    marks = (sentinels.prefix, sentinels.suffix, sentinels.middle)
    if not set(marks).isdisjoint(ids):
        raise UsageError("a text with a sentinel in it", "plain text", "leave such a text as it is")
    before, middle, after = list(ids[:start]), list(ids[start:end]), list(ids[end:])
    if order == ORDERS[0]:
        return [marks[0], *before, marks[1], *after, marks[2], *middle]
    return [marks[0], marks[1], *after, marks[2], *before, *middle]


def text_order(ids: Sequence[int], sentinels: Sentinels) -> list[int]:
    """The text that `infill_order` was given, from either order.

    An order with nothing between <prefix> and <suffix> is read as suffix-prefix-middle: where the
    text before the gap is empty, both orders are one. Raises UsageError for ids that are no order.
    """
    marks = (sentinels.prefix, sentinels.suffix, sentinels.middle)
    places = [place for place, one in enumerate(ids) if one in marks]
    if [ids[place] for place in places] != list(marks) or places[0] != 0:
        raise UsageError(
            "ids that are not in an order of infilling",
            "each sentinel once: prefix first, then suffix, then middle",
            "use the sentinels that the text was reordered with",
        )
    _, suffix, middle = places
    before, after = list(ids[1:suffix]), list(ids[suffix + 1 : middle])
    rest = list(ids[middle + 1 :])
    return [*before, *rest, *after]
