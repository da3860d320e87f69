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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from tierwise_sim import embeddings_api, responses_api
from tierwise_sim import openai_api as api
from tierwise_sim import tokens as text
from tierwise_sim.arithmetic import Skill
from tierwise_sim.chat_answer import Answer, ChatAnswer
from tierwise_sim.driver import Driver, Ticket
from tierwise_sim.exposition import CONTENT_TYPE, MetricsPage
from tierwise_sim.sequence import Rejection
from tierwise_sim.sequence import Request as EngineRequest

_INSTEAD = {"nan": "NaN", "inf": "+Inf"}
METRICS_MODES = ("ok", "hang", *_INSTEAD, "error")
MOST_TIMES = 1e9
MAX_BODY_BYTES = 64 * 1024**2
_SHUT_DOWN = "cannot schedule new futures after shutdown"
_ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(body: object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=lambda value: json.dumps(value, separators=(",", ":")))


def _events(bodies: Iterable[api.JsonObject]) -> bytes:
    """Server-sent events; those of a response carry their type as their name too."""
    parts = []
    for body in bodies:
        if str(body.get("type", "")).startswith("response."):
            parts.append(f"event: {body['type']}\n")
        parts.append(f"data: {json.dumps(body, separators=(',', ':'))}\n\n")
    return "".join(parts).encode()


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
        self._stored: dict[str, Sequence[api.JsonObject]] = {}
        self.draining = False
        self.created = int(time.time())

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._counted, self._errors], client_max_size=MAX_BODY_BYTES)
        answering = [
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._completions),
            web.post("/v1/responses", self._responses),
        ]
        if self._answering.embeds:
            answering = [web.post("/v1/embeddings", self._embeddings)]
        app.add_routes(
            [
                *answering,
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
                web.post("/sim/answers", self._answers),
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
        return await self._completed(request, chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._completed(request, chat=False)

    async def _completed(self, request: web.Request, chat: bool) -> web.StreamResponse:
        call = api.parse_call(await self._body(request), chat, self._answering)
        name = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        kind = "chatcmpl" if chat else "cmpl"
        tool = f"chatcmpl-tool-{uuid.uuid4().hex[:16]}"
        model = self._answering.served_names[0]
        return await self._generate(request, call, ChatAnswer(f"{kind}-{name}", int(time.time()), model, chat, tool))

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if not isinstance(body, dict):
            raise api.bad_request("1 validation error:\n  {'loc': 'body', 'msg': 'Input should be a valid dictionary'}")
        chat = responses_api.as_chat(body, self._stored)
        call = api.parse_call(chat, True, self._answering)
        answer = responses_api.ResponseAnswer(
            id=f"resp_{uuid.uuid4().hex[:16]}",
            created=int(time.time()),
            model=self._answering.served_names[0],
            body=body,
            max_tokens=call.max_tokens or 0,
            item_id=f"{'msg' if call.tool is None else 'fc'}_{uuid.uuid4().hex[:16]}",
        )
        if self._answering.stores and body.get("store") is not False:
            self._stored[answer.id] = [*chat["messages"], *answer.messages(call)]
        return await self._generate(request, call, answer)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        """One step of the engine per input, as a prompt is: its counters show one generated token for each."""
        body = await self._body(request)
        prompts = embeddings_api.prompts(body, self._answering)
        name = f"embd-{request.headers.get('X-Request-Id') or uuid.uuid4().hex}"
        if self.draining:
            raise api.ApiError(500, "InternalServerError", _SHUT_DOWN)
        self._refuse_when_down()
        tickets: list[Ticket] = []
        try:
            for index, tokens in enumerate(prompts):
                tickets.append(self._admit(EngineRequest(f"{name}-{index}", len(tokens), 1), stream=False))
            for ticket in tickets:
                while not ticket.done():
                    await self._wait(ticket)
        finally:
            self._abandon(*tickets)
        return _json(embeddings_api.answer(body, prompts, self._answering, {"id": name, "created": int(time.time())}))

    async def _body(self, request: web.Request) -> Any:
        try:
            return json.loads(await request.read())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise api.bad_request(f"1 validation error:\n  {{'type': 'json_invalid', 'msg': '{error}'}}") from error

    async def _generate(self, request: web.Request, call: api.Call, answer: Answer) -> web.StreamResponse:
        if self.draining:
            return self._refuse_while_draining(call, answer)
        self._refuse_when_down()
        ticket = self._submit(call, answer.id)
        try:
            if call.stream:
                return await self._stream(request, call, answer, ticket)
            while not ticket.done():
                await self._wait(ticket)
            return _json(answer.whole(call, call.finish, self._usage(call, ticket)))
        finally:
            self._abandon(ticket)

    def _refuse_when_down(self) -> None:
        if self._driver.killed:
            raise api.ApiError(500, "InternalServerError", _ENGINE_DEAD)

    def _abandon(self, *tickets: Ticket) -> None:
        for ticket in tickets:
            if not ticket.done() and not self._driver.killed:
                self._driver.abort(ticket)

    def _submit(self, call: api.Call, name: str) -> Ticket:
        settings = self._answering.settings
        hashes: list[int] = []
        if settings.prefix_caching:
            hashes = text.block_hashes([*call.prompt, *call.answer], settings.block_size, call.salt)
        request = EngineRequest(
            id=name,
            prompt_tokens=len(call.prompt),
            output_tokens=len(call.answer),
            finish=call.finish,
            max_tokens=call.max_tokens,
            block_hashes=hashes,
        )
        return self._admit(request, call.stream)

    def _admit(self, request: EngineRequest, stream: bool) -> Ticket:
        outcome = self._driver.submit(request, stream)
        if isinstance(outcome, Rejection):
            raise api.ApiError(503, "Service Unavailable", api.REJECTED[outcome.reason])
        return outcome

    def _refuse_while_draining(self, call: api.Call, answer: Answer) -> web.Response:
        """A request that comes after SIGTERM: 0.33 answers it with an empty aborted answer, older ones fail."""
        if tuple(int(part) for part in self._version.split(".")[:2]) < (0, 33) or not isinstance(answer, ChatAnswer):
            raise api.ApiError(500, "InternalServerError", _SHUT_DOWN)
        used = api.usage(len(call.prompt), 0, None)
        if not call.stream:
            return _json(answer.whole(call, "abort", used))
        events = [answer.aborted(), *answer.closing(call, used)]
        return web.Response(body=_events(events) + answer.last_event, content_type="text/event-stream")

    async def _wait(self, ticket: Ticket) -> None:
        """Until the ticket has news; raises ApiError, or hangs, when the engine was killed."""
        await ticket.changed.wait()
        ticket.changed.clear()
        if self._driver.killed and not ticket.done():
            if self._hang_when_killed:
                await asyncio.Event().wait()
            raise api.ApiError(500, "InternalServerError", _ENGINE_DEAD)

    async def _stream(self, request: web.Request, call: api.Call, answer: Answer, ticket: Ticket) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        sequence = ticket.sequence
        try:
            if opening := answer.opening():
                await response.write(_events(opening))
            while not ticket.done():
                await self._wait(ticket)
                start, end = ticket.seen, sequence.generated
                if end == start:
                    continue
                ticket.seen = end
                finish = call.finish if ticket.done() else None
                await response.write(_events(answer.piece(call, start, end, finish)))
            if closing := answer.closing(call, self._usage(call, ticket)):
                await response.write(_events(closing))
        except api.ApiError as error:
            await response.write(_events([error.body]))
        except ConnectionResetError:
            return response
        if answer.last_event:
            await response.write(answer.last_event)
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

    async def _answers(self, request: web.Request) -> web.Response:
        """Another skill from now on: a model that silently gets worse, or better."""
        body = await self._body(request)
        given = body if isinstance(body, dict) else {}
        try:
            skill = Skill(int(given["skill"]), float(given.get("slip", 0)), float(given.get("luck", 0)))
        except (KeyError, TypeError, ValueError) as error:
            raise api.bad_request("skill must be a whole number, slip and luck shares from 0 to 1", "skill") from error
        self._answering = replace(self._answering, skill=skill)
        return _json({"skill": skill.level, "slip": skill.slip, "luck": skill.luck})

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
