"""The tables of a feedback store, and how a row becomes a value.

`position` counts a tenant's rows from 1: the order in which they were stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from noria.feedback.interactions import Feedback, Interaction

STORE_FORMAT = 2
APPLICATION_ID = 0x4E464231  # "NFB1"

tables = MetaData()
interactions_table = Table(
    "interactions",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("idempotency_key", Text),
    Column("model_name", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("num_prompt_tokens", Integer, nullable=False),
    Column("num_answer_tokens", Integer, nullable=False),
    UniqueConstraint("tenant", "position"),
    UniqueConstraint("tenant", "idempotency_key"),
)
feedback_table = Table(
    "feedback",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("idempotency_key", Text),
    Column("interaction_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    ForeignKeyConstraint(["tenant", "interaction_id"], ["interactions.tenant", "interactions.id"]),
    UniqueConstraint("tenant", "position"),
    UniqueConstraint("tenant", "idempotency_key"),
)
INTERACTION_COLUMNS = [interactions_table.c[name] for name in Interaction.__dataclass_fields__]
FEEDBACK_COLUMNS = [feedback_table.c[name] for name in Feedback.__dataclass_fields__]


def interaction_from_row(row: Mapping[str, Any]) -> Interaction:
    """The interaction that a row holds."""
    return Interaction(**{name: row[name] for name in Interaction.__dataclass_fields__})


def feedback_from_row(row: Mapping[str, Any]) -> Feedback:
    """The feedback that a row holds."""
    return Feedback(**{name: row[name] for name in Feedback.__dataclass_fields__})
