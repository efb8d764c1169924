"""Verdicts of gates as entries of the trail: kept once, asked for when something is promoted.

In: the gates' entries of one tenant and name. Out: whether a verdict is there, and says yes.
Of a verdict this module reads only that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from noria.errors import UsageError
from noria.registry.trail import AuditEntry


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
