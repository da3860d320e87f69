"""An upstream that answers as the prompt says, and a client that keeps its connections: quick enough for thousands.

The prompt of a request is JSON: `usage` is what the answer says it used, `status` another status with `body`,
`cut` ends the connection after so many events, `wait` waits before the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

Seen = list[tuple[dict[str, Any], dict[str, str]]]


class EngineLoad:
    """How many requests an engine works on. `share`: the seconds that it has worked on any, each divided among them."""

    def __init__(self) -> None:
        self.running = 0
        self.share = 0.0
        self._since = 0.0

    def changes(self, by: int) -> None:
        self.share, self._since = self.share_now(), asyncio.get_running_loop().time()
        self.running += by

    def share_now(self) -> float:
        """What a request gets that is on it from one such reading to another."""
        beside = asyncio.get_running_loop().time() - self._since
        return self.share + (beside / self.running if self.running else 0.0)


class ScriptedEngine(asyncio.Protocol):
    """One connection. `seen` gets the body and the headers of every request."""

    def __init__(self, seen: Seen, open_now: set[asyncio.Transport], load: EngineLoad) -> None:
        self._seen = seen
        self._load = load
        self._open = open_now
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            lines = self._data[:end].decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            length = int(headers.get("content-length", 0))
            if len(self._data) < end + 4 + length:
                return
            body = self._data[end + 4 : end + 4 + length]
            self._data = self._data[end + 4 + length :]
            if lines[0].startswith("GET"):
                self._send(200, f"vllm:num_requests_running {self._load.running}\n".encode())
                continue
            values = json.loads(body)
            self._seen.append((values, headers))
            self._answer(values)

    def _answer(self, values: dict[str, Any]) -> None:
        script = json.loads(values["messages"][-1]["content"])
        if wait := script.pop("wait", 0):
            self._load.changes(1)
            asyncio.get_running_loop().call_later(wait, self._finish, values, script)
        else:
            self._write(values, script)

    def _finish(self, values: dict[str, Any], script: dict[str, Any]) -> None:
        self._load.changes(-1)
        self._write(values, script)

    def _write(self, values: dict[str, Any], script: dict[str, Any]) -> None:
        if "status" in script:
            self._send(script["status"], json.dumps(script.get("body", {})).encode(), script.get("headers", {}))
        elif values.get("stream"):
            self._stream(values, script)
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
            answer = {"id": "a", "model": values["model"], "choices": [choice]}
            self._send(200, json.dumps(answer | _said(script)).encode())

    def _stream(self, values: dict[str, Any], script: dict[str, Any]) -> None:
        count = script.get("events", 3)
        pieces: list[dict[str, Any]] = [
            {"index": 0, "delta": {"content": "word"}, "finish_reason": None} for _ in range(count)
        ]
        pieces[-1]["finish_reason"] = "stop"
        events: list[dict[str, Any]] = [{"id": "a", "choices": [piece]} for piece in pieces]
        if values.get("stream_options", {}).get("include_usage") and "usage" in script:
            events.append({"id": "a", "choices": []} | _said(script))
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        cut = script.get("cut")
        for event in events[:cut]:
            data = b"data: " + json.dumps(event).encode() + b"\n\n"
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if cut is not None:
            self._transport.close()
            return
        self._transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"HTTP/1.1 {status} Word\r\ncontent-type: application/json\r\n{more}content-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def _said(script: dict[str, Any]) -> dict[str, Any]:
    return {name: script[name] for name in ("usage", "service_tier") if name in script}


@asynccontextmanager
async def scripted_engine(seen: Seen, load: EngineLoad | None = None) -> AsyncIterator[str]:
    """Its URL. `load` learns what it works on."""
    known = load or EngineLoad()
    connections: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ScriptedEngine(seen, connections, known), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in connections:
            connection.abort()
        await asyncio.sleep(0.01)


class Caller:
    """One client connection, opened again when it was closed."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def chat(
        self, model: str, script: dict[str, Any], *, leave: bool = False, **fields: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask; the status, the headers and the body. `leave`: close the connection after the first bytes."""
        headers = fields.pop("headers", {})
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": json.dumps(script)}], **fields})
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\n{more}content-length: {len(body)}\r\n\r\n"
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write((head + body).encode())
        try:
            if leave:
                await asyncio.sleep(0.005)
                await self.close()
                return 0, {}, b""
            return await self._read(reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            return 0, {}, getattr(error, "partial", b"")

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        said = {name.lower(): value for name, value in pairs}
        body = b""
        if "content-length" in said:
            body = await reader.readexactly(int(said["content-length"]))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        if said.get("connection") == "close":
            await self.close()
        return status, said, body

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                return


@asynccontextmanager
async def callers(url: str, count: int) -> AsyncIterator[list[Caller]]:
    """Some connections; they end with the context."""
    made = [Caller(url) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            await one.close()
