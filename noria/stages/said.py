"""What tenants' people said by now, for who looks again and again.

In: a feedback store. Out: how much was said of each model, and every thumb. Nothing is read twice:
counts come from the database, thumbs from where the last look ended. What a person erases meanwhile
is still among the thumbs, as a pseudonym, until the process ends.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import final

from noria.feedback.counting import Thumb
from noria.feedback.store import FeedbackStore

LOOK_EVERY_S = 10.0  # counting is dearer than looking at the registry


@final
class SaidByTenant:
    """Looks at most every `LOOK_EVERY_S`; a tenant that is new is looked at at once."""

    def __init__(self, feedback: FeedbackStore) -> None:
        self._feedback = feedback
        self._counts: dict[str, Counter[str]] = {}
        self._thumbs: dict[str, list[Thumb]] = {}
        self._looked_at = -LOOK_EVERY_S

    def look(self, tenants: Iterable[str]) -> None:
        """Read what came since the last look."""
        is_time = time.monotonic() - self._looked_at >= LOOK_EVERY_S
        for tenant in sorted(set(tenants)):
            if is_time or tenant not in self._counts:
                self._counts[tenant] = self._counted(tenant)
                known = self._thumbs.setdefault(tenant, [])
                known += self._feedback.thumbs(tenant, known[-1].position if known else 0)
        if is_time:
            self._looked_at = time.monotonic()

    def _counted(self, tenant: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for (model, _), one in self._feedback.counts(tenant).items():
            counts[model] += one.total
        return counts

    def thumbs(self, tenant: str) -> Sequence[Thumb]:
        """Every thumb of a tenant, in the order given."""
        return self._thumbs.get(tenant, ())

    def num(self, tenant: str, model_name: str) -> int:
        """How much was said of a model's answers, signs of what people did included."""
        return self._counts.get(tenant, Counter())[model_name]
