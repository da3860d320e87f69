"""Lets a program outside stop, pause and start components.

A Unix socket in the state folder (files are shared with the host, networks are not). One JSON object a
connection: {"do": "stop", "component": "kube-apiserver"}; the answer is {"ok": true, ...} or {"error": "..."}.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playground.errors import PlaygroundError
from playground.supervisor import Supervisor

VERBS = ("stop", "kill", "start", "pause", "resume", "status")
START_SECONDS = 60.0
_LIMIT = 1_000_000

Answer = dict[str, Any]


class ControlServer:
    """Serves the verbs on behalf of a supervisor."""

    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        """Know what to control and where to listen."""
        self._supervisor = supervisor
        self._path = path

    async def serve(self) -> asyncio.Server:
        """Start to listen. Raises OSError."""
        return await asyncio.start_unix_server(self._handle, path=str(self._path), limit=_LIMIT)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(await reader.readline())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # whoever asked has gone; there is nobody left to tell
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            verb, name = request["do"], request.get("component", "")
            return {"ok": True, **await self._do(verb, name)}
        except PlaygroundError as error:
            return {"error": str(error)}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"not a request: {error!r}"}

    async def _do(self, verb: str, name: str) -> Answer:
        if verb == "status":
            return {"components": self._supervisor.status()}
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "stop": lambda: self._supervisor.stop(name),
            "kill": lambda: self._supervisor.stop(name, kill=True),
            "start": lambda: self._start(name),
            "pause": lambda: self._now(self._supervisor.pause, name),
            "resume": lambda: self._now(self._supervisor.resume, name),
        }
        if verb not in actions:
            raise PlaygroundError(f"unknown verb {verb!r}; there are {', '.join(VERBS)}")
        await actions[verb]()
        return {}

    async def _start(self, name: str) -> None:
        await self._supervisor.start(name)
        await self._supervisor.ready(name, START_SECONDS)

    @staticmethod
    async def _now(action: Callable[[str], None], name: str) -> None:
        action(name)


def ask(path: Path, verb: str, component: str = "", *, seconds: float = START_SECONDS + 10) -> Answer:
    """Send one request to a control socket; return the answer. Raises PlaygroundError."""
    request = json.dumps({"do": verb, "component": component}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                answer: Answer = json.loads(stream.readline() or b'{"error": "no answer"}')
    except OSError as error:
        raise PlaygroundError(f"the playground does not answer on {path}: {error}") from error
    if "error" in answer:
        raise PlaygroundError(f"{verb} {component}: {answer['error']}")
    return answer
