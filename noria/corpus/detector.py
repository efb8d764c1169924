"""What a detector of one kind of identity is: a pattern, and a check where one exists.

In: nothing. Out: the type that the tables of detectors are made of, and what they share.
This module knows no kind of identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Match = re.Match[str]
Range = tuple[int, int]


def whole(match: Match) -> Range | None:
    """All that the pattern matched."""
    return match.span()


def secret(match: Match) -> Range | None:
    """The group `secret` alone: a label or an address around it stays."""
    return match.span("secret")


@dataclass(frozen=True)
class Detector:
    """A kind of identity: a cheap look that must hit first, its pattern, and what to replace.

    The look is a search, or words of which one has to stand in the text (lower-case): the pattern
    itself is 10 to 100 times as slow. `judge` returns the range to replace, None if the match is
    something else after all.
    """

    kind: str
    gate: re.Pattern[str] | tuple[str, ...]
    pattern: re.Pattern[str]
    judge: Callable[[Match], Range | None] = whole


def compiled(pattern: str) -> re.Pattern[str]:
    r"""A pattern in verbose form; `\\d` and `\\s` are ASCII, texts come with narrow digits."""
    return re.compile(pattern, re.ASCII | re.VERBOSE)


LONG_NUMBER = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6}")
# A number may stand in a list ("…,…" or "…/…"), but is no part of a decimal or of "1,234,567".
NOT_AFTER = r"(?<![0-9][.\-])"
NOT_BEFORE = r"(?![.\-][0-9]|,[0-9]{3}(?![0-9]))"
