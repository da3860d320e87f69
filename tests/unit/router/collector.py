"""Receives spans as a collector does: OTLP over HTTP, protobuf."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """One span."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    status: int
    seconds: float
    attributes: dict[str, Any]
    service: str


@dataclass
class Collector:
    """What has come. `raw` are the bytes; `refuse`: it answers 503."""

    url: str = ""
    raw: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    refuse: bool = False

    def spans(self) -> list[Received]:
        """All spans so far, in the order in which they began."""
        found: list[tuple[int, Received]] = []
        for body in self.raw:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _attributes(resource.resource.attributes)["service.name"]
                for scope in resource.scope_spans:
                    for one in scope.spans:
                        seconds = (one.end_time_unix_nano - one.start_time_unix_nano) / 1e9
                        ids = one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()
                        said = _attributes(one.attributes)
                        made = Received(one.name, one.kind, *ids, one.status.code, seconds, said, service)
                        found.append((one.start_time_unix_nano, made))
        return [made for _, made in sorted(found, key=lambda pair: pair[0])]

    def wait(self, count: int, seconds: float = 60.0) -> list[Received]:
        """So many spans."""
        until = time.monotonic() + seconds
        while len(self.spans()) < count:
            assert time.monotonic() < until, [one.name for one in self.spans()]
            time.sleep(0.02)
        return self.spans()


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """One that runs."""
    state = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if not state.refuse:
                state.raw.append(body)
                state.paths.add(self.path)
            self.send_response(503 if state.refuse else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
