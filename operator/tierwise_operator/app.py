"""Of which parts is the process made, in which order do they start, and how does it end?

Parts that anybody may ask (probes, metrics) start first and end last. Each part runs for ever; one that fails is logged
and started again, later each time, so that nothing but a signal ends the process. At the end the running cycle is given
a moment, no further one begins, and the Lease is given back, so that another process takes over at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from tierwise.act import connection
from tierwise.act.cluster import KubernetesCluster
from tierwise.act.wire import Wire
from tierwise.ports import Clock, Ref
from tierwise.report.metrics import OperatorMetrics
from tierwise_operator.backoff import delays
from tierwise_operator.clock import SystemClock
from tierwise_operator.hub import catalogue
from tierwise_operator.leader import Leader, Timing
from tierwise_operator.loop import Loop, Parts
from tierwise_operator.pulse import Pulse, Rhythm
from tierwise_operator.sampling import prometheus, sampler
from tierwise_operator.serving import Health, application, serve
from tierwise_operator.settings import Settings
from tierwise_operator.sources import Sources

logger = logging.getLogger(__name__)

# A cycle that takes longer waits for an API server that does not answer. Well below what /healthz allows.
CYCLE_TICKS = 4
END_SECONDS = 5.0
# A part that ran for so long was well; what it fails of then is not what it failed of before.
GOOD_RUN_SECONDS = 300.0


async def run(settings: Settings, stop: asyncio.Event, *, listening: Callable[[int], None] = lambda port: None) -> None:
    """Run until `stop` is set. `listening` is told the port of the probes. Raises Invalid when the API server or
    Prometheus cannot be used as given, and OSError when the port is taken."""
    clock = SystemClock()
    registry = _registry()
    metrics = OperatorMetrics(registry, clock.monotonic)
    health = Health(clock.monotonic, settings.tick_seconds)
    pulse = Pulse(Rhythm(settings.tick_seconds, settings.coalesce_seconds, settings.coalesce_limit_seconds))
    async with AsyncExitStack() as stack:
        runner, port = await serve(application(health, registry), settings.metrics_host, settings.metrics_port)
        stack.push_async_callback(runner.cleanup)
        listening(port)
        configuration = await connection.load(settings.kubeconfig, settings.context)
        client = await stack.enter_async_context(connection.client(configuration))
        unfenced = KubernetesCluster(Wire(client), clock, instance=settings.identity)
        leader = _leader(settings, unfenced, clock, pulse)
        main = asyncio.get_running_loop()
        known = catalogue(settings, clock, pulse.wake)
        sources = Sources(settings, unfenced, pulse.wake, lambda: main.call_soon_threadsafe(pulse.wake), known)
        stack.push_async_callback(sources.stop)
        source = prometheus(settings)
        stack.callback(source.close)
        sampling = sampler(settings, source, clock, pulse.wake)
        parts = Parts(
            world=sources.world,
            problem=lambda: sources.problem,
            samples=lambda: sampling.samples,
            cluster=KubernetesCluster(Wire(client, fence=leader.fence), clock, instance=settings.identity),
            leading=lambda: leader.leading,
            metrics=metrics,
            health=health,
            clock=clock,
        )
        loop = Loop(parts, settings.tick_seconds * CYCLE_TICKS)
        stack.push_async_callback(leader.release)  # first of all at the end: what follows may take seconds
        await _live(
            [("lease", leader.run), ("sampler", sampling.run), *sources.parts(), ("loop", lambda: loop.run(pulse))],
            sources,
            loop,
            stop,
        )


async def _live(
    parts: list[tuple[str, Callable[[], Awaitable[None]]]], sources: Sources, loop: Loop, stop: asyncio.Event
) -> None:
    tasks = [asyncio.create_task(for_ever(name, part), name=name) for name, part in parts]
    sources.start()
    try:
        await stop.wait()
        logger.info("ending")
        await loop.finish(END_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def for_ever(
    name: str,
    part: Callable[[], Awaitable[None]],
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run a part until it ends by itself. One that fails is started again: later each time, at first soon again after
    it has run well for a while."""
    pauses = delays()
    while True:
        began = monotonic()
        try:
            await part()
            return
        except Exception:
            if monotonic() - began >= GOOD_RUN_SECONDS:
                pauses = delays()
            pause = next(pauses)
            logger.exception("%s has failed and is started again in %.1f s", name, pause)
        await sleep(pause)


def _leader(settings: Settings, cluster: KubernetesCluster, clock: Clock, pulse: Pulse) -> Leader:
    timing = Timing(settings.lease_seconds, settings.lease_renew_deadline_seconds, settings.lease_retry_seconds)
    ref = Ref("coordination.k8s.io/v1", "leases", settings.lease_namespace, settings.lease_name)
    # The name alone would let a restarted container believe that it still holds what its predecessor held.
    identity = f"{settings.identity}_{uuid.uuid4().hex[:8]}"
    return Leader(cluster, ref, identity, timing, clock, changed=lambda _: pulse.wake())


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
