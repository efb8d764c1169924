"""What a server counts of its requests, by the weights that answered, until it stores it.

In: one request after another, from any thread. Out: sums in the registry, about every second.
Of a prompt only its hashed vector is added up; no text is kept here.
"""

from __future__ import annotations

import logging
import threading
import time

from noria.evaluate.distance import text_vector
from noria.registry import Registry
from noria.registry.signals import Counts

FLUSH_S = 1.0
_LATENCY_CLASSES = 32  # the last one begins at 2^31 ms

log = logging.getLogger(__name__)


class LiveSignals:
    """Adds up how the requests of one model name went."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self._name = name
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, str, str], Counts] = {}
        self._stored_at = time.monotonic()

    def note(
        self,
        tenant: str,
        weight_hash: str,
        prompt: str,
        latency_s: float,
        *,
        failed: bool = False,
        agreed: float | None = None,
    ) -> None:
        """Count a request; one in shadow says how far its answer `agreed` with the one shown."""
        latency = [0] * _LATENCY_CLASSES
        exponent = max(0, int(latency_s * 1000).bit_length() - 1)
        latency[min(exponent, _LATENCY_CLASSES - 1)] = int(not failed)
        counts = Counts(
            num_requests=1,
            num_errors=int(failed),
            agreement=agreed or 0.0,
            latency_log2=tuple(latency),
            num_inputs=int(bool(prompt)),
            inputs=tuple(text_vector(prompt).tolist()) if prompt else (),
        )
        key = (tenant, weight_hash, "shown" if agreed is None else "shadow")
        with self._lock:
            self._counted[key] = self._counted.get(key, Counts()).plus(counts)

    def flush(self, now: bool = False) -> None:
        """Store what was counted, if a second has gone by; never raises."""
        if not now and time.monotonic() - self._stored_at < FLUSH_S:
            return
        self._stored_at = time.monotonic()
        with self._lock:
            counted, self._counted = self._counted, {}
        for (tenant, weight_hash, side), counts in counted.items():
            try:
                self._registry.signals.add(tenant, self._name, weight_hash, side, counts)
            except Exception as error:  # a registry that can't be written must not end the server
                log.warning("signals of %s can't be stored: %s", weight_hash[:12], error)
