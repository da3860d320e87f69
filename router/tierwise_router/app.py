"""Puts the router together and runs it until it is told to stop.

Stopping loses nothing: the process says that it is not ready, goes on answering, closes each connection after its
answer, and ends when none is left or the time is up. Whoever still waits then is told so: a stream by an error in it,
everybody else by 503.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from tierwise.errors import Invalid
from tierwise.runtime import health_server
from tierwise.runtime.garbage import GarbageCollection
from tierwise.runtime.supervision import supervise
from tierwise_router.access_log import AccessLog
from tierwise_router.background import Background
from tierwise_router.bodies import MOST_BYTES, Bodies
from tierwise_router.certificates import Certificates
from tierwise_router.classifier_loader import ClassifierLoader
from tierwise_router.client_connection import Shared
from tierwise_router.comparing import Comparing
from tierwise_router.engine_metrics import LoadPoller
from tierwise_router.gateway import Gateway
from tierwise_router.metrics import RouterCollector
from tierwise_router.pressing import Pressing
from tierwise_router.purse import Purse
from tierwise_router.router_state import Clocks, RouterState
from tierwise_router.salt import read_salt
from tierwise_router.server import Server
from tierwise_router.source import Loaded, RouteSource
from tierwise_router.tracing import tracing
from tierwise_router.verdict_file import VerdictFile

SWEEP_SECONDS = 0.25
GARBAGE_ROUNDS = 40
LAST_WORDS_SECONDS = 2.0
"""For the errors that tell clients of answers that took longer than the drain."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Of one process. Port 0 is any free one; `spending_file` None forgets what was spent with the process.
    `leased`: it spends within the leases that its source brings, not within a budget of its own."""

    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9090
    drain_seconds: float = 300.0
    spending_file: Path | None = None
    leased: bool = False
    body_memory_bytes: int = MOST_BYTES
    verdicts_file: Path | None = None
    """Keeps what judges said, with hashed features; needs a salt (`salt_file`)."""
    salt_file: Path | None = None
    """The secret that these features are hashed with, and those of a classifier that was trained on them."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What was got."""

    openai: int
    metrics: int
    tls: bool


async def run(
    settings: RouterSettings, source: RouteSource, stop: asyncio.Event, listening: Callable[[Ports], None]
) -> None:
    """Serve until `stop` is set, then drain. Raises Invalid for a bad route, OSError where a port is taken."""
    clocks = Clocks(time.monotonic, lambda: datetime.now(UTC), lambda: "req_" + secrets.token_hex(12))
    health = health_server.Health(time.monotonic, SWEEP_SECONDS * 20)
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        runner, metrics_port = await health_server.serve(
            health_server.application(health, registry), settings.host, settings.metrics_port
        )
        stack.push_async_callback(runner.cleanup)
        parts = _Parts()
        stack.push_async_callback(parts.end)
        for name, part in source.parts.items():
            parts.start(name, part)
        loaded = await _first(source, stop, health)
        if loaded is None:
            return
        state = RouterState.of(loaded.route, clocks, _purse(settings, loaded, clocks), dict(loaded.keys))
        stack.callback(_close_tiers, state)
        if (spans := tracing(os.environ)) is not None:
            state.tracing = spans
            stack.push_async_callback(spans.end)
        classifier = ClassifierLoader(state, loaded.base, settings.salt_file)
        await classifier.look()
        log = AccessLog(sys.stdout.buffer, state.ledger, clocks.now)
        state.log = log
        gateway = Gateway(state, lambda: (not server.draining, "draining" if server.draining else "ready"))
        bodies = Bodies(settings.body_memory_bytes)
        registry.register(RouterCollector(state, bodies))
        server = Server(Shared(gateway, gateway.admit, bodies=bodies))
        stack.push_async_callback(server.close)
        certificates = None if loaded.tls is None else await asyncio.to_thread(Certificates, loaded.tls)
        context = None if certificates is None else certificates.listener
        port = await server.start(settings.host, settings.port, context)
        if certificates is not None:
            parts.start("the certificate", certificates.follow)
        health.finished()
        parts.start("the sweep", lambda: _sweep(state, health, server))
        parts.start("the engines' load", LoadPoller(lambda: state.tiers.values(), time.monotonic).run)
        parts.start("the access log", log.run)
        parts.start("the classifier", classifier.run)
        parts.start("the share", Pressing(state).run)
        parts.start("the samples", _comparing(settings, state).run)
        parts.start("the route", lambda: source.follow(state))
        listening(Ports(port, metrics_port, tls=certificates is not None))
        await stop.wait()
        await server.drain(settings.drain_seconds)
        state.end()
        await server.drain(LAST_WORDS_SECONDS)


class _Parts:
    """What runs for ever beside the server."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(supervise(name, part), name=name))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _first(source: RouteSource, stop: asyncio.Event, health: health_server.Health) -> Loaded | None:
    """The route; None when the process is told to stop before there is one. Meanwhile it is alive and not ready."""
    reading = asyncio.create_task(source.first())
    stopping = asyncio.create_task(stop.wait())
    try:
        while not (reading.done() or stopping.done()):
            health.finished("the route has not been read")
            await asyncio.wait({reading, stopping}, timeout=SWEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        reading.cancel()
        stopping.cancel()


def _close_tiers(state: RouterState) -> None:
    for tier in state.tiers.values():
        tier.close()


def _purse(settings: RouterSettings, loaded: Loaded, clocks: Clocks) -> Purse:
    route = loaded.route
    try:
        file = settings.spending_file
        return Purse(route.budget, route.overflow, clocks.now, clocks.monotonic, file, leased=settings.leased)
    except (OSError, ValueError, KeyError, ArithmeticError) as error:
        raise Invalid(
            f"the spending file {settings.spending_file} cannot be read ({type(error).__name__}); "
            "mend it, or remove it to count from nothing"
        ) from error


def _comparing(settings: RouterSettings, state: RouterState) -> Comparing:
    """Raises Invalid where the salt cannot be read."""
    spending = settings.spending_file
    background = Background(state, None if spending is None else spending.with_name("samples-" + spending.name))
    if settings.salt_file is not None:
        read_salt(settings.salt_file)
    if settings.verdicts_file is None:
        return Comparing(state, background)
    if settings.salt_file is None:
        raise Invalid("--verdicts-file needs --salt-file: without a salt, words can be looked up in what is kept")
    return Comparing(state, background, VerdictFile(settings.verdicts_file, settings.salt_file))


async def _sweep(state: RouterState, health: health_server.Health, server: Server) -> None:
    garbage, rounds = GarbageCollection(), 0
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        rounds += 1
        if rounds % GARBAGE_ROUNDS == 0:
            garbage.after_cycle()
        state.sweep()
        health.finished("draining" if server.draining else "")
