"""What people decided about feedback: take it or leave it, who said so, and when.

In: decisions about pieces of feedback, by id. Out: for each its last one. Rows are added, never
changed: who thinks otherwise later decides again. No text of feedback is kept here; a reviewer's
own wording is a correction in the feedback store, which this only points at.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text, func, insert, select

from noria.database import Database
from noria.errors import UsageError
from noria.feedback.interactions import check_text

TAKE, LEAVE = "take", "leave"
ACTIONS = (TAKE, LEAVE)
REVIEW_FORMAT = 1
APPLICATION_ID = 0x4E525631  # "NRV1"
MAX_NOTE_CHARACTERS = 500

_tables = MetaData()
_reviews = Table(
    "reviews",
    _tables,
    Column("tenant", Text, primary_key=True),
    Column("position", Integer, primary_key=True),  # a tenant's rows from 1
    Column("feedback_id", Text, nullable=False, index=True),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("decided_at", Float, nullable=False),
)


@dataclass(frozen=True)
class Review:
    """One decision; `position` orders those of a tenant, whatever the clock says."""

    tenant: str
    position: int
    feedback_id: str
    action: str
    actor: str
    note: str
    decided_at: float


class ReviewStore:
    """Decisions in one SQLite file; on disk before `decide` returns."""

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path,
            _tables,
            kind="a store of reviews",
            application_id=APPLICATION_ID,
            version=REVIEW_FORMAT,
        )

    def decide(
        self,
        tenant: str,
        feedback_id: str,
        action: str,
        actor: str,
        note: str = "",
        decided_at: float | None = None,
    ) -> Review:
        """Store a decision about a feedback that exists, which the caller has seen to.

        Raises UsageError for another action, nobody who decides, or a long note.
        """
        if action not in ACTIONS:
            raise UsageError(f"the decision {action!r}", f"one of: {', '.join(ACTIONS)}")
        if not actor.strip() or not feedback_id:
            raise UsageError("a decision by nobody or about nothing", "who decides, about what")
        for what, text in (("actor", actor), ("note", note), ("feedback_id", feedback_id)):
            check_text(what, text)
        if len(note) > MAX_NOTE_CHARACTERS:
            raise UsageError(
                f"a note of {len(note)} characters", f"at most {MAX_NOTE_CHARACTERS}", "shorten it"
            )
        highest = select(func.max(_reviews.c.position)).where(_reviews.c.tenant == tenant)
        with self._database.write() as connection:
            position = (connection.execute(highest).scalar() or 0) + 1
            when = time.time() if decided_at is None else decided_at
            review = Review(tenant, position, feedback_id, action, actor, note, when)
            connection.execute(insert(_reviews), asdict(review))
        return review

    def every(self, tenant: str) -> list[Review]:
        """A tenant's decisions, in order."""
        columns = [_reviews.c[name] for name in Review.__dataclass_fields__]
        query = select(*columns).where(_reviews.c.tenant == tenant).order_by(_reviews.c.position)
        with self._database.read() as connection:
            return [Review(**dict(row)) for row in connection.execute(query).mappings()]

    def latest(self, tenant: str) -> dict[str, Review]:
        """The last decision about each feedback, by its id."""
        return {one.feedback_id: one for one in self.every(tenant)}

    def close(self) -> None:
        """Close every connection to the file."""
        self._database.close()
