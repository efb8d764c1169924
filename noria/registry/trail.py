"""The audit trail: entries are added at its end and never changed.

Each entry carries the SHA-256 of the one before it, so an entry that was changed, taken out or put
in shows. (A trail cut off at its end, together with what it led to, does not show: compare the
last digest with one noted elsewhere.)

In: a connection inside a transaction. Out: entries, and what they add up to.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, Table, Text, insert, select

from noria.artifacts import value_digest
from noria.errors import IntegrityError
from noria.registry.versions import Version, tables

FIRST_PREVIOUS = "0" * 64
ACTIONS = ("register", "gate", "promote", "rollback")

audit_table = Table(
    "audit",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("position", Integer, primary_key=True, unique=True),  # one chain over all tenants
    Column("name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)


@dataclass(frozen=True)
class AuditEntry:
    """One thing that happened; `action` is register, gate, promote or rollback.

    `digest` is the SHA-256 of all other fields, `previous` the digest of the entry before.
    """

    tenant: str
    position: int
    name: str
    action: str
    weight_hash: str
    actor: str
    reason: str
    detail: dict[str, Any]
    at: float
    previous: str
    digest: str

    def computed_digest(self) -> str:
        """What `digest` has to be."""
        return value_digest({key: v for key, v in asdict(self).items() if key != "digest"})


def append_entry(
    connection: Connection,
    version: Version,
    action: str,
    actor: str,
    reason: str,
    detail: dict[str, Any],
) -> None:
    """Put an entry at the end of the chain; the caller's transaction must write alone."""
    last = select(audit_table.c.position, audit_table.c.digest)
    found = connection.execute(last.order_by(audit_table.c.position.desc()).limit(1)).first()
    text = json.dumps(detail, sort_keys=True, ensure_ascii=False, allow_nan=False)
    entry = AuditEntry(
        tenant=version.tenant,
        position=found.position + 1 if found else 1,
        name=version.name,
        action=action,
        weight_hash=version.weight_hash,
        actor=actor,
        reason=reason,
        detail=json.loads(text),
        at=time.time(),
        previous=found.digest if found else FIRST_PREVIOUS,
        digest="",
    )
    row = {**asdict(entry), "detail": text, "digest": entry.computed_digest()}
    connection.execute(insert(audit_table), row)


def read_entries(connection: Connection, *conditions: Any) -> list[AuditEntry]:
    """The entries that meet the conditions, oldest first. Raises IntegrityError for torn detail."""
    query = select(audit_table).where(*conditions).order_by(audit_table.c.position)
    found = []
    for row in connection.execute(query).mappings():
        try:
            detail = json.loads(row["detail"])
        except ValueError as error:
            raise _broken(row["position"], "its detail can't be read") from error
        found.append(AuditEntry(**{**row, "detail": detail}))
    return found


def entries_of(connection: Connection, tenant: str, name: str) -> list[AuditEntry]:
    """Every entry of that tenant and name, oldest first."""
    return read_entries(connection, audit_table.c.tenant == tenant, audit_table.c.name == name)


def lives(entries: Sequence[AuditEntry]) -> list[str]:
    """Weight hashes that rollbacks would return to, the live one last, by one name's entries.

    A promotion puts a version on top, a rollback takes the top one off.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.action == "promote":
            stack.append(entry.weight_hash)
        elif entry.action == "rollback" and stack:
            stack.pop()
    return stack


def _broken(position: int, what: str) -> IntegrityError:
    return IntegrityError(
        f"entry {position} of the audit trail: {what}",
        "the trail as it was written",
        "restore the registry from a backup",
    )


def require_chain(entries: Sequence[AuditEntry]) -> None:
    """Check all tenants' entries against each other. Raises IntegrityError for the first fault."""
    previous = FIRST_PREVIOUS
    for position, entry in enumerate(entries, start=1):
        if entry.position != position:
            raise _broken(position, "it is gone")
        if entry.previous != previous:
            raise _broken(position, "it does not follow the entry before")
        if entry.digest != entry.computed_digest() or entry.action not in ACTIONS:
            raise _broken(position, "it was changed")
        previous = entry.digest


def require_state(
    entries: Sequence[AuditEntry],
    paths: Mapping[tuple[str, str, str], str],
    pointers: Mapping[tuple[str, str], str],
) -> None:
    """Raise IntegrityError unless the tables hold what the trail adds up to.

    `paths` are the registered folders by (tenant, name, weight hash), `pointers` the live weight
    hashes by (tenant, name).
    """
    by_name: dict[tuple[str, str], list[AuditEntry]] = defaultdict(list)
    registered: dict[tuple[str, str, str], str] = {}
    for entry in entries:
        by_name[entry.tenant, entry.name].append(entry)
        if entry.action == "register":
            key = (entry.tenant, entry.name, entry.weight_hash)
            registered[key] = entry.detail["artifact_path"]
    live = {key: stack[-1] for key, of_one in by_name.items() if (stack := lives(of_one))}
    for what, told, found in (("versions", registered, paths), ("live pointers", live, pointers)):
        if told != found:
            raise IntegrityError(
                f"the registry's {what} are not what its audit trail says",
                f"{len(told)} as the trail tells them",
                "restore the registry from a backup",
            )
