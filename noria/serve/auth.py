"""Keys: who may use the server, of which tenant, with which rights.

In: a tenant and rights. Out: a secret, shown once; what is stored is its SHA-256. The secret holds
256 random bits, so a plain hash keeps it: there is nothing to guess. This module knows no HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Float, MetaData, Table, Text, insert, select, update

from noria.database import Database
from noria.errors import UnknownName, UsageError
from noria.recipe import NAME_PATTERN

KEYS_FORMAT = 1
APPLICATION_ID = 0x4E4B5931  # "NKY1"
RIGHTS = ("use", "rate", "promote", "read")
_SECRET = re.compile(r"nk-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")

_tables = MetaData()
_keys = Table(
    "keys",
    _tables,
    Column("tenant", Text, primary_key=True),
    Column("key_id", Text, primary_key=True, unique=True),
    Column("digest", Text, nullable=False),
    Column("rights", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)


@dataclass(frozen=True)
class CreatedKey:
    """A new key; the only time that its secret is seen."""

    key_id: str
    secret: str


@dataclass(frozen=True)
class Key:
    """A key as the store knows it; `revoked_at` is None while it holds."""

    tenant: str
    key_id: str
    rights: tuple[str, ...]
    created_at: float
    revoked_at: float | None


@dataclass(frozen=True)
class Principal:
    """Who sent a request: use (ask), rate (give feedback), read (see the state), promote."""

    tenant: str
    key_id: str
    rights: frozenset[str]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Any) -> Key:
    rights = tuple(row.rights.split(","))
    return Key(row.tenant, row.key_id, rights, row.created_at, row.revoked_at)


def _principal(row: Any) -> Principal | None:
    """Whom a row lets in: nobody where there is none, or where it was revoked."""
    if row is None or row.revoked_at is not None:
        return None
    return Principal(row.tenant, row.key_id, frozenset(row.rights.split(",")))


class KeyStore:
    """The keys of all tenants in one SQLite file; safe for many threads and processes."""

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path,
            _tables,
            kind="a key store",
            application_id=APPLICATION_ID,
            version=KEYS_FORMAT,
        )

    def create(self, tenant: str, rights: Iterable[str]) -> CreatedKey:
        """Make a key. Raises UsageError for a tenant or right that can't be."""
        wanted = sorted(set(rights))
        if not wanted or not set(wanted) <= set(RIGHTS):
            raise UsageError(f"rights {', '.join(wanted)!r}", "some of " + ", ".join(RIGHTS))
        if not NAME_PATTERN.fullmatch(tenant):
            raise UsageError(f"tenant {tenant[:80]!r}", "letters, digits, - and _, like 'acme'")
        key_id = secrets.token_hex(6)
        secret = f"nk-{key_id}-{secrets.token_urlsafe(32)}"
        row = {
            "tenant": tenant,
            "key_id": key_id,
            "digest": _digest(secret),
            "rights": ",".join(wanted),
            "created_at": time.time(),
        }
        with self._database.write() as connection:
            connection.execute(insert(_keys), row)
        return CreatedKey(key_id, secret)

    def revoke(self, tenant: str, key_id: str) -> None:
        """Refuse the key from now on; again changes nothing. Raises UnknownName."""
        mine = (_keys.c.tenant == tenant, _keys.c.key_id == key_id)
        with self._database.write() as connection:
            if connection.execute(select(_keys.c.key_id).where(*mine)).first() is None:
                raise UnknownName(
                    f"no key {key_id[:80]!r}", "the id of a key of this tenant", "noria key list"
                )
            holds = _keys.c.revoked_at.is_(None)
            connection.execute(update(_keys).where(*mine, holds).values(revoked_at=time.time()))

    def list(self, tenant: str) -> tuple[Key, ...]:
        """Every key of a tenant, revoked ones too, oldest first."""
        query = select(_keys).where(_keys.c.tenant == tenant)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_keys.c.created_at, _keys.c.key_id)).all()
        return tuple(_key(row) for row in rows)

    def check(self, secret: str) -> Principal | None:
        """Who holds this secret, or None: unknown, wrong and revoked look the same."""
        match = _SECRET.fullmatch(secret)
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(_keys).where(_keys.c.key_id == match[1])).first()
        stored = row.digest if row is not None else "0" * 64
        same = hmac.compare_digest(stored, _digest(secret))
        return _principal(row) if same else None

    def holder(self, tenant: str, key_id: str) -> Principal | None:
        """Who holds a key whose secret was checked before, or None if it holds no longer."""
        mine = (_keys.c.tenant == tenant, _keys.c.key_id == key_id)
        with self._database.read() as connection:
            return _principal(connection.execute(select(_keys).where(*mine)).first())

    def close(self) -> None:
        """Close every connection to the file."""
        self._database.close()
