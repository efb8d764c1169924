"""Spans go to the collector that was named, without a word of a user; without one, nothing does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from serving_world import NAME, TENANT, World

from noria.errors import MissingExtra, UsageError
from noria.serve.tracing import tracer_to

PLANTED = "planted-text-0815"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Takes what is sent to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # its own name for it
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    data = gzip.decompress(data)
                bodies.append(data)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_each_request_is_a_span_that_goes_on_with_the_clients_trace(
    world: World, collector: Collector
) -> None:
    world.promote("a")
    world.start(tracer=tracer_to(collector.url))
    body = {"model": NAME, "prompt": PLANTED, "max_tokens": 2}
    headers = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01", "tracestate": PLANTED}
    answer = world.http(world.key).post("/v1/completions", json=body, headers=headers).json()
    world.http(world.key).get(f"/v1/{PLANTED}")
    world.stop()
    assert not any(PLANTED.encode() in one for one in collector.bodies)
    spans = [
        span
        for one in collector.bodies
        for resource in ExportTraceServiceRequest.FromString(one).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    first, second = spans
    assert first.name == "POST /v1/completions" and second.name == "GET"
    assert first.trace_id.hex() == TRACE_ID and second.trace_id.hex() != TRACE_ID
    said = {one.key: one.value for one in first.attributes}
    assert said["http.response.status_code"].int_value == 200
    assert said["noria.tenant"].string_value == TENANT
    assert said["noria.interaction"].string_value == answer["id"]
    assert first.end_time_unix_nano > first.start_time_unix_nano


def test_what_is_no_address_or_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="URL"):
        tracer_to("collector")
    monkeypatch.setitem(sys.modules, "noria.serve.otlp", None)
    with pytest.raises(MissingExtra, match=r"noria\[otel\]"):
        tracer_to("http://127.0.0.1:4318/v1/traces")
