"""A decision of the trail, made once more from its record: the same, or the record was changed.

In: a verdict's key or an entry's position. Out: what was decided, then and now.
"""

from __future__ import annotations

from typing import Any

from noria.errors import IntegrityError, UnknownName
from noria.improve.canary import judge_again
from noria.improve.evidence import decide_again
from noria.improve.limits import crossed_again
from noria.improve.verdict import verdict_to_json
from noria.registry import AuditEntry
from noria.stages.task_names import task_name
from noria.workspace import Workspace

MIN_PREFIX = 6


def replay(workspace: Workspace, which: str) -> dict[str, Any]:
    """Decide again what an entry records: a verdict, a canary's end, limits that were crossed.

    Raises UnknownName if there is no such decision, FormatError if what it rests on is gone,
    IntegrityError if the decision comes out another.
    """
    entry = _find(workspace, which)
    now = _verdict(workspace, entry) if entry.action == "gate" else _rule(entry)
    then = entry.detail["verdict"] if entry.action == "gate" else entry.detail["numbers"]
    if now != then:
        raise IntegrityError(
            f"entry {entry.position} ({entry.action} of {entry.weight_hash[:12]}) does not follow "
            "from its record",
            "the same decision",
            "the record was changed, or Noria judges differently since",
        )
    return {
        "position": entry.position,
        "action": entry.action,
        "weight_hash": entry.weight_hash,
        "reason": entry.reason,
        "same": True,
    }


def _find(workspace: Workspace, which: str) -> AuditEntry:
    recipe = workspace.recipe
    names = [recipe.name, *(task_name(recipe, name) for name in recipe.tasks)]
    found = [
        entry
        for name in names
        for entry in workspace.registry.history(workspace.tenant, name)
        if (entry.action == "gate" or entry.detail.get("numbers")) and _is_named(entry, which)
    ]
    if len(found) != 1:
        raise UnknownName(
            f"{len(found)} decisions are called {which!r}",
            f"an entry's position, or {MIN_PREFIX} or more digits of a verdict's key",
            "noria trace lists the trail",
        )
    return found[0]


def _is_named(entry: AuditEntry, which: str) -> bool:
    if which.isdecimal() and int(which) == entry.position:
        return True
    key = str(entry.detail.get("verdict_key", "")) if entry.action == "gate" else ""
    return len(which) >= MIN_PREFIX and key.startswith(which)


def _verdict(workspace: Workspace, entry: AuditEntry) -> dict[str, Any]:
    key = entry.detail["verdict_key"]
    judged = next((one for one in workspace.store.all() if one.key == key), None)
    if judged is None:
        raise IntegrityError(
            f"the artifact {key[:12]} of the verdict is gone", "its folder", "restore it"
        )
    return verdict_to_json(decide_again(judged.path))


def _rule(entry: AuditEntry) -> dict[str, Any]:
    """The numbers with all that follows from them, unless something else follows."""
    numbers = dict(entry.detail["numbers"])
    if numbers["rule"] == "limits":
        crossed = crossed_again(numbers)
        return {**numbers, **crossed.numbers} if crossed.reasons else {}
    decision = judge_again(numbers)
    expected = "withdraw" if entry.action == "withdraw" else "promote"
    return {**numbers, **decision.numbers} if decision.outcome == expected else {}
