"""Plays a provider of an OpenAI-compatible API, with the faults that providers have.

Called with a host, a port and a seed; it answers as a simulated engine with this seed would. What is wrong with it is
said by `POST /stub` with a `Fault` as JSON, and ends with `{}`. `GET /stub` says how often it was asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.faults.verdict import said_by
from tierwise_sim.tokens import pieces

TOKEN_SECONDS = 0.03
NEVER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong. `status`: an error answer, with `error` and `headers`. `first_seconds`: the first token comes so
    late. `cut`: a stream ends after so many tokens, in this `way`: "reset", "close" (both without the end of the
    message), "end" (with it), "error" (an event says so). Nothing set: all is well."""

    status: int = 0
    error: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    first_seconds: float = 0.0
    cut: int | None = None
    way: str = "close"


class Provider:
    """One provider."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked = 0
        self._fault = Fault()

    def application(self) -> web.Application:
        """Its HTTP application."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/stub", self._set),
                web.get("/stub", self._state),
            ]
        )
        return app

    async def _set(self, request: web.Request) -> web.Response:
        self._fault = Fault(**await request.json())
        return web.json_response({})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response({"asked": self._asked})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._asked += 1
        fault, values = self._fault, await request.json()
        if fault.status:
            error = {"message": "said by the provider", "type": "api_error", "param": None, "code": None, **fault.error}
            return web.json_response({"error": error}, status=fault.status, headers=dict(fault.headers))
        count = int(values["max_tokens"])
        said = pieces(said_by(self._seed, values["messages"][-1]["content"], count))
        await asyncio.sleep(fault.first_seconds or TOKEN_SECONDS)
        used = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}
        if values.get("stream"):
            return await self._stream(request, said, used)
        await asyncio.sleep(count * TOKEN_SECONDS)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(said)},
            "finish_reason": "length",
        }
        answer = web.json_response({"id": "stub", "object": "chat.completion", "choices": [choice], "usage": used})
        if fault.cut is None or fault.way not in ("reset", "close"):
            return answer
        answer.content_length = 100_000  # more than will come
        await answer.prepare(request)
        return self._break(request, answer, fault.way)

    async def _stream(self, request: web.Request, said: list[str], used: Mapping[str, int]) -> web.StreamResponse:
        fault = self._fault
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await _event(answer, {"id": "stub", "choices": [_choice({"role": "assistant", "content": ""})]})
        for token in said[: fault.cut]:
            await _event(answer, {"id": "stub", "choices": [_choice({"content": token})]})
            await asyncio.sleep(TOKEN_SECONDS)
        if fault.cut is not None:
            if fault.way == "error":
                error = {"message": "overloaded", "type": "server_error", "param": None, "code": "overloaded"}
                await _event(answer, {"error": error})
            return self._break(request, answer, fault.way)
        await _event(answer, {"id": "stub", "choices": [_choice({}, "length")]})
        await _event(answer, {"id": "stub", "choices": [], "usage": used})
        await answer.write(b"data: [DONE]\n\n")
        return answer

    @staticmethod
    def _break(request: web.Request, answer: web.StreamResponse, way: str) -> web.StreamResponse:
        if way == "reset" and request.transport is not None:
            request.transport.abort()
        elif way == "close" and request.transport is not None:
            request.transport.close()
        return answer


def _choice(delta: Mapping[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


async def _event(answer: web.StreamResponse, event: Mapping[str, Any]) -> None:
    await answer.write(b"data: " + json.dumps(event).encode() + b"\n\n")


def main() -> None:
    """Serve until the process is ended."""
    host, port, seed = sys.argv[1:]
    web.run_app(Provider(int(seed)).application(), host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
