"""What is too old goes: interactions with all that was said of them, and feedback by itself.

In: a transaction that writes rows of one tenant. Out: fewer rows. Deletion goes with a tenant's
writes, its first and then one an hour, and by hand; there is no clock that runs beside.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete, or_, select

from noria.feedback.tables import feedback_table, interactions_table

DAY_S = 86_400.0
EVERY_S = 3600.0


def delete_before(connection: Connection, tenant: str, oldest_at: float) -> int:
    """Delete what a tenant's people asked and said before then; returns how many interactions."""
    asked, said = interactions_table.c, feedback_table.c
    too_old = (asked.tenant == tenant, asked.created_at < oldest_at)
    old_ids = select(asked.id).where(*too_old)
    of_old = or_(said.created_at < oldest_at, said.interaction_id.in_(old_ids))
    connection.execute(delete(feedback_table).where(said.tenant == tenant, of_old))
    return int(connection.execute(delete(interactions_table).where(*too_old)).rowcount)


class Retention:
    """Keeps `keep_days` days of every tenant that is written to; 0 keeps everything."""

    def __init__(self, keep_days: int) -> None:
        self._keep_days = keep_days
        self._next_at: dict[str, float] = {}  # monotonic: the calendar's jumps change nothing

    def apply(self, connection: Connection, tenant: str) -> None:
        """Delete what is too old, unless it was done within the hour."""
        if not self._keep_days or time.monotonic() < self._next_at.get(tenant, 0.0):
            return
        delete_before(connection, tenant, time.time() - self._keep_days * DAY_S)
        self._next_at[tenant] = time.monotonic() + EVERY_S
