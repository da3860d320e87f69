"""Serves the simulated engine over HTTP.

The endpoints of vLLM's API server that anything of ours talks to, on aiohttp. Beside them, under `/sim/`,
which no real engine has, the switches that tests turn: a metrics page that hangs, lies or fails, an engine that
computes slowly or not at all while its server is well, and sudden death.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tierwise_sim import openai_api as api
from tierwise_sim import tokens as text
from tierwise_sim.driver import Driver, Ticket
from tierwise_sim.exposition import CONTENT_TYPE, MetricsPage
from tierwise_sim.sequence import Rejection, Request

_INSTEAD = {"nan": "NaN", "inf": "+Inf"}
METRICS_MODES = ("ok", "hang", *_INSTEAD, "error")
MOST_TIMES = 1e9
MAX_BODY_BYTES = 64 * 1024**2
_ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(body: object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=lambda value: json.dumps(value, separators=(",", ":")))


def _event(body: object) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


class HttpApp:
    """The handlers of one engine. `draining` is set when the process has been told to stop."""

    def __init__(
        self,
        driver: Driver,
        page: MetricsPage,
        answering: api.Answering,
        version: str,
        abort_mode: str = "error",
        api_keys: tuple[str, ...] = (),
    ) -> None:
        self._driver = driver
        self._page = page
        self._answering = answering
        self._version = version
        self._hang_when_killed = abort_mode == "hang"
        self._api_keys = api_keys
        self._metrics_mode = "ok"
        self._open = 0
        self._answered = asyncio.Event()
        self._answered.set()
        self.draining = False
        self.created = int(time.time())

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._counted, self._errors], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completions),
                web.get("/v1/models", self._models),
                web.post("/tokenize", self._tokenize),
                web.get("/health", self._health),
                web.get("/ping", self._health),
                web.post("/ping", self._health),
                web.get("/version", self._show_version),
                web.get("/metrics", self._metrics),
                web.post("/sim/metrics", self._set_metrics),
                web.post("/sim/die", self._die),
                web.post("/sim/slow", self._slow),
                web.get("/sim/state", self._state),
            ]
        )
        return app

    async def answered(self) -> None:
        """Wait until no client is owed anything any more: each has its last byte, or has left."""
        await self._answered.wait()

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Requests for an answer, from their arrival until their last byte is written or their client is gone."""
        if request.method != "POST" or not request.path.startswith("/v1"):
            return await handler(request)
        self._open += 1
        self._answered.clear()
        try:
            return await handler(request)
        finally:
            self._open -= 1
            if not self._open:
                self._answered.set()

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refusals in vLLM's JSON; the API keys guard /v1 only, as in vLLM."""
        try:
            if self._api_keys and request.path.startswith("/v1"):
                given = request.headers.get("Authorization", "").removeprefix("Bearer ")
                if not any(hmac.compare_digest(given.encode(), key.encode()) for key in self._api_keys):
                    return _json({"error": "Unauthorized"}, 401)
            return await handler(request)
        except api.ApiError as error:
            return _json(error.body, error.status)
        except web.HTTPException as error:
            return _json(api.error_body(error.status, error.reason, error.reason), error.status)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    async def _body(self, request: web.Request) -> Any:
        try:
            return json.loads(await request.read())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise api.bad_request(f"1 validation error:\n  {{'type': 'json_invalid', 'msg': '{error}'}}") from error

    async def _generate(self, request: web.Request, chat: bool) -> web.StreamResponse:
        call = api.parse_call(await self._body(request), chat, self._answering)
        name = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        envelope = api.Envelope(
            f"{'chatcmpl' if chat else 'cmpl'}-{name}", int(time.time()), self._answering.served_names[0], chat
        )
        if self.draining:
            return self._refuse_while_draining(call, envelope)
        if self._driver.killed:
            raise api.ApiError(500, "InternalServerError", _ENGINE_DEAD)
        ticket = self._submit(call, envelope.id)
        try:
            if call.stream:
                return await self._stream(request, call, envelope, ticket)
            while not ticket.done():
                await self._wait(ticket)
            content = call.text_between(0, len(call.answer))
            return _json(envelope.whole(content, call.finish, call.stop_reason, self._usage(call, ticket)))
        finally:
            if not ticket.done() and not self._driver.killed:
                self._driver.abort(ticket)

    def _submit(self, call: api.Call, name: str) -> Ticket:
        settings = self._answering.settings
        hashes: list[int] = []
        if settings.prefix_caching:
            hashes = text.block_hashes([*call.prompt, *call.answer], settings.block_size, call.salt)
        request = Request(
            id=name,
            prompt_tokens=len(call.prompt),
            output_tokens=len(call.answer),
            finish=call.finish,
            max_tokens=call.max_tokens,
            block_hashes=hashes,
        )
        outcome = self._driver.submit(request, call.stream)
        if isinstance(outcome, Rejection):
            raise api.ApiError(503, "Service Unavailable", api.REJECTED[outcome.reason])
        return outcome

    def _refuse_while_draining(self, call: api.Call, envelope: api.Envelope) -> web.Response:
        """A request that comes after SIGTERM: 0.33 answers it with an empty aborted answer, older ones fail."""
        if tuple(int(part) for part in self._version.split(".")[:2]) < (0, 33):
            raise api.ApiError(500, "InternalServerError", "cannot schedule new futures after shutdown")
        used = api.usage(len(call.prompt), 0, None)
        if not call.stream:
            return _json(envelope.whole("", "abort", None, used))
        chunks = [envelope.chunk("", "abort")]
        if call.include_usage:
            chunks.append(envelope.usage_chunk(used))
        return web.Response(
            body=b"".join(_event(chunk) for chunk in chunks) + b"data: [DONE]\n\n",
            content_type="text/event-stream",
        )

    async def _wait(self, ticket: Ticket) -> None:
        """Until the ticket has news; raises ApiError, or hangs, when the engine was killed."""
        await ticket.changed.wait()
        ticket.changed.clear()
        if self._driver.killed and not ticket.done():
            if self._hang_when_killed:
                await asyncio.Event().wait()
            raise api.ApiError(500, "InternalServerError", _ENGINE_DEAD)

    async def _stream(
        self, request: web.Request, call: api.Call, envelope: api.Envelope, ticket: Ticket
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        sequence = ticket.sequence
        try:
            while not ticket.done():
                await self._wait(ticket)
                start, end = ticket.seen, sequence.generated
                if end == start:
                    continue
                ticket.seen = end
                data = _event(envelope.role_chunk()) if call.chat and not start else b""
                if not ticket.done():
                    data += _event(envelope.chunk(call.text_between(start, end)))
                else:
                    data += _event(envelope.chunk(call.text_between(start, end), call.finish, call.stop_reason))
                await response.write(data)
            if call.include_usage:
                await response.write(_event(envelope.usage_chunk(self._usage(call, ticket))))
        except api.ApiError as error:
            await response.write(_event(error.body))
        except ConnectionResetError:
            return response
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _usage(self, call: api.Call, ticket: Ticket) -> api.JsonObject:
        cached = ticket.sequence.cached_tokens if self._answering.cached_token_details else None
        return api.usage(len(call.prompt), ticket.sequence.generated, cached)

    async def _models(self, request: web.Request) -> web.Response:
        return _json(api.model_list(self._answering, self.created))

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        prompt = api.parse_prompt(body, chat="messages" in body if isinstance(body, dict) else False)
        ids = [sum(piece.encode()) for piece in prompt]
        length = self._answering.settings.max_model_len
        return _json({"count": len(prompt), "max_model_len": length, "tokens": ids, "token_strs": None})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self._driver.killed else 200)

    async def _show_version(self, request: web.Request) -> web.Response:
        return _json({"version": self._version})

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._metrics_mode == "hang":
            await asyncio.Event().wait()
        if self._metrics_mode == "error":
            raise api.ApiError(500, "InternalServerError", "the metrics page is switched to fail")
        self._driver.pump()
        page = self._page.render(_INSTEAD.get(self._metrics_mode, ""))
        return web.Response(body=page.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _set_metrics(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        mode = body.get("mode") if isinstance(body, dict) else None
        if mode not in METRICS_MODES:
            raise api.bad_request(f"mode must be one of {', '.join(METRICS_MODES)}, got {mode!r}", "mode")
        self._metrics_mode = mode
        return _json({"mode": mode})

    async def _die(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        code = body.get("exit_code", 1) if isinstance(body, dict) else 1
        message = str(body.get("message", "")) if isinstance(body, dict) else ""
        if not isinstance(code, int) or not 0 <= code <= 255:
            raise api.bad_request(f"exit_code must be 0 to 255, got {code!r}", "exit_code")
        asyncio.get_running_loop().call_later(0.05, _exit_now, code, message)
        return _json({"exit_code": code}, 202)

    async def _slow(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        times = body.get("times") if isinstance(body, dict) else None
        if isinstance(times, bool) or not isinstance(times, int | float) or not 1 <= times <= MOST_TIMES:
            raise api.bad_request(f"times must be 1 to {MOST_TIMES:.0e}, got {times!r}", "times")
        self._driver.slow(float(times))
        return _json({"times": times})

    async def _state(self, request: web.Request) -> web.Response:
        engine, settings = self._driver.engine, self._answering.settings
        self._driver.pump()
        return _json(
            {
                "model": settings.model,
                "gpu": settings.gpu.product,
                "precision": settings.precision.name,
                "speed": settings.speed,
                "running": len(engine.running),
                "waiting": len(engine.waiting),
                "kv_usage": engine.kv_usage,
                "kv_tokens": settings.kv_tokens,
                "max_num_seqs": settings.max_num_seqs,
                "prompt_tokens": engine.stats.prompt_tokens,
                "generation_tokens": engine.stats.generation_tokens,
                "draining": self.draining,
            }
        )


def _exit_now(code: int, message: str) -> None:
    """End the process as a crash does: no drain, no goodbye, the message as the last line of the log."""
    if message:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()
    os._exit(code)
