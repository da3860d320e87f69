"""Makes chosen requests fail, and passes all others on.

A proxy stands between the operator and the real API server (or the real Prometheus) and passes everything on, watches
as they come, until a rule fits: by verb, resource and number of the request. Everything behind it stays real, so what
the operator reads after a fault is what a real server answers.

    with Proxy(server, ca=...) as proxy:
        with proxy.rule("patch", "deployments/scale", Answer(409), times=1) as rule:
            ...
        assert rule.hits

It runs in a thread of its own with an event loop of its own: tests are synchronous, and one that waits for kubectl must
not hold up the operator.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_HOPS = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"})
START_SECONDS = 20.0
END_SECONDS = 0.1  # 0 would be for ever


@dataclass(frozen=True, slots=True)
class Request:
    """One request, in the words of the API: `resource` includes the subresource. Prometheus' /api/v1/query is therefore
    a `list` (GET) or `create` (POST) of `query`. Of any other path (/readyz) the resource is the path itself."""

    verb: str
    resource: str
    namespace: str
    name: str
    path: str
    query: str
    body: bytes
    at: float = 0.0  # monotonic

    @property
    def watched(self) -> str:
        """The resource and the labels that are asked for: of one resource there may be two watches."""
        (selector,) = parse_qs(self.query).get("labelSelector", [""])
        return f"{self.resource} {selector}".strip()


def understand(method: str, path: str, query: str, body: bytes = b"", at: float = 0.0) -> Request:
    """What a request asks for."""
    parts = path.strip("/").split("/")
    below = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    namespace = ""
    if len(below) > 2 and below[0] == "namespaces":
        namespace, below = below[1], below[2:]
    if not below:
        return Request(method.lower(), path, "", "", path, query, body, at)
    resource, name, sub = [*below, "", ""][:3]
    verb = _VERBS.get(method, method.lower())
    if verb == "get" and not name:
        verb = "watch" if "watch=true" in query or "watch=1" in query else "list"
    return Request(verb, "/".join(filter(None, (resource, sub))), namespace, name, path, query, body, at)


class Effect(Protocol):
    """What becomes of a request that a rule fits."""

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Answer, or pass on and change what comes back."""
        ...


@dataclass(slots=True)
class Rule:
    """From the `skip`-th fitting request on, for `times` requests (None: until it is taken away)."""

    verb: str
    resource: str
    effect: Effect
    skip: int = 0
    times: int | None = None
    where: Callable[[Request], bool] = lambda _: True
    hits: list[Request] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: int = 0

    def fits(self, request: Request) -> bool:
        """Whether this request is one of those; it is counted then."""
        same = self.verb in ("*", request.verb) and self.resource in ("*", request.resource)
        if not same or not self.where(request) or (self.times is not None and len(self.hits) >= self.times):
            return False
        self._seen += 1
        if self._seen <= self.skip:
            return False
        self.hits.append(request)
        return True


@dataclass(slots=True)
class Exchange:
    """One request on its way: what an effect works with."""

    proxy: Proxy
    raw: web.Request
    request: Request
    rule: Rule | None = None

    def gone(self) -> web.Response:
        """Close the connection without an answer."""
        if self.raw.transport is not None:
            self.raw.transport.abort()
        return web.Response(status=502)

    async def send(self) -> aiohttp.ClientResponse:
        """Pass it on; the answer, whose body has not been read."""
        headers = {name: value for name, value in self.raw.headers.items() if name.lower() not in _HOPS}
        headers["Accept-Encoding"] = "identity"  # effects read what comes back
        return await self.proxy.session.request(
            self.raw.method, self.proxy.upstream + self.raw.raw_path, headers=headers, data=self.request.body or None
        )

    async def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
        """Answer in the server's place."""
        return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})

    async def forward(self, pipe: Pipe | None = None) -> web.StreamResponse:
        """Pass it on and its answer back: as a stream, line by line through `pipe` where there is one."""
        try:
            far = await self.send()
        except (aiohttp.ClientError, OSError):
            return self.gone()  # nobody is there: as without a proxy
        async with far:
            headers = {name: value for name, value in far.headers.items() if name.lower() not in _HOPS}
            near = web.StreamResponse(status=far.status, headers=headers)
            await near.prepare(self.raw)
            try:
                if pipe is None:
                    async for chunk in far.content.iter_any():
                        await near.write(chunk)
                else:
                    await pipe(far, near)
                await near.write_eof()
            except (aiohttp.ClientError, OSError):
                self.gone()
        return near


