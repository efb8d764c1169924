"""What a group of values means to the store: which are new, which are retries, which are refused.

In: a transaction that writes alone, and values of one tenant, cleaned. Out: the new rows inserted,
and for each value what stands in the store, or why it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, RowMapping, Table, bindparam, func, insert, select

from noria.errors import NoriaError, UnknownName, UsageError
from noria.feedback.cipher import DataKey
from noria.feedback.interactions import Feedback
from noria.feedback.keyring import Keyring
from noria.feedback.tables import (
    Said,
    as_row,
    feedback_table,
    from_row,
    interactions_table,
    request_digest,
    table_of,
)

# Statements of every write are built once: building costs as much as running them.
_TENANT: BindParameter[str] = bindparam("of_tenant")
_VALUES: BindParameter[list[str]] = bindparam("values", expanding=True)
_TABLES = (interactions_table, feedback_table)
_WITH = {
    (table.name, column): select(table).where(
        table.c.tenant == _TENANT, table.c[column].in_(_VALUES)
    )
    for table in _TABLES
    for column in ("id", "idempotency_key")
}
_HIGHEST = {
    table.name: select(func.max(table.c.position)).where(table.c.tenant == _TENANT)
    for table in _TABLES
}
_KNOWN_IDS = select(interactions_table.c.id).where(
    interactions_table.c.tenant == _TENANT, interactions_table.c.id.in_(_VALUES)
)


@dataclass(frozen=True)
class ToStore:
    """A value without identities, and the key under which it may come again ("": none)."""

    said: Said
    idempotency_key: str = ""


def unknown_interaction() -> UnknownName:
    """The same words for "never was" and "is another tenant's": neither may be told apart."""
    return UnknownName("no such interaction", "the id of an answer that this key was given")


def reused_key() -> UsageError:
    """Another content under a key or id that is taken."""
    return UsageError(
        "an idempotency key that was used for something else",
        "a new key for new content",
        "send the same content again, or another key",
    )


class _Side:
    """One table's part of a batch: what is there, and what is to be inserted."""

    def __init__(
        self,
        connection: Connection,
        keyring: Keyring,
        table: Table,
        tenant: str,
        values: Sequence[ToStore],
    ) -> None:
        self._table = table
        self._tenant_key = keyring.tenant_key(connection, tenant)
        self._rows: list[dict[str, Any]] = []
        self._by_id: dict[str, tuple[Said | None, str]] = {}
        self._by_key: dict[str, tuple[Said | None, str]] = {}
        digests = {value.idempotency_key for value in values} - {""}
        self._digests = {one: self._tenant_key.idempotency_digest(one) for one in digests}
        ids = [value.said.id for value in values]
        stored = _matches(connection, table, tenant, ids, list(self._digests.values()))
        key_ids = {row["data_key"] for row in stored}
        keys = keyring.data_keys(connection, tenant, key_ids) if key_ids else {}
        for row in stored:  # what was erased keeps its id, but nothing equals it
            said = from_row(table, row, keys)
            self._remember(row["id"], said, row["request"], row["idempotency_key"])

    def _remember(self, row_id: str, said: Said | None, request: str, digest: str | None) -> None:
        self._by_id[row_id] = (said, request)
        if digest is not None:
            self._by_key[digest] = (said, request)

    def add(self, value: ToStore, key: DataKey) -> Said:
        """What stands for this value: itself, or what it repeats. Raises UsageError."""
        digest = self._digests.get(value.idempotency_key)
        request = request_digest(value.said, key)
        found = [self._by_id.get(value.said.id), self._by_key.get(digest or "")]
        there = [one for one in found if one is not None]
        if any(said is None or its_request != request for said, its_request in there):
            raise reused_key()
        if there and there[0][0] is not None:
            return there[0][0]
        row = as_row(value.said, key, request) | {"idempotency_key": digest}
        self._rows.append(row)
        self._remember(value.said.id, value.said, request, digest)
        return value.said

    def insert(self, connection: Connection) -> None:
        """Insert what is new, behind what is there."""
        if not self._rows:
            return
        mine = {"of_tenant": self._tenant_key.tenant}
        last = connection.execute(_HIGHEST[self._table.name], mine).scalar() or 0
        for position, row in enumerate(self._rows, start=last + 1):
            row["position"] = position
        connection.execute(insert(self._table), self._rows)


def _matches(
    connection: Connection, table: Table, tenant: str, ids: Sequence[str], digests: Sequence[str]
) -> list[RowMapping]:
    """Rows with one of these ids or keys; asked one after the other, for each has an index."""
    found: dict[str, RowMapping] = {}
    for column, values in (("id", ids), ("idempotency_key", digests)):
        if values:
            wanted = {"of_tenant": tenant, "values": values}
            rows = connection.execute(_WITH[table.name, column], wanted)
            found |= {row["id"]: row for row in rows.mappings()}
    return list(found.values())


def _spoken_of(said: Said) -> set[str]:
    """Interactions that have to be there for this to be said."""
    if not isinstance(said, Feedback):
        return set()
    return {said.interaction_id, said.value} if said.kind == "preference" else {said.interaction_id}


def _known(connection: Connection, tenant: str, values: Sequence[ToStore]) -> set[str]:
    wanted = set().union(*(_spoken_of(value.said) for value in values))
    if not wanted:
        return set()
    ids = {"of_tenant": tenant, "values": list(wanted)}
    return set(connection.execute(_KNOWN_IDS, ids).scalars())


def store_batch(
    connection: Connection, keyring: Keyring, tenant: str, values: Sequence[ToStore]
) -> list[Said | NoriaError]:
    """Insert what is new of these values; for each what stands in the store, or its error.

    Interactions go first, so that feedback may come with what it speaks of.
    """
    persons = {value.said.person for value in values}
    keys = keyring.keys_of_persons(connection, tenant, persons)
    results: dict[int, Said | NoriaError] = {}
    for table in _TABLES:
        numbers = [n for n, value in enumerate(values) if table_of(value.said) is table]
        if numbers:
            mine = [values[number] for number in numbers]
            stored = _store_side(connection, keyring, table, tenant, mine, keys)
            results |= dict(zip(numbers, stored, strict=True))
    return [results[number] for number in range(len(values))]


def _store_side(
    connection: Connection,
    keyring: Keyring,
    table: Table,
    tenant: str,
    values: Sequence[ToStore],
    keys: Mapping[str, DataKey],
) -> list[Said | NoriaError]:
    side = _Side(connection, keyring, table, tenant, values)
    known = _known(connection, tenant, values)
    results: list[Said | NoriaError] = []
    for value in values:
        try:
            if not _spoken_of(value.said) <= known:
                raise unknown_interaction()
            results.append(side.add(value, keys[value.said.person]))
        except NoriaError as error:
            results.append(error)
    side.insert(connection)
    return results
