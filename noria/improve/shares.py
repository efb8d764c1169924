"""Nobody's feedback outweighs everybody's: floods from one key, and caps by person and key.

In: who said something and when. Out: which of it comes in a flood, and which is above a cap. Where
there is one key, or one person, there is nobody to outweigh, and neither rule acts.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_S = 3600.0
FLOOD_SHARE = 0.5  # of all feedback in the window
FLOOD_TIMES = 5.0  # the usual pace: of the key itself outside the window, and of all other keys
MIN_FLOOD = 20  # pieces of feedback in the window
FAIR_TIMES = 2.0  # a person's or key's even share may be taken so many times over
MIN_CAP = 20


@dataclass(frozen=True)
class Flood:
    """A key's largest window: so many pieces of feedback of so many that came in it."""

    num_from_key: int
    num_in_window: int


def find_floods(keys: Sequence[str], said_at: Sequence[float]) -> list[Flood | None]:
    """For each piece of feedback the flood that it is part of, if any.

    A flood is a window of an hour in which one key gives at least MIN_FLOOD pieces, more than
    FLOOD_SHARE of all in it, FLOOD_TIMES as many as all other keys usually do in an hour, and as
    it does itself: a key that most users share has its usual pace. Feedback without a key (given
    on the machine itself) is never one, but counts among all.
    """
    times = sorted(said_at)
    of_key: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for place, (key, when) in enumerate(zip(keys, said_at, strict=True)):
        of_key[key].append((when, place))
    found: list[Flood | None] = [None] * len(keys)
    if len(of_key) < 2:
        return found
    for key, own in of_key.items():
        if key and len(own) >= MIN_FLOOD:
            _mark(sorted(own), times, found)
    return found


def _mark(
    own: Sequence[tuple[float, int]], times: Sequence[float], found: list[Flood | None]
) -> None:
    """Mark every window of one key that is a flood; `own` and `times` are sorted."""
    windows = (times[-1] - times[0]) / WINDOW_S
    others = (len(times) - len(own)) / max(windows, 1.0)
    end = 0
    for start, (begins_at, _) in enumerate(own):
        while end < len(own) and own[end][0] < begins_at + WINDOW_S:
            end += 1
        num = end - start
        outside = (len(own) - num) / max(windows - 1.0, 1.0)
        if num < max(MIN_FLOOD, FLOOD_TIMES * others, FLOOD_TIMES * outside):
            continue
        first, last = bisect_left(times, begins_at), bisect_right(times, own[end - 1][0])
        if num > FLOOD_SHARE * (last - first):
            for _, place in own[start:end]:
                known = found[place]
                if known is None or known.num_from_key < num:
                    found[place] = Flood(num, last - first)


def above_cap(who: Sequence[str], ids: Sequence[str], exempt: Sequence[bool]) -> list[int]:
    """For each example 0, or the cap that it is above; the examples that stay are drawn by id.

    The cap is FAIR_TIMES the even share of those who said anything, MIN_CAP at least. An exempt
    example counts towards it and is never above. Who is not known ("") has no cap.
    """
    named = Counter(one for one in who if one)
    over = [0] * len(who)
    if len(named) < 2:
        return over
    cap = max(MIN_CAP, int(FAIR_TIMES * named.total() / len(named)))
    places: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(who):
        if one and named[one] > cap:
            places[one].append(place)
    for own in places.values():
        own.sort(key=lambda place: (not exempt[place], _draw(ids[place])))
        for place in own[cap:]:
            if not exempt[place]:
                over[place] = cap
    return over


def _draw(text: str) -> bytes:
    return hashlib.sha256(f"cap:{text}".encode()).digest()
