"""Builds the process from its parts, starts them in order, and ends them.

The parts that others call (probes, metrics) start first and end last. Each part runs for ever. A part that fails is
logged and started again, later each time, so that only a signal ends the process. At the end the running cycle is given
a moment, no further cycle begins, and the Lease is released, so that another process takes over at once.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from tierwise.kube import connection
from tierwise.kube.client import KubernetesCluster
from tierwise.kube.transport import ApiTransport
from tierwise.ports import Clock, ObjectRef
from tierwise.report.metrics import OperatorMetrics
from tierwise.runtime.clock import SystemClock
from tierwise.runtime.garbage import GarbageCollection
from tierwise.runtime.health_server import Health, application, serve
from tierwise.runtime.supervision import supervise
from tierwise_operator.debounce import DebounceConfig, Debouncer
from tierwise_operator.hub_setup import catalogue
from tierwise_operator.leader import Leader, Timing
from tierwise_operator.loop import Dependencies, Loop
from tierwise_operator.prometheus_setup import prometheus, sampler
from tierwise_operator.settings import Settings
from tierwise_operator.watches import Watches

logger = logging.getLogger(__name__)

# A cycle that takes longer waits for an API server that does not answer. Well below what /healthz allows.
CYCLE_TICKS = 4
END_SECONDS = 5.0


async def run(settings: Settings, stop: asyncio.Event, *, listening: Callable[[int], None] = lambda port: None) -> None:
    """Run until `stop` is set. `listening` is told the port of the probes. Raises Invalid when the API server or
    Prometheus cannot be used as given, and OSError when the port is taken."""
    clock = SystemClock()
    registry = _registry()
    metrics = OperatorMetrics(registry, clock.monotonic)
    health = Health(clock.monotonic, settings.tick_seconds)
    pulse = Debouncer(DebounceConfig(settings.tick_seconds, settings.coalesce_seconds, settings.coalesce_limit_seconds))
    async with AsyncExitStack() as stack:
        runner, port = await serve(application(health, registry), settings.metrics_host, settings.metrics_port)
        stack.push_async_callback(runner.cleanup)
        listening(port)
        configuration = await connection.load(settings.kubeconfig, settings.context)
        client = await stack.enter_async_context(connection.client(configuration))
        unfenced = KubernetesCluster(ApiTransport(client), clock, instance=settings.identity)
        leader = _leader(settings, unfenced, clock, pulse)
        main = asyncio.get_running_loop()
        known = catalogue(settings, clock, pulse.wake)
        sources = Watches(settings, unfenced, pulse.wake, lambda: main.call_soon_threadsafe(pulse.wake), known)
        stack.push_async_callback(sources.stop)
        source = prometheus(settings)
        stack.callback(source.close)
        sampling = sampler(settings, source, clock, pulse.wake, lambda: sources.tiers)
        parts = Dependencies(
            world=sources.world,
            problem=lambda: sources.problem,
            samples=lambda: sampling.samples,
            cluster=KubernetesCluster(ApiTransport(client, fence=leader.fence), clock, instance=settings.identity),
            leading=lambda: leader.leading,
            metrics=metrics,
            health=health,
            clock=clock,
            after_cycle=GarbageCollection().after_cycle,
            router=settings.router,
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
    parts: list[tuple[str, Callable[[], Awaitable[None]]]], sources: Watches, loop: Loop, stop: asyncio.Event
) -> None:
    tasks = [asyncio.create_task(supervise(name, part), name=name) for name, part in parts]
    sources.start()
    try:
        await stop.wait()
        logger.info("ending")
        await loop.finish(END_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _leader(settings: Settings, cluster: KubernetesCluster, clock: Clock, pulse: Debouncer) -> Leader:
    timing = Timing(settings.lease_seconds, settings.lease_renew_deadline_seconds, settings.lease_retry_seconds)
    ref = ObjectRef("coordination.k8s.io/v1", "leases", settings.lease_namespace, settings.lease_name)
    # The name alone would let a restarted container believe that it still holds what its predecessor held.
    identity = f"{settings.identity}_{uuid.uuid4().hex[:8]}"
    return Leader(cluster, ref, identity, timing, clock, changed=lambda _: pulse.wake())


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
