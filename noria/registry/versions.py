"""The models that the registry knows, and which of them is live, as rows of two tables.

In: a connection inside a transaction. Out: versions. This module knows no trail and no rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, MetaData, Table, Text, insert, select
from sqlalchemy import delete as delete_rows

from noria.errors import UnknownName

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


def point_at(connection: Connection, version: Version) -> None:
    """Make the version the live one of its tenant and name, in the caller's transaction."""
    key = {"tenant": version.tenant, "name": version.name}
    connection.execute(delete_rows(live_table).filter_by(**key))
    connection.execute(insert(live_table), {**key, "weight_hash": version.weight_hash})
