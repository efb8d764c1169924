"""The audit trail: entries are added at its end and never changed; the database refuses it.

Each entry carries the SHA-256 of the one before it, so an entry that was changed, taken out or put
in shows. (A trail cut off at its end, together with what it led to, does not show: compare the
last digest with one noted elsewhere.) The chain holds actor and reason only as salted digests:
their texts lie beside it and may be erased, salt and all, without breaking it.

In: a connection inside a transaction. Out: entries. What they add up to is `state`'s.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Table,
    Text,
    event,
    insert,
    select,
    update,
)

from noria.artifacts import value_digest
from noria.errors import IntegrityError, UnknownName
from noria.registry.versions import tables

FIRST_PREVIOUS = "0" * 64
ERASED = "(erased)"
TEXTS = ("actor", "reason")
HOLD_ACTIONS = ("pin", "unpin", "freeze", "unfreeze")
TRIAL_ACTIONS = ("shadow", "canary", "withdraw")
MOVES = ("promote", "rollback")
NOTED = ("alarm", "turn")
ACTIONS = ("register", "gate", *MOVES, *HOLD_ACTIONS, *TRIAL_ACTIONS, *NOTED, "erase", "migrate")

audit_table = Table(
    "audit",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("position", Integer, primary_key=True, unique=True),  # one chain over all tenants
    Column("name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("actor_digest", Text, nullable=False),
    Column("reason_digest", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index("audit_by_action", "tenant", "name", "action", "weight_hash"),
)
# An erased text is null, and so is its salt: its digest then says nothing about it any more.
texts_table = Table(
    "audit_texts",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("salt", Text),
    Column("text", Text),
)

_REFUSED = {  # what the database refuses: the change, the table, when
    "audit_is_never_changed": ("UPDATE", audit_table, "1"),
    "audit_is_never_shortened": ("DELETE", audit_table, "1"),
    # Also what INSERT OR REPLACE would put in an old entry's place.
    "audit_grows_at_its_end": (
        "INSERT",
        audit_table,
        "NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM audit)",
    ),
    "audit_texts_are_only_erased": (
        "UPDATE",
        texts_table,
        "(NEW.tenant, NEW.position, NEW.what, NEW.salt, NEW.text) "
        "IS NOT (OLD.tenant, OLD.position, OLD.what, NULL, NULL)",
    ),
    "audit_texts_are_never_deleted": ("DELETE", texts_table, "1"),
    "audit_texts_are_never_replaced": (
        "INSERT",
        texts_table,
        "EXISTS (SELECT 1 FROM audit_texts WHERE (tenant, position, what) "
        "= (NEW.tenant, NEW.position, NEW.what))",
    ),
}
TRIGGERS = {
    name: f"CREATE TRIGGER {name} BEFORE {change} ON {table.name} WHEN {when} "
    "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
    for name, (change, table, when) in _REFUSED.items()
}
for _name, (_, _table, _) in _REFUSED.items():
    event.listen(_table, "after_create", DDL(TRIGGERS[_name]))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class AuditEntry:
    """One thing that happened; `action` is one of ACTIONS.

    `digest` is the SHA-256 of all other fields but `actor` and `reason`, of which their salted
    digests are part; `previous` is the digest of the entry before.
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
    actor_digest: str
    reason_digest: str
    previous: str
    digest: str

    def computed_digest(self) -> str:
        """What `digest` has to be."""
        apart = ("digest", *TEXTS)
        return value_digest({key: v for key, v in asdict(self).items() if key not in apart})


def salted_digest(salt: str, text: str) -> str:
    """SHA-256 (hex) of 32 random bytes and a text."""
    return hashlib.sha256(bytes.fromhex(salt) + text.encode("utf-8")).hexdigest()


def append_entry(
    connection: Connection,
    tenant: str,
    name: str,
    action: str,
    weight_hash: str,
    actor: str,
    reason: str,
    detail: dict[str, Any],
    at: float | None = None,
) -> int:
    """Put an entry at the end of the chain and return its position.

    The caller's transaction must write alone. `at` is only for entries that are older than now.
    """
    last = select(audit_table.c.position, audit_table.c.digest)
    found = connection.execute(last.order_by(audit_table.c.position.desc()).limit(1)).first()
    text = json.dumps(detail, sort_keys=True, ensure_ascii=False, allow_nan=False)
    salts = {what: secrets.token_hex(32) for what in TEXTS}
    entry = AuditEntry(
        tenant=tenant,
        position=found.position + 1 if found else 1,
        name=name,
        action=action,
        weight_hash=weight_hash,
        actor=actor,
        reason=reason,
        detail=json.loads(text),
        at=time.time() if at is None else at,
        actor_digest=salted_digest(salts["actor"], actor),
        reason_digest=salted_digest(salts["reason"], reason),
        previous=found.digest if found else FIRST_PREVIOUS,
        digest="",
    )
    row = {**asdict(entry), "detail": text, "digest": entry.computed_digest()}
    said = {what: row.pop(what) for what in TEXTS}
    connection.execute(insert(audit_table), row)
    key = {"tenant": tenant, "position": entry.position}
    connection.execute(
        insert(texts_table),
        [{**key, "what": what, "salt": salts[what], "text": said[what]} for what in TEXTS],
    )
    return entry.position


