"""Spans of requests, sent to a collector of OpenTelemetry that the user named (extra `otel`).

In: requests that ended, as the log tells them. Out: one span each, by OTLP over HTTP. A trace that
the client began (`traceparent`, W3C Trace Context) goes on. Without a collector's address nothing
of this is imported and nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from noria.errors import MissingExtra, UsageError

NS_PER_S = 1_000_000_000


class Tracer(Protocol):
    """Who is told of requests that ended."""

    def ended(self, request: Mapping[str, Any], traceparent: str, began_at: float) -> None:
        """A request that came at `began_at` (seconds since 1970) has ended."""

    def close(self) -> None:
        """Send what was not sent yet."""


def tracer_to(url: str) -> Tracer:
    """A tracer that sends to a collector. Raises MissingExtra, UsageError for no address."""
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            f"trace to {url!r}", "a collector's URL, like http://127.0.0.1:4318/v1/traces"
        )
    try:
        from noria.serve.otlp import OtlpTracer
    except ImportError as error:
        raise MissingExtra("OpenTelemetry", "otel") from error
    return OtlpTracer(url)
