"""What the audit trail adds up to, and whether the tables hold just that.

In: entries of the trail, rows of the tables. Out: nothing, or the error that says what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from noria.errors import IntegrityError
from noria.registry.holds import ENDS, HOLDS, holds_table
from noria.registry.trail import AuditEntry, read_entries, require_chain, require_triggers
from noria.registry.trials import trials_table
from noria.registry.versions import before_table, live_table, versions_table

Key = tuple[str, ...]
State = dict[str, dict[Key, Any]]


def told(entries: Sequence[AuditEntry]) -> State:
    """What versions, live pointers, holds and trials have to be after these entries."""
    state: State = {what: {} for what in ("versions", "live pointers", "holds", "trials")}
    for entry in entries:
        key = (entry.tenant, entry.name)
        stacks, trials = state["live pointers"], state["trials"]
        if entry.action == "register":
            state["versions"][*key, entry.weight_hash] = entry.detail["artifact_path"]
        elif entry.action == "promote":
            stacks[key] = [*stacks.get(key, []), entry.weight_hash]
        elif entry.action == "rollback":
            stacks[key] = stacks[key][:-1]
        elif entry.action in HOLDS:
            state["holds"][*key, entry.action] = True
        elif entry.action in ENDS:
            state["holds"].pop((*key, ENDS[entry.action]), None)
        elif entry.action in ("shadow", "canary"):
            trials[key] = (entry.action, entry.weight_hash, entry.position)
        if entry.action in ("promote", "rollback", "withdraw", *HOLDS):
            trials.pop(key, None)
    return state


def found(connection: Connection) -> State:
    """What the tables hold."""
    stacks: dict[Key, list[str]] = {}
    for row in connection.execute(select(before_table).order_by(before_table.c.depth)):
        stacks.setdefault((row.tenant, row.name), []).append(row.weight_hash)
    for row in connection.execute(select(live_table)):
        stacks.setdefault((row.tenant, row.name), []).append(row.weight_hash)
    return {
        "versions": {
            (row.tenant, row.name, row.weight_hash): row.artifact_path
            for row in connection.execute(select(versions_table))
        },
        "live pointers": dict(stacks),
        "holds": {
            (row.tenant, row.name, row.hold): True
            for row in connection.execute(select(holds_table))
        },
        "trials": {
            (row.tenant, row.name): (row.stage, row.weight_hash, row.position)
            for row in connection.execute(select(trials_table))
        },
    }


def verify(connection: Connection) -> int:
    """Check the whole trail and that the tables hold what it led to; returns how many entries.

    Raises IntegrityError naming the first that is not as it was written.
    """
    require_triggers(connection)
    entries = read_entries(connection)
    require_chain(connection, entries)
    expected, there = told(entries), found(connection)
    for what, value in expected.items():
        if value != there[what]:
            raise IntegrityError(
                f"the registry's {what} are not what its audit trail says",
                f"{len(value)} as the trail tells them",
                "restore the registry from a backup",
            )
    return len(entries)
