"""A Prometheus of a test's own, its exporters, and what the operator's own queries and code see through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from playground.binaries import ensure
from tests.cluster.scraped import Exporter, OwnPrometheus
from tierwise.engines import profiles
from tierwise.observe import Samples, queries
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.signals import tier_signals
from tierwise.prom.client import Access, PrometheusMetrics
from tierwise.types import PodSample, TierSignals

Found = TypeVar("Found")
SCRAPE = 1.0
NAMES = [each.metrics for each in profiles()]
GAUGES = {"vllm:num_requests_running": 5.0, "vllm:num_requests_waiting": 2.0, "vllm:kv_cache_usage_perc": 0.25}
COUNTERS = (
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_prompt_tokens_sum",
    "vllm:request_generation_tokens_sum",
    "vllm:request_generation_tokens_count",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:spec_decode_num_draft_tokens_total",
    "vllm:spec_decode_num_accepted_tokens_total",
)


class WallClock:
    """The machine's."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Scene:
    """A Prometheus, its exporters, and the operator's eye on one tier."""

    def __init__(self, prometheus: OwnPrometheus) -> None:
        self.prometheus = prometheus
        self.exporters: dict[tuple[str, str, str], Exporter] = {}

    def add(self, pod: str, *, tier: str = "chat", scrape: bool = True, **values: float) -> Exporter:
        """A replica that is scraped; `values` by the last words of a gauge's name."""
        given = {name: values.get(name.rsplit("_", 1)[-1], value) for name, value in GAUGES.items()}
        exporter = Exporter({**given, **dict.fromkeys(COUNTERS, 0.0)})
        self.exporters["team", tier, pod] = exporter
        if scrape:
            self.prometheus.targets(self.exporters)
        return exporter

    async def samples(self) -> Samples:
        """One round of the sampler."""
        metrics = PrometheusMetrics(Access(self.prometheus.url))
        sampler = Poller(metrics, WallClock(), queries(NAMES, scrape_seconds=10.0), PollConfig(SCRAPE, SCRAPE, 5.0))
        await sampler.round()
        metrics.close()
        return sampler.samples

    async def signals(self, *pods: str, tier: str = "chat") -> TierSignals:
        """What the operator sees of these ready replicas now."""
        return tier_signals(await self.samples(), "team", tier, pods, frozenset(pods), time.time())

    async def until(
        self, fits: Callable[[TierSignals], bool], *pods: str, tier: str = "chat", seconds: float = 60
    ) -> TierSignals:
        """The signals, once they fit."""
        deadline = time.monotonic() + seconds
        while not fits(found := await self.signals(*pods, tier=tier)):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.3)
        return found

    def stop(self) -> None:
        self.prometheus.stop()
        for exporter in self.exporters.values():
            exporter.stop()


@contextmanager
def prometheus_scene(folder: Path) -> Iterator[Scene]:
    """The playground's Prometheus, running, without a target yet."""
    prometheus = OwnPrometheus(ensure() / "prometheus", folder, scrape_seconds=SCRAPE)
    prometheus.start()
    found = Scene(prometheus)
    try:
        yield found
    finally:
        found.stop()


def complete(signals: TierSignals) -> bool:
    return all(
        signal.has_value
        for pod in signals.pods
        for signal in (pod.running, pod.waiting, pod.kv_usage, pod.kv_capacity_tokens)
    )


def of(signals: TierSignals, pod: str) -> PodSample:
    return next(each for each in signals.pods if each.pod == pod)


async def until(look: Callable[[], Awaitable[Found]], fits: Callable[[Found], bool]) -> Found:
    """What is seen, once it fits."""
    deadline = time.monotonic() + 60
    while not fits(found := await look()):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.3)
    return found
