"""The table of requests: what people asked for on a page, for `noria improve --watch` to do.

In: a connection inside a transaction. Out: requests. Nothing here moves anything.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, Table, Text, insert, select, update

from noria.errors import UnknownName, UsageError
from noria.registry.versions import tables

REQUEST_ACTIONS = (
    "promote",
    "rollback",
    "improve",
    "pin",
    "unpin",
    "freeze",
    "unfreeze",
)

requests_table = Table(
    "requests",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("closed_at", Float),
    sqlite_autoincrement=True,  # a number is never given twice
)


@dataclass(frozen=True)
class Request:
    """Something that a person asked for; `closed_at` is None and `outcome` "" until it was done."""

    id: int
    tenant: str
    name: str
    action: str
    weight_hash: str
    actor: str
    at: float
    outcome: str
    closed_at: float | None


def insert_request(
    connection: Connection, tenant: str, name: str, action: str, weight_hash: str, actor: str
) -> int:
    """Store a request and return its number. Raises UsageError for an unknown action."""
    if action not in REQUEST_ACTIONS:
        raise UsageError(f"a request to {action!r}", "one of " + ", ".join(REQUEST_ACTIONS))
    if (action == "promote") != bool(weight_hash):
        raise UsageError(
            f"a request to {action} with the weight hash {weight_hash[:12]!r}",
            "one where something is to be promoted, and only there",
        )
    row = {
        "tenant": tenant,
        "name": name,
        "action": action,
        "weight_hash": weight_hash,
        "actor": actor,
        "at": time.time(),
        "outcome": "",
        "closed_at": None,
    }
    inserted = connection.execute(insert(requests_table), row)
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]  # a table with a key


def select_requests(connection: Connection, *conditions: Any) -> list[Request]:
    """The requests that meet the conditions, oldest first."""
    query = select(requests_table).where(*conditions).order_by(requests_table.c.id)
    return [Request(**row) for row in connection.execute(query).mappings()]


def end_request(connection: Connection, number: int, outcome: str) -> None:
    """Note what became of a request, once. Raises UnknownName unless it is open."""
    ended = connection.execute(
        update(requests_table)
        .where(requests_table.c.id == number, requests_table.c.closed_at.is_(None))
        .values(outcome=outcome, closed_at=time.time())
    )
    if not ended.rowcount:
        raise UnknownName(f"no open request {number}", "the number of an open request")