Pipe = Callable[[aiohttp.ClientResponse, web.StreamResponse], Coroutine[Any, Any, None]]


class Proxy:
    """A proxy in front of one server. `url` is where it listens, from `start` (or `with`) to `stop`."""

    def __init__(self, upstream: str, *, ca: Path | None = None, certificate: tuple[Path, Path] | None = None) -> None:
        """`upstream`: URL of the server; `ca`: who signed its certificate; `certificate`: certificate and key for
        serving TLS, plain HTTP without."""
        self.upstream = upstream.rstrip("/")
        self._ca, self._certificate = ca, certificate
        self._rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0
        self.session: aiohttp.ClientSession
        self._open_now: set[asyncio.Transport] = set()
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        self._do(self._start())

    def stop(self) -> None:
        """End every connection and the thread."""
        for rule in list(self._rules):
            self._end(rule)
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextmanager
    def rule(
        self,
        verb: str,
        resource: str,
        effect: Effect,
        *,
        skip: int = 0,
        times: int | None = None,
        where: Callable[[Request], bool] = lambda _: True,
    ) -> Iterator[Rule]:
        """While the block runs, `effect` for each such request ("*": any); what was held up goes on at its end."""
        made = Rule(verb, resource, effect, skip, times, where)
        self._rules.append(made)
        try:
            yield made
        finally:
            self._end(made)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens while the block runs, and every connection is cut."""
        self._do(self._close())
        try:
            yield
        finally:
            self._do(self._open())

    def cut(self) -> None:
        """End every connection that is open now; new ones are accepted."""
        self._do(self._close())
        self._do(self._open())

    def asked(self, verb: str, resource: str, *, since: float = 0.0) -> list[Request]:
        """The requests of this kind since then (monotonic)."""
        return [each for each in self.requests if (each.verb, each.resource) == (verb, resource) and each.at >= since]

    def _end(self, rule: Rule) -> None:
        if rule in self._rules:
            self._rules.remove(rule)
        self._loop.call_soon_threadsafe(rule.over.set)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _start(self) -> None:
        trusted: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(self._ca)) if self._ca else True
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        await self._open()

    async def _open(self) -> None:
        served = None
        if self._certificate:
            served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            served.load_cert_chain(*map(str, self._certificate))
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, handle_signals=False, handler_cancellation=True, shutdown_timeout=END_SECONDS
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=served, reuse_address=True)
        await self._site.start()
        server = self._site._server
        assert isinstance(server, asyncio.Server)
        self._port = server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._runner is not None
        for transport in self._open_now:
            transport.abort()
        await self._runner.cleanup()

    async def _stop(self) -> None:
        await self._close()
        await self.session.close()

    async def _handle(self, raw: web.Request) -> web.StreamResponse:
        request = understand(raw.method, raw.path, raw.query_string, await raw.read(), time.monotonic())
        self.requests.append(request)
        rule = next((each for each in self._rules if each.fits(request)), None)
        exchange = Exchange(self, raw, request, rule)
        transport = raw.transport
        if transport is None:
            return exchange.gone()
        self._open_now.add(transport)
        try:
            return await (rule.effect.apply(exchange) if rule is not None else exchange.forward())
        except (ConnectionResetError, aiohttp.ClientError):  # whoever asked, or was asked, has gone
            return exchange.gone()
        finally:
            self._open_now.discard(transport)
