"""Checks what a real Prometheus answers of routers: whose numbers they are, and what their refusals add up to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.metrics_scene import Scene, complete, prometheus_scene, until
from tests.cluster.scraped import Exporter
from tierwise.observe.signals import router_samples, tier_signals
from tierwise_router.tier import REFUSALS

pytestmark = pytest.mark.cluster


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with prometheus_scene(tmp_path / "prometheus") as found:
        yield found


def page(**tiers: tuple[int, int, int, int]) -> Callable[[], str]:
    """What a router exports: by tier wanted, waiting (of each class), in flight, refused (for each reason)."""

    def text() -> str:
        lines = []
        for name, (wanted, waiting, in_flight, refused) in tiers.items():
            label = f'tier="{name}"'
            lines += [f"tierwise_router_wanted_total{{{label}}} {wanted}"]
            lines += [f"tierwise_router_in_flight{{{label}}} {in_flight}"]
            for priority in ("interactive", "batch"):
                lines += [f'tierwise_router_waiting{{{label},priority="{priority}"}} {waiting}']
            for reason in REFUSALS:
                lines += [f'tierwise_router_refused_total{{{label},reason="{reason}"}} {refused}']
        return "\n".join(lines)

    return text


async def test_what_each_router_says_of_each_tier_is_found_under_that_tier(scene: Scene) -> None:
    one, two = Exporter(extra=page(chat=(5, 2, 1, 0), code=(1, 0, 0, 0))), Exporter(extra=page(chat=(7, 0, 0, 0)))
    stranger = Exporter(extra=page(chat=(99, 99, 99, 99)))
    scene.exporters |= {("team", "route", name): each for name, each in (("r1", one), ("r2", two), ("x", stranger))}
    routers = {("team", "route", "r1"): one, ("team", "route", "r2"): two}
    scene.prometheus.targets({("team", "chat", "x"): stranger}, routers)

    async def said(tier: str) -> dict[str, tuple[float, float, float]]:
        found = router_samples(await scene.samples(), "team", tier, {"r1": 0.0, "r2": 0.0, "x": 0.0}, time.time())
        return {
            each.router: (each.wanted.value, each.waiting.value, each.in_flight.value)
            for each in found
            if each.wanted.has_value
        }

    # Waited for as a whole: on a busy machine a single scrape of one of them may be late.
    await until(lambda: said("chat"), lambda found: found == {"r1": (5.0, 4.0, 1.0), "r2": (7.0, 0.0, 0.0)})
    await until(lambda: said("code"), lambda found: found == {"r1": (1.0, 0.0, 0.0)})
    two.stop()
    # One that is gone is missing, not idle.
    await until(lambda: said("chat"), lambda found: found == {"r1": (5.0, 4.0, 1.0)})
    del scene.exporters["team", "route", "r2"]


async def test_refusals_of_the_last_minute_are_a_rate_of_their_own(scene: Scene) -> None:
    counts = [0]
    router = Exporter(extra=lambda: page(chat=(0, 0, 0, counts[0]))())
    engine = scene.add("a", scrape=False)
    engine.extra = lambda: "\n".join(
        f'vllm:admission_rejections_total{{model_name="m",reason="{reason}"}} {counts[0]}'
        for reason in ("max_num_queued_reqs", "max_num_queued_tokens")
    )
    scene.exporters["team", "route", "r1"] = router
    scene.prometheus.targets({("team", "chat", "a"): engine}, {("team", "route", "r1"): router})
    await scene.until(complete, "a")
    await asyncio.sleep(2)
    counts[0] = 10
    engine.values["vllm:request_generation_tokens_count"] = 20.0

    async def seen() -> tuple[float, float, float]:
        samples = await scene.samples()
        (said,) = router_samples(samples, "team", "chat", {"r1": 0.0}, time.time())
        signals = tier_signals(samples, "team", "chat", ["a"], frozenset({"a"}), time.time())
        return said.refused.value, signals.rejected_lately.value, signals.finished_lately.value

    await until(seen, lambda found: min(found) > 0)
    await asyncio.sleep(2)
    refused, rejected, finished = await seen()
    # Prometheus extends an increase to the ends of its window, which differ a little.
    assert refused == pytest.approx(2 * finished, rel=0.2), "four reasons for want of room, and not the two of money"
    assert rejected == pytest.approx(finished, rel=0.2), "both reasons"
