"""Says what a request did as OpenTelemetry spans: one for the request, one for each attempt at a tier.

Only where the standard variables name a collector: the SDK is imported then and not before, and a router without one
pays nothing. Spans are exported by a thread of the SDK, in batches; a collector that is slow or away costs spans and
never a request. Attributes are those of the conventions for HTTP and generative AI, without anything that was said: no
prompt, no answer, no key, no header of the client's but its trace context.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tierwise import __version__
from tierwise.errors import Invalid
from tierwise.routing.cost import Usage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from tierwise_router.http_request import Request
    from tierwise_router.record import Asked, Record

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
FLUSH_SECONDS = 5.0
POLL_SECONDS = 0.05
_MOST = (1 << 63) - 1  # a number that does not fit would cost all spans of its batch
_CONTEXT = (b"traceparent", b"tracestate")
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "chat",
}
_FAILED = frozenset({"broken", "internal_error"})


def tracing(environ: Mapping[str, str]) -> Tracing | None:
    """What the variables ask for; None where they name no collector, or say that there shall be no spans.
    Raises Invalid where spans are asked for and cannot be sent."""
    wanted = any(environ.get(name) for name in ENDPOINTS) and environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"
    if not wanted or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    spoken = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if spoken != "http/protobuf":
        raise Invalid(f"{PROTOCOLS[1]} is {spoken!r}; the router sends spans by http/protobuf only")
    if importlib.util.find_spec("opentelemetry") is None:
        raise Invalid(
            f"{ENDPOINTS[1]} is set, but OpenTelemetry is not installed; pip install '.[tracing]' in Tierwise's source"
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "tierwise-router"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.api = trace
        self.propagator = TraceContextTextMapPropagator()
        self.tracer = provider.get_tracer("tierwise_router", __version__)
        self._provider = provider

    def begin(self, request: Request, path: str) -> RequestTrace:
        """A request has come; its trace goes on if it names one."""
        carrier = {name.decode(): value for name in _CONTEXT if (value := request.header(name)) is not None}
        span = self.tracer.start_span(
            f"{request.method} {path}",
            self.propagator.extract(carrier),
            self.api.SpanKind.SERVER,
            {"http.request.method": request.method, "url.path": path},
        )
        return RequestTrace(self, span, self.api.set_span_in_context(span))

    async def end(self) -> None:
        """Send what is left, for at most some seconds."""
        # A thread of its own that nobody waits for: the loop would wait for one of its own to the end.
        sending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        sending.start()
        for _ in range(round(FLUSH_SECONDS / POLL_SECONDS)):
            if not sending.is_alive():
                return
            await asyncio.sleep(POLL_SECONDS)
        logger.warning("the last spans could not be sent in %g s", FLUSH_SECONDS)


class RequestTrace:
    """The spans of one request."""

    def __init__(self, tracing: Tracing, span: Span, context: Context) -> None:
        self._tracing = tracing
        self._span = span
        self._context = context
        self._attempt: Span | None = None

    def attempting(self, headers: list[tuple[bytes, bytes]], asked: Asked) -> list[tuple[bytes, bytes]]:
        """An attempt begins: the headers that go upstream, with the attempt's own place in the trace."""
        tracing, operation = self._tracing, _OPERATIONS.get(asked.path, "")
        said: dict[str, Any] = {
            "gen_ai.provider.name": "openai",  # whose API is spoken
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": asked.model,
            "gen_ai.request.stream": asked.stream,
            "server.address": asked.host,
            "server.port": asked.port,
            "tierwise.tier": asked.tier,
        }
        if asked.max_tokens is not None:
            said["gen_ai.request.max_tokens"] = min(asked.max_tokens, _MOST)
        self._attempt = tracing.tracer.start_span(
            f"{operation} {asked.model}", self._context, tracing.api.SpanKind.CLIENT, said
        )
        return self._with(tracing.api.set_span_in_context(self._attempt), headers)

    def passing(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Something is asked for that is no attempt: the headers that go upstream."""
        return self._with(self._context, headers)

    def attempted(self, status: int, failure: str, usage: Usage, first_seconds: float | None) -> None:
        """The attempt has ended. `failure` is empty where it has not failed."""
        span, self._attempt = self._attempt, None
        if span is None:
            return  # it had not begun: no connection
        if status:
            span.set_attribute("http.response.status_code", status)
        if usage.prompt or usage.output:
            for name, tokens in (
                ("input_tokens", usage.prompt),
                ("output_tokens", usage.output),
                ("cache_read.input_tokens", usage.cached_input),
                ("cache_creation.input_tokens", usage.cache_write),
            ):
                span.set_attribute(f"gen_ai.usage.{name}", min(tokens, _MOST))
            span.set_attribute("tierwise.usage.estimated", usage.estimated)
        if first_seconds is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", first_seconds)
        if failure:
            span.set_attribute("error.type", failure)
            span.set_status(self._tracing.api.StatusCode.ERROR)
        span.end()

    def _with(self, context: Context, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        carrier: dict[str, str] = {}
        self._tracing.propagator.inject(carrier, context)
        kept = [(name, value) for name, value in headers if name not in _CONTEXT]
        return kept + [(name.encode(), value.encode()) for name, value in carrier.items()]

    def ended(self, record: Record) -> None:
        """The request has ended, as its record says."""
        self.attempted(0, "cancelled", Usage(), None)
        span = self._span
        span.set_attribute("http.response.status_code", record.status)
        for name, value in (
            ("gen_ai.request.model", record.model),
            ("tierwise.tier", record.tier),
            ("tierwise.reason", record.reason),
            ("tierwise.tenant", record.tenant),
        ):
            if value:
                span.set_attribute(name, value)
        span.set_attribute("tierwise.request_id", record.id)
        span.set_attribute("tierwise.outcome", record.outcome)
        span.set_attribute("tierwise.attempts", record.attempts)
        span.set_attribute("tierwise.cost_usd", format(record.cost, "f"))
        if record.status >= 500 or record.outcome in _FAILED:
            span.set_attribute("error.type", str(record.status) if record.status >= 500 else record.outcome)
            span.set_status(self._tracing.api.StatusCode.ERROR)
        span.end()
