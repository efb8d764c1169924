"""The registry: what is registered, promoted, rolled back, and the trail of who did it.

In: weight hashes of finished models, verdicts of gates, promotions, rollbacks.
Out: one live version a tenant and name, once there is one.
Every change writes its row and its entry of the trail in one transaction. This module does not
know what a model is, loads none, and reads of a verdict only whether it says yes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, insert, select, update

from noria.database import Database
from noria.errors import IntegrityError, UnknownName, UsageError
from noria.registry.gates import gate_detail, is_recorded, require_yes
from noria.registry.trail import (
    AuditEntry,
    append_entry,
    audit_table,
    entries_of,
    lives,
    read_entries,
    require_chain,
    require_state,
)
from noria.registry.versions import (
    Version,
    find_exactly,
    live_table,
    point_at,
    require_version,
    select_live,
    select_versions,
    tables,
    versions_table,
)

REGISTRY_FORMAT = 1
APPLICATION_ID = 0x4E524731  # "NRG1"
MIN_PREFIX = 4


def _checked_path(artifact_path: str) -> str:
    path = PurePosixPath(artifact_path)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(
            f"artifact path {artifact_path!r}",
            "a path inside the registry's folder, relative to it",
        )
    return str(path)


class Registry:
    """Versions, live pointers and audit trail in one SQLite file.

    Safe for many threads and processes. Beside what the methods name, each raises StorageError
    where the disk says no and IntegrityError for a damaged file.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._database = Database(
            path,
            tables,
            kind="a registry",
            application_id=APPLICATION_ID,
            version=REGISTRY_FORMAT,
        )

    def close(self) -> None:
        """Close every connection to the file."""
        self._database.close()

    def model_folder(self, version: Version) -> Path:
        """Where the version's weights lie, wherever the registry and they were moved to."""
        return self.folder / version.artifact_path

    def register(
        self,
        tenant: str,
        name: str,
        weight_hash: str,
        artifact_path: str,
        origin: str,
        parent: str = "",
    ) -> Version:
        """Make a model folder known; weights that are known already keep their first entry.

        Only if their folder is gone does the new path take its place. `parent` is the weight hash
        that it was made from. Raises UsageError for a path that leaves the registry's folder.
        """
        if not tenant or not name or not re.fullmatch("[0-9a-f]{64}", weight_hash):
            raise UsageError(
                f"weight hash {weight_hash[:80]!r} of {tenant!r}, {name!r}",
                "a tenant, a name and 64 hexadecimal digits",
            )
        path = _checked_path(artifact_path)
        with self._database.write() as connection:
            known = find_exactly(connection, tenant, name, weight_hash)
            if known is None:
                number = len(select_versions(connection, tenant, name)) + 1
                version = Version(
                    tenant, name, weight_hash, number, path, origin, parent, time.time()
                )
                connection.execute(insert(versions_table), asdict(version))
            elif known.artifact_path == path or self.model_folder(known).is_dir():
                return known
            else:
                version = self._moved(connection, known, path)
            detail = {"artifact_path": path, "origin": version.origin, "parent": version.parent}
            append_entry(connection, version, "register", "noria", origin, detail)
        return version

    @staticmethod
    def _moved(connection: Connection, known: Version, path: str) -> Version:
        connection.execute(
            update(versions_table)
            .where(
                versions_table.c.tenant == known.tenant,
                versions_table.c.name == known.name,
                versions_table.c.weight_hash == known.weight_hash,
            )
            .values(artifact_path=path)
        )
        return require_version(connection, known.tenant, known.name, known.weight_hash)

    def live(self, tenant: str, name: str) -> Version | None:
        """The live version, or None if none ever was."""
        with self._database.read() as connection:
            found = select_live(
                connection, live_table.c.tenant == tenant, live_table.c.name == name
            )
        return found[0] if found else None

    def live_by_tenant(self, name: str) -> dict[str, Version]:
        """The live version of that name of every tenant that has one, for a server of them all."""
        with self._database.read() as connection:
            found = select_live(connection, live_table.c.name == name)
        return {version.tenant: version for version in found}

    def versions(self, tenant: str, name: str) -> list[Version]:
        """Every version of that name, oldest first."""
        with self._database.read() as connection:
            return select_versions(connection, tenant, name)

    def find_version(self, tenant: str, name: str, prefix: str) -> Version:
        """The one version whose weight hash begins so. Raises UnknownName for none or several."""
        versions = self.versions(tenant, name)
        found = [one for one in versions if one.weight_hash.startswith(prefix)]
        if len(prefix) < MIN_PREFIX or len(found) != 1:
            known = ", ".join(one.weight_hash[:12] for one in versions[-5:]) or "none yet"
            raise UnknownName(
                f"{len(found)} versions of {name!r} begin with {prefix[:80]!r}",
                f"{MIN_PREFIX} or more characters of one weight hash (the latest: {known})",
                "give more of it",
            )
        return found[0]

    def promote(
        self,
        tenant: str,
        name: str,
        weight_hash: str,
        actor: str,
        reason: str,
        verdict_key: str = "",
    ) -> Version:
        """Make a version live; returns it. What is live already stays so, without an entry.

        Raises UnknownName for weights that are not registered, IntegrityError if their folder is
        gone; with a `verdict_key` UsageError unless that verdict on them was recorded and says yes.
        """
        with self._database.write() as connection:
            version = self._require_ready(connection, tenant, name, weight_hash)
            entries = entries_of(connection, tenant, name)
            if verdict_key:
                require_yes(entries, weight_hash, verdict_key)
            before = lives(entries)[-1:]
            if before != [weight_hash]:
                point_at(connection, version)
                detail = {"verdict_key": verdict_key, "before": "".join(before)}
                append_entry(connection, version, "promote", actor, reason, detail)
        return version

    def rollback(self, tenant: str, name: str, actor: str, reason: str) -> Version:
        """Make the version live that the live one replaced; returns it.

        Again and again it goes back to the first. Raises UsageError if there is none before,
        IntegrityError if its folder is gone.
        """
        with self._database.write() as connection:
            stack = lives(entries_of(connection, tenant, name))
            if len(stack) < 2:
                raise UsageError(
                    f"{name!r} has no version that was live before this one",
                    "at least two promotions",
                    "promote the version you want by its weight hash",
                )
            version = self._require_ready(connection, tenant, name, stack[-2])
            point_at(connection, version)
            append_entry(connection, version, "rollback", actor, reason, {"before": stack[-1]})
        return version

    def _require_ready(
        self, connection: Connection, tenant: str, name: str, weight_hash: str
    ) -> Version:
        version = require_version(connection, tenant, name, weight_hash)
        if not self.model_folder(version).is_dir():
            raise IntegrityError(
                f"{self.model_folder(version)} is gone",
                f"the folder of version {weight_hash[:12]}",
                "restore it, or choose another version",
            )
        return version

    def record_gate(
        self,
        tenant: str,
        name: str,
        weight_hash: str,
        verdict_key: str,
        set_digest: str,
        verdict: Mapping[str, Any],
    ) -> None:
        """Keep a gate's verdict on a version, once: the read of the frozen set is spent with it.

        `verdict["promote"]` says yes or no; the rest is kept as it is. Raises UnknownName for
        weights that are not registered, UsageError for a key that holds another verdict.
        """
        detail = gate_detail(verdict_key, set_digest, verdict)
        with self._database.write() as connection:
            version = require_version(connection, tenant, name, weight_hash)
            if not is_recorded(entries_of(connection, tenant, name), weight_hash, detail):
                reason = "promote" if verdict["promote"] else "refuse"
                append_entry(connection, version, "gate", "gate", reason, detail)

    def gate_reads(self, set_digest: str) -> int:
        """How many verdicts rest on that frozen set, of any tenant and name."""
        with self._database.read() as connection:
            gates = read_entries(connection, audit_table.c.action == "gate")
        return sum(entry.detail["set_digest"] == set_digest for entry in gates)

    def was_ever_live(self, tenant: str, name: str, weight_hash: str) -> bool:
        """Whether that version is live or once was."""
        return any(
            entry.action == "promote" and entry.weight_hash == weight_hash
            for entry in self.history(tenant, name)
        )

    def history(self, tenant: str, name: str) -> list[AuditEntry]:
        """The trail of that name, oldest first."""
        with self._database.read() as connection:
            return entries_of(connection, tenant, name)

    def verify_chain(self) -> None:
        """Check the whole trail, and that versions and live pointers are what it led to.

        Raises IntegrityError naming the first that is not.
        """
        with self._database.read() as connection:
            entries = read_entries(connection)
            paths = {
                (one.tenant, one.name, one.weight_hash): one.artifact_path
                for one in (
                    Version(**row) for row in connection.execute(select(versions_table)).mappings()
                )
            }
            pointers = {
                (row.tenant, row.name): row.weight_hash
                for row in connection.execute(select(live_table))
            }
        require_chain(entries)
        require_state(entries, paths, pointers)
