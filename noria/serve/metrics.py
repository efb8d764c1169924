"""What the server counts and measures, as Prometheus reads it.

In: requests that ended, answers that ended, feedback that came. Out: a text of one tenant's
numbers: a key sees how full the server is and, of everything else, what is its own tenant's.
This module knows no HTTP and never sees a text.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FIRST_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ANSWER_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# Counts of `EngineState`: their names here and what they say. A new engine begins at 0.
_OF_ENGINES = (
    ("num_running", "running", "Answers that the engine draws now, of all tenants."),
    ("num_waiting", "waiting", "Answers that wait for room in the engine, of all tenants."),
    ("num_read", "read_tokens", "Tokens that went through the model, of all tenants."),
    ("num_shared", "shared_tokens", "Tokens of prompts found in the prefix cache, not read."),
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class TenantMetrics:
    """The numbers of one tenant."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self.requests = Counter(
            "noria_requests",
            "Requests that ended; 429 and 503 are refusals.",
            ("route", "status"),
            registry=self.registry,
        )
        self.first_token_s = Histogram(
            "noria_first_token_seconds",
            "From a request to the first piece of its stream.",
            buckets=FIRST_TOKEN_BUCKETS_S,
            registry=self.registry,
        )
        self.answer_s = Histogram(
            "noria_answer_seconds",
            "From the beginning of an answer, after any wait, to its end.",
            buckets=ANSWER_BUCKETS_S,
            registry=self.registry,
        )
        self.tokens = Counter(
            "noria_tokens",
            "Tokens of answers and of their prompts.",
            ("kind",),
            registry=self.registry,
        )
        self.feedback = Counter(
            "noria_feedback", "Feedback that was stored.", ("kind",), registry=self.registry
        )
        self._live = Gauge(
            "noria_live_weights",
            "1 for the weights that answer now.",
            ("model", "weight_hash"),
            registry=self.registry,
        )
        self._now = {
            name: Gauge(f"noria_{name}", text, registry=self.registry)
            for name, text in (
                ("running", "Answers that are being written now, of all tenants."),
                ("waiting", "Requests in the queue now, of all tenants."),
            )
        }

        self._engine = {
            name: Gauge(f"noria_engine_{told}", text, ("model",), registry=self.registry)
            for name, told, text in _OF_ENGINES
        }

    def text(
        self,
        live: Mapping[str, str],
        now: Mapping[str, int],
        engines: Mapping[str, Mapping[str, int]],
    ) -> bytes:
        """Everything, with the live weight hashes by model and the state of queue and engines."""
        with self._lock:  # of two who read at once, neither may see the other's half
            self._live.clear()
            for model, weight_hash in live.items():
                self._live.labels(model, weight_hash).set(1)
            for one, gauge in self._engine.items():
                gauge.clear()
                for model, state in engines.items():
                    gauge.labels(model).set(state[one])
            for name, value in now.items():
                self._now[name].set(value)
            return generate_latest(self.registry)


class Metrics:
    """The numbers of every tenant; safe for many threads."""

    def __init__(self) -> None:
        self._tenants: dict[str, TenantMetrics] = {}
        self._lock = threading.Lock()

    def of(self, tenant: str) -> TenantMetrics:
        """A tenant's numbers, from zero if it has none yet."""
        with self._lock:
            if tenant not in self._tenants:
                self._tenants[tenant] = TenantMetrics()
            return self._tenants[tenant]
