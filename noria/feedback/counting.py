"""What a store holds, without opening what is sealed: how much was said, and which thumbs.

In: a connection inside a read of one tenant. Out: counts by model and kind; thumbs in the order in
which they were given, from a position on. What an erased person said is in neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from noria.feedback.interactions import Feedback
from noria.feedback.keyring import Keyring
from noria.feedback.tables import data_keys_table, feedback_table, from_row, interactions_table


@dataclass(frozen=True)
class Count:
    """So much of one kind was said of a model's answers; `fresh` of it after a point in time."""

    total: int
    fresh: int


@dataclass(frozen=True)
class Thumb:
    """A thumb on a version's answer; `voter` is who gave it, or its own id if nobody knows."""

    position: int
    interaction_id: str
    model_name: str
    weight_hash: str
    voter: str
    is_down: bool


def _spoken(tenant: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Feedback beside its interaction; and that the key of who said it was not erased."""
    said, asked, keys = feedback_table.c, interactions_table.c, data_keys_table.c
    together = and_(asked.tenant == said.tenant, asked.id == said.interaction_id)
    of_tenant = and_(said.tenant == tenant, asked.tenant == tenant)
    readable = (
        select(keys.id).where(keys.tenant == tenant, keys.id == said.data_key).exists()
        & select(keys.id).where(keys.tenant == tenant, keys.id == asked.data_key).exists()
    )
    return and_(together, of_tenant), readable


def count_said(
    connection: Connection, tenant: str, since: Mapping[str, float]
) -> dict[tuple[str, str], Count]:
    """Counts by model and kind. `since`: for a model, the time after which it counts as fresh."""
    said, asked = feedback_table.c, interactions_table.c
    after = case(dict(since), value=asked.model_name, else_=0.0) if since else 0.0
    fresh = func.sum(case((said.created_at > after, 1), else_=0))
    query = (
        select(asked.model_name, said.kind, func.count(), fresh)
        .where(*_spoken(tenant))
        .group_by(asked.model_name, said.kind)
    )
    rows = connection.execute(query).all()
    return {(model, kind): Count(total, int(new)) for model, kind, total, new in rows}


def thumbs_after(
    connection: Connection, keyring: Keyring, tenant: str, position: int
) -> list[Thumb]:
    """The thumbs behind a position, in order."""
    said, asked = feedback_table.c, interactions_table.c
    query = (
        select(feedback_table, asked.model_name, asked.weight_hash)
        .where(*_spoken(tenant), said.kind == "thumb", said.position > position)
        .order_by(said.position)
    )
    rows = connection.execute(query).mappings().all()
    keys = keyring.data_keys(connection, tenant, {row["data_key"] for row in rows})
    found = []
    for row in rows:
        one = from_row(feedback_table, row, keys)
        if isinstance(one, Feedback):
            weights, voter = row["weight_hash"], one.person or one.id
            is_down = one.value == "down"
            asked_id = one.interaction_id
            model = row["model_name"]
            found.append(Thumb(row["position"], asked_id, model, weights, voter, is_down))
    return found
