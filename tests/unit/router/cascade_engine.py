"""An engine whose answers, their log-probabilities and their faults are written in the prompt.

The prompt is JSON: for each tier a list of scripts, one for each time that the tier is asked for it; then it answers
well. A script says `tokens`, their log-probability `value`, how many come in one event (`step`), after how many events
the connection is cut (`cut`), or another `status`. Every token says which tier has made it in which attempt, so that an
answer that was put together of two of them would show.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.router.logprob_texts import chat_event, entry
from tests.unit.router.scripted_engine import EngineLoad, ScriptedEngine
from tests.unit.router.scripted_upstream import DONE, ROLE

GOOD: dict[str, Any] = {"tokens": 6, "value": -0.1, "step": 1}


class CascadeEngine(ScriptedEngine):
    """One connection to the engine of the tier `name`. `asked` counts how often a tier was asked for a request."""

    def __init__(self, name: str, asked: Counter[tuple[str, str]], open_now: set[asyncio.Transport]) -> None:
        super().__init__([], open_now, EngineLoad())
        self._name = name
        self._asked = asked

    def _answer(self, values: dict[str, Any]) -> None:
        prompt = json.loads(values["messages"][-1]["content"])
        number = self._asked[prompt["id"], self._name]
        self._asked[prompt["id"], self._name] += 1
        scripts = prompt.get(self._name, [])
        script = GOOD | (scripts[number] if number < len(scripts) else {})
        asyncio.get_running_loop().call_later(0.001, self._write, values, {**script, "number": number})

    def _write(self, values: dict[str, Any], script: dict[str, Any]) -> None:
        if self._transport.is_closing():
            return
        if "status" in script:
            self._send(script["status"], b'{"error":{"message":"as written"}}')
            return
        tokens = [f"{self._name}.{script['number']}.{place} " for place in range(script["tokens"])]
        usage = {"prompt_tokens": 10, "completion_tokens": len(tokens), "total_tokens": 10 + len(tokens)}
        if not values.get("stream"):
            found = [entry(token, script["value"]) for token in tokens] if values.get("logprobs") else None
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(tokens)},
                "logprobs": None if found is None else {"content": found},
                "finish_reason": "stop",
            }
            body = json.dumps({"id": "c", "choices": [choice], "usage": usage}).encode()
            if "cut" in script:
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
                self._transport.write(head.encode() + body[: len(body) // 2])
                self._transport.close()
            else:
                self._send(200, body)
            return
        events = [ROLE]
        for start in range(0, len(tokens), script["step"]):
            piece = tokens[start : start + script["step"]]
            events.append(
                chat_event("".join(piece), [script["value"]] * len(piece) if values.get("logprobs") else None)
            )
        events.append(chat_event("", None, "stop"))
        if values.get("stream_options", {}).get("include_usage"):
            events.append(b"data: " + json.dumps({"id": "c", "choices": [], "usage": usage}).encode() + b"\n\n")
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self._next([*events, DONE], script.get("cut"))

    def _next(self, events: list[bytes], left: int | None) -> None:
        """The next event, then the others, each in a turn of its own."""
        if self._transport.is_closing():
            return
        if left == 0:
            self._transport.close()
            return
        event = events.pop(0)
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        if events:
            asyncio.get_running_loop().call_soon(self._next, events, None if left is None else left - 1)
        else:
            self._transport.write(b"0\r\n\r\n")


@asynccontextmanager
async def cascade_engine(name: str, asked: Counter[tuple[str, str]]) -> AsyncIterator[str]:
    """Its URL."""
    connections: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CascadeEngine(name, asked, connections), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(connections):
            connection.abort()
        await asyncio.sleep(0.01)
