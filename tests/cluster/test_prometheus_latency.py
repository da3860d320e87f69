"""Checks with a real Prometheus that late requests are counted at the bound of a target, per replica and per engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.metrics_scene import Scene, complete, prometheus_scene
from tierwise.api.service_targets import ServiceTargets
from tierwise.observe.signals import tier_signals
from tierwise.types import TierSignals

pytestmark = pytest.mark.cluster
TARGETS = ServiceTargets.model_validate(
    {"ttft": {"percentile": 99, "milliseconds": 1000}, "interToken": {"percentile": 90, "milliseconds": 100}}
)
TTFT, TPOT = "vllm:time_to_first_token_seconds", "vllm:request_time_per_output_token_seconds"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A Prometheus without a target yet."""
    with prometheus_scene(tmp_path / "prometheus") as found:
        yield found


def histogram(name: str, bounds: dict[str, int], mean: float, engine: str) -> str:
    """A histogram as vLLM's client writes it."""
    count = max(bounds.values())
    lines = [f'{name}_bucket{{engine="{engine}",le="{bound}"}} {found}' for bound, found in bounds.items()]
    return "\n".join(
        [*lines, f'{name}_count{{engine="{engine}"}} {count}', f'{name}_sum{{engine="{engine}"}} {mean * count}']
    )


def page(times: int) -> str:
    """Two engines of one replica, each with ten requests more each time: nine within a second, eight answers fluent."""
    parts = []
    for engine in ("0", "1"):
        first = {"0.5": 5 * times, "1.0": 9 * times, "2.5": 10 * times, "+Inf": 10 * times}
        tokens = {"0.05": 2 * times, "0.1": 8 * times, "0.15": 9 * times, "+Inf": 10 * times}
        parts += [histogram(TTFT, first, 0.4, engine), histogram(TPOT, tokens, 0.06, engine)]
    return "\n".join(parts)


async def look(scene: Scene) -> TierSignals:
    """The tier with its service level."""
    samples = await scene.samples()
    return tier_signals(samples, "team", "chat", ["a"], frozenset({"a"}), time.time(), TARGETS)


async def test_late_requests_are_counted_over_the_engines_of_a_replica(scene: Scene) -> None:
    count = 1
    scene.add("a").extra = lambda: page(count)
    await scene.until(complete, "a")
    await asyncio.sleep(2)
    for _ in range(5):
        count += 1
        await asyncio.sleep(1)
    await asyncio.sleep(2)
    found = await look(scene)
    begun, ended = found.begun_lately, found.spoken_lately
    assert begun.value == pytest.approx(100, rel=0.5), "Prometheus extrapolates to the whole minute"
    # What is late is asked in another query, a moment before or after: the minute that it extrapolates to is another.
    assert found.late_first_tokens.value / begun.value == pytest.approx(0.1, rel=0.1)
    assert found.first_token_seconds.value / begun.value == pytest.approx(0.4, rel=0.01)
    assert found.late_answers.value / ended.value == pytest.approx(0.2, rel=0.01)


async def test_without_histograms_nothing_is_known(scene: Scene) -> None:
    scene.add("a")
    await scene.until(complete, "a")
    found = await look(scene)
    for signal in (found.begun_lately, found.late_first_tokens, found.late_answers):
        assert not signal.has_value
