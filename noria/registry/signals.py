"""Live signals: how requests went, counted by the weights that answered them.

In: counts that servers add up and store every second or so. Out: their sums, from a signal on or
of the latest requests. A signal's position says which came first, never a clock: a clock that jumps
changes no window. No text is here: of prompts only sums of their hashed vectors.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, Table, Text, delete, func, insert, select

from noria.registry.turns import Turns
from noria.registry.versions import tables

KEPT = 200_000  # signals of a second each: more than two days of a server that never rests
SIDES = ("shown", "shadow")

signals_table = Table(
    "signals",
    tables,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("weight_hash", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("counts", Text, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class Counts:
    """Sums over requests.

    `latency_log2` counts answers by the whole part of log2 of their milliseconds, from 0; `inputs`
    is the sum of the vectors of `num_inputs` prompts (noria.evaluate.distance). `agreement` is the
    sum, over requests in shadow, of how much their answers share with those shown, from 0 to 1.
    """

    num_requests: int = 0
    num_errors: int = 0
    agreement: float = 0.0
    latency_log2: tuple[int, ...] = ()
    num_inputs: int = 0
    inputs: tuple[float, ...] = ()

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            self.num_requests + other.num_requests,
            self.num_errors + other.num_errors,
            self.agreement + other.agreement,
            _added(self.latency_log2, other.latency_log2),
            self.num_inputs + other.num_inputs,
            _added(self.inputs, other.inputs),
        )

    def latency_s(self, share: float) -> float:
        """A time that this share of the answers did not take longer than; 0 if there is none.

        From classes a factor of two wide, so up to twice the true quantile, never below it.
        """
        wanted, seen = share * sum(self.latency_log2), 0
        for exponent, count in enumerate(self.latency_log2):
            seen += count
            if count and seen >= wanted:
                return float(2 ** (exponent + 1)) / 1000
        return 0.0


def _added(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    return tuple(x + y for x, y in zip(longer, shorter, strict=False)) + longer[len(shorter) :]


class Signals:
    """The signals of a registry."""

    def __init__(self, database: Turns) -> None:
        self._database = database

    def add(self, tenant: str, name: str, weight_hash: str, side: str, counts: Counts) -> None:
        """Store what a server counted; what is older than the KEPT latest of all goes."""
        row = {
            "tenant": tenant,
            "name": name,
            "weight_hash": weight_hash,
            "side": side,
            "counts": json.dumps(vars(counts)),
            "at": time.time(),
        }
        with self._database.write() as connection:
            connection.execute(insert(signals_table), row)
            oldest = last_signal(connection) - KEPT
            connection.execute(delete(signals_table).where(signals_table.c.position <= oldest))

    def last(self) -> int:
        """The newest position, 0 before the first."""
        with self._database.read() as connection:
            return last_signal(connection)

    def total(
        self,
        tenant: str,
        name: str,
        weight_hash: str,
        side: str = "shown",
        after: int = 0,
        at_most: int | None = None,
    ) -> Counts:
        """The sum of what came after a position; of the latest that reach `at_most` requests."""
        query = (
            select(signals_table.c.counts)
            .filter_by(tenant=tenant, name=name, weight_hash=weight_hash, side=side)
            .where(signals_table.c.position > after)
            .order_by(signals_table.c.position.desc())
        )
        total = Counts()
        with self._database.read() as connection:
            for text in connection.execute(query).scalars():
                values = json.loads(text)
                total = total.plus(Counts(**{key: _frozen(v) for key, v in values.items()}))
                if at_most is not None and total.num_requests >= at_most:
                    break
        return total


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def last_signal(connection: Connection) -> int:
    """The newest position, 0 before the first."""
    return connection.execute(select(func.max(signals_table.c.position))).scalar() or 0
