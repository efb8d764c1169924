"""The models that the registry knows, and which of them is live, as rows of two tables.

In: a connection inside a transaction. Out: versions. This module knows no trail and no rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, MetaData, Table, Text, insert, select
from sqlalchemy import delete as delete_rows

from noria.errors import IntegrityError, UnknownName

tables = MetaData()
versions_table = Table(
    "versions",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("weight_hash", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("artifact_path", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("registered_at", Float, nullable=False),
)
# The primary key is what makes it one live version a tenant and name, never two.
live_table = Table(
    "live",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("weight_hash", Text, nullable=False),
)
# What was live before, deepest first: what rollbacks return to.
before_table = Table(
    "earlier",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("depth", Integer, primary_key=True),
    Column("weight_hash", Text, nullable=False),
)


@dataclass(frozen=True)
class Version:
    """A model that the registry knows.

    `artifact_path` is its folder, relative to the registry file's; `number` counts from 1.
    """

    tenant: str
    name: str
    weight_hash: str
    number: int
    artifact_path: str
    origin: str
    parent: str
    registered_at: float


def select_versions(connection: Connection, tenant: str, name: str) -> list[Version]:
    """Every version of that tenant and name, oldest first."""
    query = (
        select(versions_table)
        .where(versions_table.c.tenant == tenant, versions_table.c.name == name)
        .order_by(versions_table.c.number)
    )
    return [Version(**row) for row in connection.execute(query).mappings()]


def find_exactly(
    connection: Connection, tenant: str, name: str, weight_hash: str
) -> Version | None:
    """The version with that weight hash, or None."""
    query = select(versions_table).where(
        versions_table.c.tenant == tenant,
        versions_table.c.name == name,
        versions_table.c.weight_hash == weight_hash,
    )
    row = connection.execute(query).mappings().first()
    return Version(**row) if row is not None else None


def require_version(connection: Connection, tenant: str, name: str, weight_hash: str) -> Version:
    """The version with that weight hash. Raises UnknownName."""
    version = find_exactly(connection, tenant, name, weight_hash)
    if version is None:
        raise UnknownName(
            f"{name!r} has no version {weight_hash[:12]!r}",
            "the weight hash of a registered version",
            "noria trace lists them",
        )
    return version


def require_ready(
    connection: Connection, folder: Path, tenant: str, name: str, weight_hash: str
) -> Version:
    """A version below `folder` whose files are there. Raises UnknownName, IntegrityError."""
    version = require_version(connection, tenant, name, weight_hash)
    if not (folder / version.artifact_path).is_dir():
        raise IntegrityError(
            f"{folder / version.artifact_path} is gone",
            f"the folder of version {weight_hash[:12]}",
            "restore it, or choose another version",
        )
    return version


def select_live(connection: Connection, *conditions: Any) -> list[Version]:
    """The live versions whose pointer meets the conditions (on columns of `live_table`)."""
    joined = live_table.join(
        versions_table,
        (live_table.c.tenant == versions_table.c.tenant)
        & (live_table.c.name == versions_table.c.name)
        & (live_table.c.weight_hash == versions_table.c.weight_hash),
    )
    query = select(versions_table).select_from(joined).where(*conditions)
    return [Version(**row) for row in connection.execute(query).mappings()]


def _previous(connection: Connection, tenant: str, name: str) -> Any:
    query = select(before_table).filter_by(tenant=tenant, name=name)
    return connection.execute(query.order_by(before_table.c.depth.desc()).limit(1)).first()


def previous_hash(connection: Connection, tenant: str, name: str) -> str:
    """The weight hash that a rollback would return to, or ""."""
    found = _previous(connection, tenant, name)
    return found.weight_hash if found else ""


def push_live(connection: Connection, version: Version, replaced: str) -> None:
    """Make the version the live one of its tenant and name, above the one that it replaces."""
    key = {"tenant": version.tenant, "name": version.name}
    if replaced:
        found = _previous(connection, version.tenant, version.name)
        row = {**key, "depth": found.depth + 1 if found else 1, "weight_hash": replaced}
        connection.execute(insert(before_table), row)
    _point_at(connection, version)


def pop_live(connection: Connection, version: Version) -> None:
    """Make the version that was live before the live one again."""
    found = _previous(connection, version.tenant, version.name)
    key = {"tenant": version.tenant, "name": version.name, "depth": found.depth}
    connection.execute(delete_rows(before_table).filter_by(**key))
    _point_at(connection, version)


def _point_at(connection: Connection, version: Version) -> None:
    key = {"tenant": version.tenant, "name": version.name}
    connection.execute(delete_rows(live_table).filter_by(**key))
    connection.execute(insert(live_table), {**key, "weight_hash": version.weight_hash})
