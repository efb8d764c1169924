"""Verdicts of gates as entries of the trail: kept once, asked for when something is promoted.

In: entries of gates. Out: whether a verdict is there, and says yes; how often a set was read. Of a
verdict this module reads only its yes or no, and what it leaves to the next read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noria.errors import UsageError
from noria.registry.trail import AuditEntry


@dataclass(frozen=True)
class GateReads:
    """How often gates have read a frozen set, and how much of the budget the last read left."""

    num: int
    passed_on: float


def reads_of(entries: Sequence[AuditEntry], set_digest: str) -> GateReads:
    """The reads of that set among entries of gates, oldest first."""
    verdicts = [
        entry.detail["verdict"] for entry in entries if entry.detail["set_digest"] == set_digest
    ]
    return GateReads(len(verdicts), verdicts[-1].get("passed_on", 0.0) if verdicts else 0.0)


def gate_detail(verdict_key: str, set_digest: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry of a gate keeps. Raises UsageError for a verdict without yes or no."""
    if not isinstance(verdict.get("promote"), bool):
        raise UsageError("a verdict without yes or no", 'true or false under "promote"')
    return {"verdict_key": verdict_key, "set_digest": set_digest, "verdict": dict(verdict)}


def is_recorded(entries: Sequence[AuditEntry], weight_hash: str, detail: Mapping[str, Any]) -> bool:
    """Whether the verdict is in the trail. Raises UsageError if its key holds another one."""
    for entry in entries:
        if entry.detail["verdict_key"] == detail["verdict_key"]:
            if (entry.weight_hash, entry.detail["set_digest"]) == (
                weight_hash,
                detail["set_digest"],
            ):
                return True
            raise UsageError(
                f"verdict {detail['verdict_key'][:12]!r} on other weights or another set",
                "a key of its own for each verdict",
            )
    return False


def require_yes(entries: Sequence[AuditEntry], weight_hash: str, verdict_key: str) -> None:
    """Raise UsageError unless the trail has that verdict on the weights and it says yes."""
    verdicts = [
        entry.detail["verdict"]
        for entry in entries
        if entry.weight_hash == weight_hash and entry.detail["verdict_key"] == verdict_key
    ]
    if not verdicts:
        raise UsageError(
            f"no verdict {verdict_key[:12]!r} on {weight_hash[:12]}",
            "a verdict that was recorded",
            "let the gate judge it, or promote by hand with a reason",
        )
    if not verdicts[0]["promote"]:
        raise UsageError(
            f"verdict {verdict_key[:12]!r} on {weight_hash[:12]} says no",
            "a verdict that says yes",
            "promote by hand with a reason if it has to be",
        )
