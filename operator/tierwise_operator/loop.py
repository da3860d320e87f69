"""Runs one cycle per tick or wake-up.

The world and the last samples are taken as they are (nothing is waited for), one cycle runs, and the process reports
that it is alive. A cycle that fails is logged, and the next one starts from scratch: nothing half-done is kept. For the
same reason a cycle that takes too long (an API server that does not answer) is given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tierwise import reconcile
from tierwise.observe import Samples, World
from tierwise.ports import Clock, Cluster
from tierwise.report.metrics import OperatorMetrics
from tierwise.route_cycle import RouteState
from tierwise.runtime.health_server import Health
from tierwise.runtime.turns import in_turns
from tierwise.types import RouterPod
from tierwise_operator.debounce import Debouncer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the loop is made of. `world` is None while the cluster is not known, `problem` then says why; `leading`
    tells whether this process may write; `after_cycle` is called when nothing of a cycle is at work any more;
    `router`: how routers run here, if anybody has said it."""

    world: Callable[[], Awaitable[World | None]]
    problem: Callable[[], str]
    samples: Callable[[], Samples]
    cluster: Cluster
    leading: Callable[[], bool]
    metrics: OperatorMetrics
    health: Health
    clock: Clock
    after_cycle: Callable[[], None] = lambda: None
    router: RouterPod | None = None


class Loop:
    """Cycle after cycle."""

    def __init__(self, parts: Dependencies, limit_seconds: float) -> None:
        """`limit_seconds`: how long a cycle may take."""
        self._parts = parts
        self._limit = limit_seconds
        self._kept = reconcile.OperatorState(routes=RouteState(parts.router))
        self._resting = asyncio.Event()
        self._resting.set()
        self._ending = False

    async def run(self, pulse: Debouncer) -> None:
        """Run until `finish` is called."""
        while not self._ending:
            await pulse.beat()
            self._resting.clear()
            try:
                async with asyncio.timeout(self._limit):
                    await self.once()
            except TimeoutError:
                logger.warning("a cycle was given up after %.0f s", self._limit)
                self._parts.health.finished("the last cycle was given up: the API server does not answer")
            except Exception:
                logger.exception("a cycle failed")
            finally:
                self._resting.set()

    async def once(self) -> None:
        """One cycle; nothing while the cluster is not known."""
        parts = self._parts
        began = parts.clock.monotonic()
        world = await parts.world()
        if world is not None:
            done = await reconcile.run(
                world,
                parts.samples(),
                parts.cluster,
                parts.clock,
                self._kept,
                writing=parts.leading() and world.installations.everywhere is None,
                limit_seconds=self._limit,
            )
            await in_turns(parts.metrics.update_in_turns(done.snapshot, done.plan, done.outcome, done.report))
            parts.metrics.pools.update(done.pools or ())
            routes = done.routes
            if routes is None:  # not ours to tell of
                parts.metrics.routes.update((), (), (), ())
            else:
                alive = (view.route.key for view in done.snapshot.routes)
                parts.metrics.routes.update(alive, routes.plans, routes.outcomes, routes.reports)
        parts.metrics.cycle_ended(parts.clock.monotonic() - began)
        parts.health.finished(parts.problem())
        parts.after_cycle()

    async def finish(self, seconds: float) -> None:
        """Begin no further cycle, and let the one that runs end, for at most so long."""
        self._ending = True
        try:
            async with asyncio.timeout(seconds):
                await self._resting.wait()
        except TimeoutError:
            logger.warning("the last cycle did not end in time")
