"""A real HTTP server on loopback that answers as an API server would, one scripted answer after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Answer:
    """One scripted answer. `lines` makes it a stream; `cut` drops the connection after `body`."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lines: tuple[Any, ...] = ()
    cut: bool = False
    delay: float = 0.0


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class ApiServer:
    """Answers requests from a script; the last answer repeats."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Seen] = []
        self.url = ""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.requests.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(answer.delay)
        if answer.lines or answer.cut:
            return await self._stream(request, answer)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body if answer.body else {})
        return web.Response(status=answer.status, text=text, headers=answer.headers, content_type="application/json")

    async def _stream(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if answer.cut:
            response.content_length = 10_000
        await response.prepare(request)
        for line in answer.lines:
            text = line if isinstance(line, str) else json.dumps(line)
            await response.write(text.encode() + b"\n")
        if answer.cut:
            assert request.transport is not None
            request.transport.close()
        return response


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[ApiServer]:
    server = ApiServer(*answers)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server._handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def status(code: int, message: str, reason: str = "") -> Answer:
    """A metav1.Status, as the API server sends it with an error."""
    return Answer(code, {"kind": "Status", "apiVersion": "v1", "message": message, "reason": reason, "code": code})
