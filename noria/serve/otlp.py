"""The OpenTelemetry side of `tracing`; importing it needs the extra `otel`.

In: requests that ended. Out: spans by OTLP over HTTP, in batches, by a thread of the library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from noria.serve.tracing import NS_PER_S

# https://opentelemetry.io/docs/specs/semconv/http/http-spans/
_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "tenant": "noria.tenant",
    "interaction": "noria.interaction",
}


class OtlpTracer:
    """Sends a span for each request."""

    def __init__(self, url: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "noria"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer("noria.serve")

    def ended(self, request: Mapping[str, Any], traceparent: str, began_at: float) -> None:
        """Make the request's span."""
        parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        began_ns = int(began_at * NS_PER_S)
        span = self._tracer.start_span(
            f"{request['method']} {request['route']}".strip() or "request",
            context=parent,
            kind=SpanKind.SERVER,
            attributes={name: request[key] for key, name in _NAMES.items()},
            start_time=began_ns,
        )
        if request["status"] >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(began_ns + int(request["seconds"] * NS_PER_S))

    def close(self) -> None:
        """Send what was not sent yet, and end the thread."""
        self._provider.shutdown()
