"""The tables of a feedback store, and how a row becomes a value and a value a row.

`position` counts a tenant's rows from 1: the order in which they were stored. Texts are sealed
(`cipher.py`) with the data key that `data_key` names; where that key was erased, so is the text.
`request` says by a keyed digest whether two requests are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    Table,
    Text,
    UniqueConstraint,
)

from noria.feedback.cipher import DataKey
from noria.feedback.interactions import Feedback, Interaction

STORE_FORMAT = 4
APPLICATION_ID = 0x4E464231  # "NFB1"

tables = MetaData()
tenant_keys_table = Table(
    "tenant_keys",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("master_id", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
)
data_keys_table = Table(
    "data_keys",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "person"),
)
interactions_table = Table(
    "interactions",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("idempotency_key", Text),  # its keyed digest
    Column("model_name", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("prompt", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("num_prompt_tokens", Integer, nullable=False),
    Column("num_answer_tokens", Integer, nullable=False),
    Column("data_key", Text, nullable=False),
    Column("request", Text, nullable=False),
    UniqueConstraint("tenant", "position"),
    UniqueConstraint("tenant", "idempotency_key"),
    Index("interactions_of_weights", "tenant", "weight_hash", "position"),
)
feedback_table = Table(
    "feedback",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("idempotency_key", Text),  # its keyed digest
    Column("interaction_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("data_key", Text, nullable=False),
    Column("request", Text, nullable=False),
    ForeignKeyConstraint(["tenant", "interaction_id"], ["interactions.tenant", "interactions.id"]),
    UniqueConstraint("tenant", "position"),
    UniqueConstraint("tenant", "idempotency_key"),
    Index("feedback_of_interaction", "tenant", "interaction_id", "position"),
)
SEALED = {"interactions": ("prompt", "answer"), "feedback": ("value",)}

Said = Interaction | Feedback  # what a row may hold
Row = RowMapping | Mapping[str, Any]


def table_of(said: Said) -> Table:
    """Where a value is kept."""
    return interactions_table if isinstance(said, Interaction) else feedback_table


def request_digest(said: Said, key: DataKey) -> str:
    """What a retry has to share with the request that it repeats."""
    if isinstance(said, Interaction):
        return key.digest(said.kind, said.model_name, said.prompt)
    return key.digest(said.interaction_id, said.kind, said.value, said.origin)


def as_row(said: Said, key: DataKey, request: str) -> dict[str, Any]:
    """A value as the table keeps it, without position and idempotency key."""
    table = table_of(said).name
    row = vars(said) | {"data_key": key.id, "request": request}
    for column in SEALED[table]:
        row[column] = key.seal(row[column], table, said.id, column)
    return row


def from_row(table: Table, row: Row, keys: Mapping[str, DataKey]) -> Said | None:
    """The value that a row holds; None if its person was erased. Raises IntegrityError."""
    key = keys.get(row["data_key"])
    if key is None:
        return None
    kind = Interaction if table is interactions_table else Feedback
    values = {name: row[name] for name in kind.__dataclass_fields__}
    for column in SEALED[table.name]:
        sealed = bytes(values[column])
        values[column] = key.unseal(sealed, table.name, row["id"], column, row["person"])
    return kind(**values)
