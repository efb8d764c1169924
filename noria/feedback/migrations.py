"""How a feedback store of an older format becomes one of the newest.

In: a connection inside the transaction that opens the store. Out: the next format's tables, with
every row. A step is written in the words of its day and never touched again: it may not know
`tables.py`, which is always the newest. A step that fails leaves the old format whole.

This is a list and not alembic: a store is a file that whoever comes first migrates by opening it,
in the transaction that checks its format, and a step computes (it seals what it finds), which
generated SQL would not spare us. PostgreSQL has had formats since 3 only.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

from sqlalchemy import Connection, RowMapping, text

from noria.database import Migrations
from noria.feedback.cipher import DataKey, MasterKeys, TenantKey, new_key

_ROWS_AT_ONCE = 500
_KEY_TABLES = (
    """CREATE TABLE tenant_keys (
        tenant TEXT NOT NULL, id TEXT NOT NULL, master_id TEXT NOT NULL, wrapped BLOB NOT NULL,
        PRIMARY KEY (tenant))""",
    """CREATE TABLE data_keys (
        tenant TEXT NOT NULL, id TEXT NOT NULL, person TEXT NOT NULL, wrapped BLOB NOT NULL,
        PRIMARY KEY (tenant, id), UNIQUE (tenant, person))""",
    "CREATE INDEX feedback_of_interaction ON feedback (tenant, interaction_id, position)",
)


def add_person_and_key(connection: Connection) -> None:
    """1 to 2: feedback says who said it and through which key; of old rows nobody knows."""
    for column in ("person", "key_id"):
        connection.exec_driver_sql(
            f"ALTER TABLE feedback ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
        )


class _Sealing:
    """Keys of one tenant, made as its rows are met."""

    def __init__(self, connection: Connection, master: MasterKeys, tenant: str) -> None:
        self._connection = connection
        self._keys: dict[str, DataKey] = {}
        self.tenant = TenantKey(secrets.token_hex(8), tenant, new_key(), new_key())
        connection.execute(
            text("INSERT INTO tenant_keys VALUES (:tenant, :id, :master_id, :wrapped)"),
            {
                "tenant": tenant,
                "id": self.tenant.id,
                "master_id": master.id,
                "wrapped": master.wrap(self.tenant),
            },
        )

    def person(self, unkeyed: str) -> str:
        """The keyed pseudonym in the place of a plain digest "p-…"."""
        return self.tenant.keyed_pseudonym(unkeyed.removeprefix("p-")) if unkeyed else ""

    def key(self, person: str) -> DataKey:
        """The data key of a keyed pseudonym."""
        if person not in self._keys:
            key = DataKey(secrets.token_hex(8), self.tenant.tenant, person, new_key())
            self._connection.execute(
                text("INSERT INTO data_keys VALUES (:tenant, :id, :person, :wrapped)"),
                {
                    "tenant": self.tenant.tenant,
                    "id": key.id,
                    "person": person,
                    "wrapped": self.tenant.wrap(key),
                },
            )
            self._keys[person] = key
        return self._keys[person]


def _rows(connection: Connection, table: str) -> Iterator[RowMapping]:
    last = 0
    while True:
        query = text(
            f"SELECT rowid, * FROM {table} WHERE rowid > :last ORDER BY rowid LIMIT {_ROWS_AT_ONCE}"
        )
        rows = connection.execute(query, {"last": last}).mappings().all()
        if not rows:
            return
        yield from rows
        last = rows[-1]["rowid"]


def seal_texts(master: MasterKeys, connection: Connection) -> None:
    """2 to 3: texts are sealed, persons and idempotency keys are keyed digests."""
    for statement in _KEY_TABLES:
        connection.exec_driver_sql(statement)
    for table in ("interactions", "feedback"):
        for column in ("data_key", "request"):
            connection.exec_driver_sql(
                f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
            )
    tenants = connection.exec_driver_sql("SELECT DISTINCT tenant FROM interactions").scalars()
    sealing = {tenant: _Sealing(connection, master, tenant) for tenant in tenants.all()}
    asked = text(
        "UPDATE interactions SET person = :person, idempotency_key = :idempotency_key,"
        " prompt = :prompt, answer = :answer, data_key = :data_key, request = :request"
        " WHERE rowid = :rowid"
    )
    said = text(
        "UPDATE feedback SET person = :person, idempotency_key = :idempotency_key,"
        " value = :value, data_key = :data_key, request = :request WHERE rowid = :rowid"
    )
    for row in _rows(connection, "interactions"):
        keys, request = sealing[row["tenant"]], [row["kind"], row["model_name"], row["prompt"]]
        sealed = _sealed(keys, row, "interactions", ("prompt", "answer"), request)
        connection.execute(asked, sealed)
    for row in _rows(connection, "feedback"):
        request = [row["interaction_id"], row["kind"], row["value"], row["origin"]]
        sealed = _sealed(sealing[row["tenant"]], row, "feedback", ("value",), request)
        connection.execute(said, sealed)


def _sealed(
    sealing: _Sealing,
    row: RowMapping,
    table: str,
    columns: tuple[str, ...],
    request: list[str],
) -> dict[str, object]:
    person = sealing.person(row["person"])
    key = sealing.key(person)
    given = row["idempotency_key"]
    digest = None if given is None else sealing.tenant.idempotency_digest(given)
    return {
        "rowid": row["rowid"],
        "person": person,
        "idempotency_key": digest,
        "data_key": key.id,
        "request": key.digest(*request),
        **{column: key.seal(row[column], table, row["id"], column) for column in columns},
    }


def index_weights(connection: Connection) -> None:
    """3 to 4: what certain weights answered is found without going through everything."""
    connection.exec_driver_sql(
        "CREATE INDEX interactions_of_weights ON interactions (tenant, weight_hash, position)"
    )


def migrations(master: MasterKeys) -> Migrations:
    """The steps of a SQLite store, by the format that they begin with."""
    return {1: add_person_and_key, 2: partial(seal_texts, master), 3: index_weights}


POSTGRES_MIGRATIONS: Migrations = {3: index_weights}