def read_entries(connection: Connection, *conditions: Any) -> list[AuditEntry]:
    """The entries that meet the conditions, oldest first. Raises IntegrityError for torn detail."""
    actors, reasons = texts_table.alias("actors"), texts_table.alias("reasons")
    joined: Any = audit_table
    columns: list[Any] = list(audit_table.c)
    for what, texts in (("actor", actors), ("reason", reasons)):
        joined = joined.outerjoin(
            texts,
            (texts.c.tenant == audit_table.c.tenant)
            & (texts.c.position == audit_table.c.position)
            & (texts.c.what == what),
        )
        columns.append(texts.c.text.label(what))
    query = select(*columns).select_from(joined).where(*conditions)
    rows = connection.execute(query.order_by(audit_table.c.position)).mappings()
    return [_entry(dict(row)) for row in rows]


def _entry(row: dict[str, Any]) -> AuditEntry:
    try:
        detail = json.loads(row["detail"])
    except ValueError as error:
        raise broken(row["position"], "its detail can't be read") from error
    texts = {what: ERASED if row[what] is None else row[what] for what in TEXTS}
    return AuditEntry(**{**row, **texts, "detail": detail})


def entries_of(
    connection: Connection, tenant: str, name: str, action: str = ""
) -> list[AuditEntry]:
    """Every entry of that tenant and name, oldest first; of one action only, if it is given."""
    conditions = [audit_table.c.tenant == tenant, audit_table.c.name == name]
    if action:
        conditions.append(audit_table.c.action == action)
    return read_entries(connection, *conditions)


def erase_texts(
    connection: Connection, tenant: str, position: int, actor: str, reason: str
) -> None:
    """Erase actor and reason of an entry, told by an entry of its own. Raises UnknownName."""
    found = read_entries(
        connection, audit_table.c.tenant == tenant, audit_table.c.position == position
    )
    if not found:
        raise UnknownName(f"no entry {position} of {tenant!r} in the audit trail", "a position")
    (entry,) = found
    connection.execute(
        update(texts_table)
        .where(texts_table.c.tenant == tenant, texts_table.c.position == position)
        .values(text=None, salt=None)
    )
    detail = {"position": position}
    append_entry(connection, tenant, entry.name, "erase", entry.weight_hash, actor, reason, detail)


def broken(position: int, what: str) -> IntegrityError:
    """The error that names the first broken entry."""
    return IntegrityError(
        f"entry {position} of the audit trail: {what}",
        "the trail as it was written",
        "restore the registry from a backup",
    )


def require_chain(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Check all tenants' entries against each other. Raises IntegrityError for the first fault."""
    rows = connection.execute(select(texts_table)).mappings()
    texts = {(row["position"], row["what"]): (row["salt"], row["text"]) for row in rows}
    erased = {entry.detail.get("position") for entry in entries if entry.action == "erase"}
    previous = FIRST_PREVIOUS
    for position, entry in enumerate(entries, start=1):
        if entry.position != position:
            raise broken(position, "it is gone")
        if entry.previous != previous:
            raise broken(position, "it does not follow the entry before")
        if entry.digest != entry.computed_digest() or entry.action not in ACTIONS:
            raise broken(position, "it was changed")
        for what, digest in (("actor", entry.actor_digest), ("reason", entry.reason_digest)):
            salt, text = texts.get((position, what), (None, None))
            if salt is None or text is None:
                if position not in erased:
                    raise broken(position, f"its {what} was erased, and no entry says so")
            elif salted_digest(salt, text) != digest:
                raise broken(position, f"its {what} was changed")
        previous = entry.digest


def require_triggers(connection: Connection) -> None:
    """Raise IntegrityError unless the database still refuses every change of the trail."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    found: dict[str, str] = {row[0]: row[1] for row in connection.exec_driver_sql(query)}
    gone = [name for name, statement in TRIGGERS.items() if found.get(name) != statement]
    if gone:
        raise IntegrityError(
            f"the audit trail is not protected: {', '.join(gone)}",
            "the triggers that it was made with",
            "restore the registry from a backup",
        )
