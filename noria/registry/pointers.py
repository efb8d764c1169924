"""The registry: what is registered, promoted, rolled back, held, tried, and the trail of it all.

In: weight hashes of finished models, verdicts of gates, promotions, rollbacks, pins, trials.
Out: one live version a tenant and name, once there is one.
Every change writes its row and its entry of the trail in one transaction. This module does not
know what a model is, loads none, and reads nothing of a verdict but what `gates` does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, insert, update

from noria.database import Database
from noria.errors import UnknownName, UsageError
from noria.registry.gates import GateReads, gate_detail, is_recorded, reads_of, require_yes
from noria.registry.holds import HOLDS, require_movable, select_holds, set_hold
from noria.registry.migrations import MIGRATIONS
from noria.registry.requests import (
    Request,
    end_request,
    insert_request,
    requests_table,
    select_requests,
)
from noria.registry.signals import Signals, last_signal
from noria.registry.state import verify
from noria.registry.trail import (
    HOLD_ACTIONS,
    NOTED,
    AuditEntry,
    append_entry,
    audit_table,
    entries_of,
    erase_texts,
    read_entries,
)
from noria.registry.trials import Trial, Trials, end_trial, require_trial
from noria.registry.turns import Turns
from noria.registry.versions import (
    Version,
    find_exactly,
    live_table,
    pop_live,
    previous_hash,
    push_live,
    require_ready,
    require_version,
    select_live,
    select_versions,
    tables,
    versions_table,
)

REGISTRY_FORMAT = 2
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


def _note(
    connection: Connection,
    version: Version,
    action: str,
    actor: str,
    reason: str,
    detail: dict[str, Any],
) -> int:
    where = (version.tenant, version.name, action, version.weight_hash)
    return append_entry(connection, *where, actor, reason, detail)


class Registry:
    """Versions, live pointers, holds, requests and audit trail in one SQLite file.

    `trials` and `signals` are its further tables. Safe for many threads and processes. Beside what
    the methods name, each raises StorageError where the disk says no and IntegrityError for a
    damaged file.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        database = Database(
            path,
            tables,
            kind="a registry",
            application_id=APPLICATION_ID,
            version=REGISTRY_FORMAT,
            migrations=MIGRATIONS,
        )
        self._database = Turns(database)
        self.trials = Trials(self._database, self.folder)
        self.signals = Signals(self._database)

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
                version = replace(known, artifact_path=path)
                key = {"tenant": tenant, "name": name, "weight_hash": weight_hash}
                moved = update(versions_table).filter_by(**key).values(artifact_path=path)
                connection.execute(moved)
            detail = {"artifact_path": path, "origin": version.origin, "parent": version.parent}
            _note(connection, version, "register", "noria", origin, detail)
        return version

    def live(self, tenant: str, name: str) -> Version | None:
        """The live version, or None if none ever was."""
        with self._database.read() as connection:
            return _live(connection, tenant, name)

    def previous(self, tenant: str, name: str) -> Version | None:
        """What a rollback would make live, or None if there is nothing to go back to."""
        with self._database.read() as connection:
            weight_hash = previous_hash(connection, tenant, name)
            return find_exactly(connection, tenant, name, weight_hash) if weight_hash else None

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
        *,
        automatic: bool = False,
        trial: Trial | None = None,
        numbers: Mapping[str, Any] | None = None,
    ) -> Version:
        """Make a version live and end any trial; returns it. What is live already stays so.

        Raises UnknownName for weights that are not registered, IntegrityError if their folder is
        gone, Held for a frozen name and, unless a person does it by hand (`automatic`), a pinned
        one; with a `verdict_key` UsageError unless that verdict on them was recorded and says yes.
        A `trial` that led to it has to be on still (else UsageError); `numbers` are its own.
        """
        with self._database.write() as connection:
            require_trial(connection, trial)
            version = require_ready(connection, self.folder, tenant, name, weight_hash)
            if verdict_key:
                require_yes(entries_of(connection, tenant, name, "gate"), weight_hash, verdict_key)
            live = _live(connection, tenant, name)
            if live is None or live.weight_hash != weight_hash:
                require_movable(connection, tenant, name, automatic)
                before = live.weight_hash if live else ""
                push_live(connection, version, before)
                end_trial(connection, tenant, name)
                detail = {
                    "verdict_key": verdict_key,
                    "before": before,
                    "signals_after": last_signal(connection),
                    "numbers": dict(numbers or {}),
                }
                _note(connection, version, "promote", actor, reason, detail)
        return version

    def rollback(
        self,
        tenant: str,
        name: str,
        actor: str,
        reason: str,
        *,
        automatic: bool = False,
        only: str = "",
        numbers: Mapping[str, Any] | None = None,
    ) -> Version:
        """Make the version live that the live one replaced and end any trial; returns it.

        Again and again it goes back to the first; with `only`, a weight hash, from that one alone.
        `numbers` are those that led to it. Raises UsageError if there is none before or another one
        is live than `only`, IntegrityError if its folder is gone, Held as `promote`.
        """
        with self._database.write() as connection:
            previous = previous_hash(connection, tenant, name)
            live = _live(connection, tenant, name)
            if not previous or live is None:
                raise UsageError(
                    f"{name!r} has no version that was live before this one",
                    "at least two promotions",
                    "promote the version you want by its weight hash",
                )
            if only and live.weight_hash != only:
                raise UsageError(f"{only[:12]} is not live any more", live.weight_hash[:12])
            require_movable(connection, tenant, name, automatic)
            version = require_ready(connection, self.folder, tenant, name, previous)
            pop_live(connection, version)
            end_trial(connection, tenant, name)
            detail = {
                "before": live.weight_hash,
                "automatic": automatic,
                "signals_after": last_signal(connection),
                "numbers": dict(numbers or {}),
            }
            _note(connection, version, "rollback", actor, reason, detail)
        return version

    def hold(self, tenant: str, name: str, action: str, actor: str, reason: str) -> Version:
        """Pin, unpin, freeze or unfreeze a name; returns its live version.

        A pinned name is moved by hand only, a frozen one by nobody; either ends a trial. Asking
        twice changes nothing. Raises UnknownName if nothing is live.
        """
        if action not in HOLD_ACTIONS:
            raise UsageError(f"{action!r}", "one of " + ", ".join(HOLD_ACTIONS))
        with self._database.write() as connection:
            live = _live(connection, tenant, name)
            if live is None:
                raise UnknownName(f"{name!r} has no live model", "one that was promoted")
            if set_hold(connection, tenant, name, action):
                if action in HOLDS:
                    end_trial(connection, tenant, name)
                _note(connection, live, action, actor, reason, {})
        return live

    def holds(self, tenant: str, name: str) -> frozenset[str]:
        """What holds the name: of "pin", "freeze"."""
        with self._database.read() as connection:
            return select_holds(connection, tenant, name)

    def note(
        self, version: Version, action: str, actor: str, reason: str, detail: Mapping[str, Any]
    ) -> None:
        """Put one of NOTED into the trail: what moves nothing, and has to be known."""
        if action not in NOTED:
            raise UsageError(f"a note of {action!r}", "one of " + ", ".join(NOTED))
        with self._database.write() as connection:
            _note(connection, version, action, actor, reason, dict(detail))

    def request(self, tenant: str, name: str, action: str, weight_hash: str, actor: str) -> int:
        """Ask for one of REQUEST_ACTIONS to be done; returns the request's number.

        `weight_hash` is what to promote, "" for any other. Raises UsageError.
        """
        with self._database.write() as connection:
            return insert_request(connection, tenant, name, action, weight_hash, actor)

    def open_requests(self) -> list[Request]:
        """What is still to be done for any tenant, oldest first."""
        with self._database.read() as connection:
            return select_requests(connection, requests_table.c.closed_at.is_(None))

    def requests(self, tenant: str, name: str) -> list[Request]:
        """Everything that was asked for, oldest first."""
        c = requests_table.c
        with self._database.read() as connection:
            return select_requests(connection, c.tenant == tenant, c.name == name)

    def close_request(self, number: int, outcome: str) -> None:
        """Note what became of a request. Raises UnknownName unless it is open."""
        with self._database.write() as connection:
            end_request(connection, number, outcome)

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
            if not is_recorded(entries_of(connection, tenant, name, "gate"), weight_hash, detail):
                reason = "promote" if verdict["promote"] else "refuse"
                _note(connection, version, "gate", "gate", reason, detail)

    def gate_reads(self, set_digest: str) -> GateReads:
        """The verdicts that rest on that frozen set, of any tenant and name."""
        with self._database.read() as connection:
            gates = read_entries(connection, audit_table.c.action == "gate")
        return reads_of(gates, set_digest)

    def was_ever_live(self, tenant: str, name: str, weight_hash: str) -> bool:
        """Whether that version is live or once was."""
        with self._database.read() as connection:
            promotions = entries_of(connection, tenant, name, "promote")
        return any(entry.weight_hash == weight_hash for entry in promotions)

    def history(self, tenant: str, name: str) -> list[AuditEntry]:
        """The trail of that name, oldest first."""
        with self._database.read() as connection:
            return entries_of(connection, tenant, name)

    def erase_texts(self, tenant: str, position: int, actor: str, reason: str) -> None:
        """Erase who did an entry of the trail, and why; that it was done stays. The chain holds.

        What was deleted may lie in free pages of the file until it is vacuumed.
        Raises UnknownName for an entry that the tenant has not.
        """
        with self._database.write() as connection:
            erase_texts(connection, tenant, position, actor, reason)

    def verify_chain(self) -> int:
        """Check the whole trail, and that every table is what it led to; returns its length.

        Raises IntegrityError naming the first entry that is not.
        """
        with self._database.read() as connection:
            return verify(connection)


def _live(connection: Connection, tenant: str, name: str) -> Version | None:
    found = select_live(connection, live_table.c.tenant == tenant, live_table.c.name == name)
    return found[0] if found else None
