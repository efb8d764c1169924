"""Keys: who may use the server, of which tenant, with which rights, until when.

In: a tenant and rights. Out: a secret, shown once; what is stored is its SHA-256. The secret holds
256 random bits, so a plain hash keeps it: there is nothing to guess. This module knows no HTTP.

A key ends by being revoked or by its day. Both are states that are stored: once a key was revoked,
or seen after its day, it stays refused, whatever the clock says later.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    select,
    update,
)

from noria.database import Database
from noria.errors import UnknownName, UsageError
from noria.recipe import NAME_PATTERN

KEYS_FORMAT = 2
APPLICATION_ID = 0x4E4B5931  # "NKY1"
RIGHTS = ("use", "rate", "promote", "read")
MAX_DAYS = 3650
MAX_TOKENS_PER_MINUTE = 10**9
DAY_S = 86_400
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
    Column("expires_at", Float),
    Column("expired_at", Float),
    Column("tokens_per_minute", Integer),
)


def _add_ends_and_limits(connection: Connection) -> None:
    """1 to 2: keys of the first format have no last day and no limit of their own."""
    for column in ("expires_at FLOAT", "expired_at FLOAT", "tokens_per_minute INTEGER"):
        connection.exec_driver_sql(f"ALTER TABLE keys ADD COLUMN {column}")


_MIGRATIONS = {1: _add_ends_and_limits}


@dataclass(frozen=True)
class CreatedKey:
    """A new key; the only time that its secret is seen."""

    key_id: str
    secret: str


@dataclass(frozen=True)
class Key:
    """A key as the store knows it.

    `revoked_at` is None while it holds, `expires_at` None if it has no last day, `expired_at` the
    moment in which it was first seen after it; `tokens_per_minute` None: as its tenant.
    """

    tenant: str
    key_id: str
    rights: tuple[str, ...]
    created_at: float
    revoked_at: float | None
    expires_at: float | None
    expired_at: float | None
    tokens_per_minute: int | None

    def state(self, now: float) -> str:
        """One of "active", "revoked", "expired"."""
        if self.revoked_at is not None:
            return "revoked"
        over = self.expires_at is not None and now >= self.expires_at
        return "expired" if over or self.expired_at is not None else "active"


@dataclass(frozen=True)
class Principal:
    """Who sent a request: use (ask), rate (give feedback), read (see the state), promote.

    `tokens_per_minute` is the key's own limit; None: it has none.
    """

    tenant: str
    key_id: str
    rights: frozenset[str]
    tokens_per_minute: int | None = None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Any) -> Key:
    return Key(
        row.tenant,
        row.key_id,
        tuple(row.rights.split(",")),
        row.created_at,
        row.revoked_at,
        row.expires_at,
        row.expired_at,
        row.tokens_per_minute,
    )


class KeyStore:
    """The keys of all tenants in one SQLite file; safe for many threads and processes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._database = Database(
            path,
            _tables,
            kind="a key store",
            application_id=APPLICATION_ID,
            version=KEYS_FORMAT,
            migrations=_MIGRATIONS,
        )

    def create(
        self,
        tenant: str,
        rights: Iterable[str],
        *,
        days: float | None = None,
        tokens_per_minute: int | None = None,
    ) -> CreatedKey:
        """Make a key that holds for so many days, or until it is revoked.

        Raises UsageError for a tenant, right, number of days or limit that can't be.
        """
        wanted = sorted(set(rights))
        if not wanted or not set(wanted) <= set(RIGHTS):
            raise UsageError(f"rights {', '.join(wanted)!r}", "some of " + ", ".join(RIGHTS))
        if not NAME_PATTERN.fullmatch(tenant):
            raise UsageError(f"tenant {tenant[:80]!r}", "letters, digits, - and _, like 'acme'")
        if days is not None and not 0 < days <= MAX_DAYS:
            raise UsageError(f"{days} days", f"more than 0, at most {MAX_DAYS:,}")
        if tokens_per_minute is not None and not 1 <= tokens_per_minute <= MAX_TOKENS_PER_MINUTE:
            raise UsageError(
                f"{tokens_per_minute} tokens a minute", f"1 to {MAX_TOKENS_PER_MINUTE:,}"
            )
        key_id = secrets.token_hex(6)
        secret = f"nk-{key_id}-{secrets.token_urlsafe(32)}"
        now = self._clock()
        row = {
            "tenant": tenant,
            "key_id": key_id,
            "digest": _digest(secret),
            "rights": ",".join(wanted),
            "created_at": now,
            "expires_at": None if days is None else now + days * DAY_S,
            "tokens_per_minute": tokens_per_minute,
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
            connection.execute(update(_keys).where(*mine, holds).values(revoked_at=self._clock()))

    def list(self, tenant: str) -> tuple[Key, ...]:
        """Every key of a tenant, revoked ones too, oldest first."""
        query = select(_keys).where(_keys.c.tenant == tenant)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_keys.c.created_at, _keys.c.key_id)).all()
        return tuple(_key(row) for row in rows)

    def check(self, secret: str) -> Principal | None:
        """Who holds this secret, or None: unknown, wrong, revoked and expired look the same.

        Every way in comes through here.
        """
        match = _SECRET.fullmatch(secret)
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(_keys).where(_keys.c.key_id == match[1])).first()
        stored = row.digest if row is not None else "0" * 64
        same = hmac.compare_digest(stored, _digest(secret))
        if not same or row is None:
            return None
        return self._principal(_key(row))

    def holder(self, tenant: str, key_id: str) -> Principal | None:
        """Who holds a key whose secret was checked before, or None if it holds no longer."""
        mine = (_keys.c.tenant == tenant, _keys.c.key_id == key_id)
        with self._database.read() as connection:
            row = connection.execute(select(_keys).where(*mine)).first()
        return None if row is None else self._principal(_key(row))

    def _principal(self, key: Key) -> Principal | None:
        state = key.state(self._clock())
        if state == "expired" and key.expired_at is None:
            self._note_expired(key)
        if state != "active":
            return None
        return Principal(key.tenant, key.key_id, frozenset(key.rights), key.tokens_per_minute)

    def _note_expired(self, key: Key) -> None:
        """From now on the key is over, even if the clock should go back."""
        mine = (_keys.c.tenant == key.tenant, _keys.c.key_id == key.key_id)
        first = _keys.c.expired_at.is_(None)
        with self._database.write() as connection:
            connection.execute(update(_keys).where(*mine, first).values(expired_at=self._clock()))

    def close(self) -> None:
        """Close every connection to the file."""
        self._database.close()
