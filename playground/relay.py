"""Connects the host to addresses that exist only inside.

A socket belongs for ever to the network namespace it was made in. The starter opens listening sockets on the
host's loopback and hands them in; what accepts on them in here connects to the address inside. Two kinds:
a fixed target (API server, Prometheus), and an HTTP proxy that takes the target from the request and
understands Service names, so that a test can talk to any Service or pod.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

CHUNK = 65_536
HEAD_LIMIT = 65_536
CONNECT_SECONDS = 10.0
_SERVICE_NAME = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.cluster\.local)?\.?")

Resolve = Callable[[str], Awaitable[str]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def service_of(host: str) -> tuple[str, str] | None:
    """Return (namespace, name) of a Service's DNS name, None for anything else."""
    found = _SERVICE_NAME.fullmatch(host)
    return (found["namespace"], found["name"]) if found else None


async def serve_fixed(listener: socket.socket, host: str, port: int) -> asyncio.Server:
    """Forward every connection of a listening socket to one address inside."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _bridge(reader, writer, host, port, b"")

    return await _serve(listener, handle)


async def serve_proxy(listener: socket.socket, resolve: Resolve) -> asyncio.Server:
    """Run an HTTP proxy (CONNECT, and absolute URLs) on a listening socket.

    `resolve` turns a host name into an address; LookupError becomes the answer 502.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            host, port, first, greeting = parse_head(head)
            address = await resolve(host)
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.write(_refusal(400, str(error)))
            return
        except LookupError as error:
            writer.write(_refusal(502, str(error)))
            return
        await _bridge(reader, writer, address, port, first, greeting=greeting)

    return await _serve(listener, handle)


def parse_head(head: bytes) -> tuple[str, int, bytes, bytes]:
    """Return host, port, what to send on, and what to answer first, from a proxy request's head.

    Raises ValueError if it is not a proxy request.
    """
    line, _, rest = head.partition(b"\r\n")
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3:
        raise ValueError("not an HTTP request")
    method, target, version = parts
    if method == "CONNECT":
        url = urlsplit(f"//{target}")
        if not url.hostname or url.port is None:
            raise ValueError("CONNECT needs HOST:PORT")
        return url.hostname, url.port, b"", b"HTTP/1.1 200 Connection established\r\n\r\n"
    url = urlsplit(target)
    if url.scheme != "http" or not url.hostname:
        raise ValueError("this is an HTTP proxy: send CONNECT or an absolute http:// URL")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    # One request a connection: the next one could be for another host.
    headers = [
        header
        for header in rest.split(b"\r\n")
        if header and header.split(b":")[0].lower() not in (b"connection", b"proxy-connection")
    ]
    first = b"\r\n".join([f"{method} {path} {version}".encode("latin-1"), *headers, b"Connection: close", b"", b""])
    return url.hostname, url.port or 80, first, b""


async def _serve(listener: socket.socket, handle: Handler) -> asyncio.Server:
    # A client that has sent its last byte is no longer watched by the loop, and nothing else would hold the task that
    # still waits for the answer: it would be collected in the middle of it.
    open_ones: set[object] = set()

    async def handle_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        open_ones.add(task)
        try:
            with suppress(ConnectionError):
                await handle(reader, writer)
        finally:
            writer.close()
            open_ones.discard(task)

    return await asyncio.start_server(handle_and_close, sock=listener, limit=HEAD_LIMIT)


async def _bridge(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    first: bytes,
    *,
    greeting: bytes = b"",
) -> None:
    """Connect and copy both ways until both sides have ended."""
    try:
        far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        if greeting or first:
            writer.write(_refusal(502, f"{host}:{port}: {error or 'timed out'}"))
        return
    try:
        writer.write(greeting)
        far_writer.write(first)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    finally:
        far_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        # Either side is gone: the other direction must not wait for it.
        target.close()


def _refusal(status: int, reason: str) -> bytes:
    body = f"{reason}\n".encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
