"""Puts the router together and runs it until it is told to stop.

Stopping loses nothing: the process says that it is not ready, goes on answering, closes each connection after its
answer, and ends when none is left or the time is up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from tierwise.errors import Invalid
from tierwise.runtime import health_server
from tierwise.runtime.garbage import GarbageCollection
from tierwise.runtime.supervision import supervise
from tierwise_router import route_file
from tierwise_router.access_log import AccessLog
from tierwise_router.engine_metrics import LoadPoller
from tierwise_router.gateway import Gateway
from tierwise_router.metrics import RouterCollector
from tierwise_router.purse import Purse
from tierwise_router.router_state import Clocks, RouterState
from tierwise_router.server import Server

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 0.25
RELOAD_SECONDS = 2.0
GARBAGE_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Of one process. Port 0 is any free one; `spending_file` None forgets what was spent with the process."""

    file: Path
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9090
    drain_seconds: float = 300.0
    spending_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """What was got."""

    openai: int
    metrics: int


async def run(settings: RouterSettings, stop: asyncio.Event, listening: Callable[[Ports], None]) -> None:
    """Serve until `stop` is set, then drain. Raises Invalid for a bad route, OSError where a port is taken."""
    clocks = Clocks(time.monotonic, lambda: datetime.now(UTC), lambda: "req_" + secrets.token_hex(12))
    loaded = route_file.load(settings.file)
    purse = _purse(settings, loaded, clocks)
    state = RouterState.of(loaded.route, clocks, purse, dict(loaded.keys))
    log = AccessLog(sys.stdout.buffer, state.ledger, clocks.now)
    state.log = log
    health = health_server.Health(time.monotonic, SWEEP_SECONDS * 20)
    health.finished()
    registry = CollectorRegistry()
    registry.register(RouterCollector(state))
    server = Server(Gateway(state, lambda: (not server.draining, "draining" if server.draining else "ready")))
    port = await server.start(settings.host, settings.port)
    runner, metrics_port = await health_server.serve(
        health_server.application(health, registry), settings.host, settings.metrics_port
    )
    poller = LoadPoller(lambda: state.tiers.values(), time.monotonic)
    parts = {
        "the sweep": lambda: _sweep(state, health, server),
        "the engines' load": poller.run,
        "the access log": log.run,
        "the route file": lambda: _follow(settings.file, state),
    }
    tasks = [asyncio.create_task(supervise(name, part), name=name) for name, part in parts.items()]
    try:
        listening(Ports(port, metrics_port))
        await stop.wait()
        await server.drain(settings.drain_seconds)
    finally:
        await server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for tier in state.tiers.values():
            tier.close()
        await runner.cleanup()


def _purse(settings: RouterSettings, loaded: route_file.Loaded, clocks: Clocks) -> Purse:
    route = loaded.route
    try:
        return Purse(route.budget, route.overflow, clocks.now, clocks.monotonic, settings.spending_file)
    except (OSError, ValueError, KeyError, ArithmeticError) as error:
        raise Invalid(
            f"the spending file {settings.spending_file} cannot be read ({type(error).__name__}); "
            "mend it, or remove it to count from nothing"
        ) from error


async def _sweep(state: RouterState, health: health_server.Health, server: Server) -> None:
    garbage, rounds = GarbageCollection(), 0
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        rounds += 1
        if rounds % GARBAGE_ROUNDS == 0:
            garbage.after_cycle()
        state.sweep()
        health.finished("draining" if server.draining else "")


async def _follow(path: Path, state: RouterState) -> None:
    """Serve what the file and the key files say, when they change. A bad file changes nothing."""
    loaded = await asyncio.to_thread(route_file.load, path)
    complaint = ""
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        try:
            found = await asyncio.to_thread(route_file.load, path)
        except Invalid as error:
            if error.message != complaint:
                complaint = error.message
                logger.error("%s; the route that is served stays as it was", complaint)
            continue
        complaint = ""
        if found == loaded:
            continue
        if found.route.budget != state.route.budget:
            logger.warning("the budget has changed; it counts when the router is started again")
        loaded = found
        state.replace(found.route, dict(found.keys))
        logger.info("the route has changed and is served")
