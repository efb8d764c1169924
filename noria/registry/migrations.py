"""Registries of older formats, brought to today's in the transaction that opens them.

Format 1 chained the texts themselves: each entry's digest was over actor and reason, and nothing
kept anybody from changing a row. Its chain is checked a last time, and its entries are chained anew
over salted digests; an entry of the migration keeps the old chain's last digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, insert

from noria.artifacts import value_digest
from noria.registry.trail import FIRST_PREVIOUS, append_entry, broken
from noria.registry.versions import before_table, tables


def _checked(rows: list[dict[str, Any]]) -> str:
    """The last digest of a chain of format 1. Raises IntegrityError naming the first fault."""
    previous = FIRST_PREVIOUS
    for position, row in enumerate(rows, start=1):
        fields = {key: value for key, value in row.items() if key != "digest"}
        if row["position"] != position or row["previous"] != previous:
            raise broken(position, "it does not follow the entry before")
        if value_digest(fields) != row["digest"]:
            raise broken(position, "it was changed")
        previous = row["digest"]
    return previous


def _from_1(connection: Connection) -> None:
    found = connection.exec_driver_sql("SELECT * FROM audit ORDER BY position").mappings()
    rows: list[dict[str, Any]] = []
    for one in found:
        try:
            rows.append({**one, "detail": json.loads(one["detail"])})
        except ValueError as error:
            raise broken(one["position"], "its detail can't be read") from error
    last_digest = _checked(rows)
    connection.exec_driver_sql("DROP TABLE audit")
    tables.create_all(connection)
    stacks: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        stack = stacks.setdefault((row["tenant"], row["name"]), [])
        if row["action"] == "promote":
            stack.append(row["weight_hash"])
        elif row["action"] == "rollback":
            stack.pop()
        keys = ("tenant", "name", "action", "weight_hash", "actor", "reason", "detail", "at")
        append_entry(connection, *(row[key] for key in keys))
    before = [
        {"tenant": tenant, "name": name, "depth": depth, "weight_hash": weight_hash}
        for (tenant, name), stack in stacks.items()
        for depth, weight_hash in enumerate(stack[:-1], start=1)
    ]
    if before:
        connection.execute(insert(before_table), before)
    detail = {"from_format": 1, "entries": len(rows), "last_digest": last_digest}
    append_entry(connection, "", "", "migrate", "", "noria", "format 1 to format 2", detail)


MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _from_1}
