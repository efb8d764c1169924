"""Trials: which version answers a share of requests beside the live one, in shadow or as a canary.

In: versions to be tried, and reasons to end it. Out: the trial of a name: one at most, the primary
key says so. This module does not decide when a trial ends, or how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, Table, Text, delete, insert, select

from noria.errors import UsageError
from noria.registry.gates import require_yes
from noria.registry.holds import require_movable
from noria.registry.signals import last_signal
from noria.registry.trail import append_entry, entries_of
from noria.registry.turns import Turns
from noria.registry.versions import live_table, require_ready, select_live, tables

STAGES = ("shadow", "canary")

trials_table = Table(
    "trials",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("share", Float, nullable=False),
    Column("num_requests", Integer, nullable=False),
    Column("verdict_key", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("signals_after", Integer, nullable=False),
)


@dataclass(frozen=True)
class Trial:
    """A version that is tried.

    `stage` is shadow (its answers are never shown) or canary; `share` of requests go to it, and at
    least `num_requests` have to before it may be promoted, by the verdict `verdict_key` if there is
    one. `position` is its entry in the trail, `signals_after` the last signal from before it.
    """

    tenant: str
    name: str
    stage: str
    weight_hash: str
    share: float
    num_requests: int
    verdict_key: str
    position: int
    signals_after: int

    @property
    def asked(self) -> tuple[str, str, float, int, str]:
        """What it was begun with."""
        return self.stage, self.weight_hash, self.share, self.num_requests, self.verdict_key

    def takes(self, person: str) -> bool:
        """Whether this person's (or this request's) answers come from it, always or never.

        The hash of tenant, name, weights and person, as a number from 0 to 1, is below the share.
        """
        text = f"{self.tenant}\0{self.name}\0{self.weight_hash}\0{person}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return number < self.share * 2**64


class Trials:
    """The trials of a registry, each begun and ended with its entry in the trail."""

    def __init__(self, database: Turns, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def begin(
        self,
        tenant: str,
        name: str,
        weight_hash: str,
        stage: str,
        share: float,
        num_requests: int,
        actor: str,
        verdict_key: str = "",
        *,
        after: Trial | None = None,
        numbers: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Try a version beside the live one, in the place of any trial before; returns it.

        The same trial once more changes nothing. A trial `after` which it comes has to be on still;
        `numbers` are those that ended it. Raises UsageError if it is not, for a stage, share or
        number that can't be, or where nothing is live to compare with; else what `promote` does.
        """
        _check(stage, share, num_requests)
        with self._database.write() as connection:
            require_trial(connection, after)
            version = require_ready(connection, self._folder, tenant, name, weight_hash)
            require_movable(connection, tenant, name, automatic=True)
            live = select_live(connection, live_table.c.tenant == tenant, live_table.c.name == name)
            if not live or live[0].weight_hash == weight_hash:
                raise UsageError(
                    f"a trial of {weight_hash[:12]} beside {'itself' if live else 'nothing'}",
                    "a live version that is another one",
                )
            if verdict_key:
                require_yes(entries_of(connection, tenant, name, "gate"), weight_hash, verdict_key)
            asked = (stage, weight_hash, share, num_requests, verdict_key)
            for known in select_trials(connection, trials_table.c.tenant == tenant):
                if known.name == name and known.asked == asked:
                    return known
            keys = ("share", "num_requests", "verdict_key")
            detail = {**dict(zip(keys, asked[2:], strict=True)), "numbers": dict(numbers or {})}
            reason = f"{share:.0%} of the requests, {num_requests} at least"
            where = (tenant, name, stage, version.weight_hash)
            position = append_entry(connection, *where, actor, reason, detail)
            trial = Trial(tenant, name, *asked, position, last_signal(connection))
            end_trial(connection, tenant, name)
            connection.execute(insert(trials_table), asdict(trial))
        return trial

    def of(self, tenant: str, name: str) -> Trial | None:
        """The trial of that name, if there is one."""
        return self.by_tenant(name).get(tenant)

    def by_tenant(self, name: str) -> dict[str, Trial]:
        """The trials of that name, by tenant, for a server of them all."""
        with self._database.read() as connection:
            found = select_trials(connection, trials_table.c.name == name)
        return {trial.tenant: trial for trial in found}

    def withdraw(self, trial: Trial, actor: str, reason: str, detail: dict[str, Any]) -> bool:
        """End a trial; False if it had ended already."""
        with self._database.write() as connection:
            known = select_trials(connection, trials_table.c.position == trial.position)
            if not known:
                return False
            end_trial(connection, trial.tenant, trial.name)
            where = (trial.tenant, trial.name, "withdraw", trial.weight_hash)
            append_entry(connection, *where, actor, reason, detail)
        return True


def _check(stage: str, share: float, num_requests: int) -> None:
    if stage not in STAGES or not 0 < share < 1 or num_requests < 1:
        raise UsageError(
            f"a trial {stage!r} of {share:.0%} for {num_requests} requests",
            "shadow or canary, a share between 0% and 100%, and one request at least",
        )


def select_trials(connection: Connection, *conditions: Any) -> list[Trial]:
    """The trials that meet the conditions."""
    rows = connection.execute(select(trials_table).where(*conditions)).mappings()
    return [Trial(**row) for row in rows]


def require_trial(connection: Connection, trial: Trial | None) -> None:
    """Raise UsageError if somebody ended this trial meanwhile."""
    if trial and not select_trials(connection, trials_table.c.position == trial.position):
        raise UsageError(
            f"the {trial.stage} of {trial.weight_hash[:12]} ended meanwhile", "one that is on"
        )


def end_trial(connection: Connection, tenant: str, name: str) -> None:
    """End the trial of a name, if there is one; whoever moves or holds the name calls it."""
    connection.execute(delete(trials_table).filter_by(tenant=tenant, name=name))
