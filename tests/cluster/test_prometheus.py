"""Checks what a real Prometheus answers when engines hang, report wrong values, restart or vanish.

A Prometheus and exporters of the test's own, asked by the operator's own queries, read by its own code. Each case is an
outage somebody had, in which a number went down although the load did not.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.metrics_scene import (
    COUNTERS,
    GAUGES,
    NAMES,
    SCRAPE,
    Scene,
    WallClock,
    complete,
    of,
    prometheus_scene,
)
from tests.cluster.scraped import Exporter, eventually
from tierwise.observe import queries
from tierwise.observe import signals as kinds
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.signals import PodKey
from tierwise.ports import Series
from tierwise.prom.client import Access, PrometheusMetrics
from tierwise.types import PodSample, State, TierSignals

pytestmark = pytest.mark.cluster


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with prometheus_scene(tmp_path / "prometheus") as found:
        yield found


async def test_replicas_are_measured_with_the_age_of_their_scrape(scene: Scene) -> None:
    began = time.time()
    scene.add("a", running=5.0)
    scene.add("b", running=40.0)
    signals = await scene.until(lambda found: complete(found) and found.targets_up == 2, "a", "b")
    assert [pod.running.value for pod in signals.pods] == [5.0, 40.0]
    assert of(signals, "a").waiting.value == 2
    assert of(signals, "a").kv_usage.value == 0.25
    assert of(signals, "a").kv_capacity_tokens.value == 16000
    assert (signals.targets_up, signals.targets_down) == (2, 0)
    assert began - 1 < (of(signals, "a").running.at or 0) <= time.time()


async def test_a_hung_page_is_missing_and_not_an_idle_replica(scene: Scene) -> None:
    """sum() falls from 45 to 5 here: that is what scaled others down."""
    scene.add("a", running=5.0)
    drowning = scene.add("b", running=40.0)
    await scene.until(complete, "a", "b")
    drowning.hang = True

    def missing(found: TierSignals) -> bool:
        """All of it together: on a busy machine a single scrape of `a` may be late as well."""
        up_and_down = (found.targets_up, found.targets_down) == (1, 1)
        return up_and_down and of(found, "a").running.has_value and of(found, "b").running.state is State.MISSING

    signals = await scene.until(missing, "a", "b")
    assert of(signals, "a").running.value == 5
    drowning.hang = False
    await scene.until(lambda found: complete(found) and found.targets_up == 2, "a", "b")


async def test_a_replica_that_is_not_scraped_has_no_target(scene: Scene) -> None:
    scene.add("a")
    await scene.until(complete, "a")
    signals = await scene.until(lambda found: (found.targets_up, found.targets_down) == (1, 0), "a", "new")
    assert of(signals, "new") == PodSample("new")


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -3.0])
async def test_values_that_are_none_are_invalid(scene: Scene, nonsense: float) -> None:
    broken = scene.add("a")
    broken.values = {**dict.fromkeys(GAUGES, nonsense), **dict.fromkeys(COUNTERS, nonsense)}
    signals = await scene.until(lambda found: of(found, "a").running.state is State.INVALID, "a")
    assert of(signals, "a").kv_usage.state is State.INVALID
    assert not signals.tokens_per_request.has_value


async def test_a_prometheus_that_comes_back_without_the_target_has_stale_series(scene: Scene) -> None:
    """No stale marker was written: the last value is answered for five minutes."""
    scene.add("a")
    await scene.until(complete, "a")
    scene.prometheus.stop()
    scene.prometheus.targets({})
    scene.prometheus.start()
    signals = await scene.until(lambda found: of(found, "a").running.state is State.STALE, "a")
    assert of(signals, "a").kv_usage.state is State.STALE
    assert "5" in str(await _raw(scene, 'vllm:num_requests_running{pod="a"}')), "Prometheus still gives the value"


async def test_a_target_that_is_gone_is_missing(scene: Scene) -> None:
    scene.add("a")
    await scene.until(complete, "a")
    scene.prometheus.targets({})
    signals = await scene.until(lambda found: of(found, "a").running.state is State.MISSING, "a")
    assert (signals.targets_up, signals.targets_down) == (0, 0)


async def test_means_and_ratios_come_from_counters_and_survive_their_reset(scene: Scene) -> None:
    engine = scene.add("a")

    async def work(seconds: int) -> None:
        for _ in range(seconds):
            for name, amount in zip(COUNTERS, (900, 100, 900, 300, 4, 800, 200, 30, 21), strict=True):
                engine.values[name] += amount
            await asyncio.sleep(1)

    await scene.until(complete, "a")
    await work(8)
    before = await scene.signals("a")
    assert before.tokens_per_request.value == pytest.approx(300, rel=0.01)
    assert before.prefix_hit_ratio.value == pytest.approx(0.25, rel=0.01)
    assert before.accepted_ratio.value == pytest.approx(0.7, rel=0.01)
    assert before.tokens_per_second.value > 100
    assert before.draft_tokens_per_second.value > 3
    engine.values.update(dict.fromkeys(COUNTERS, 0.0))
    await work(4)
    after = await scene.signals("a")
    assert after.tokens_per_request.value == pytest.approx(300, rel=0.01)
    assert after.tokens_per_second.value >= before.tokens_per_second.value * 0.9


async def test_a_rate_waits_for_a_full_window_and_a_mean_does_not(scene: Scene) -> None:
    engine = scene.add("a")
    await scene.until(complete, "a")
    engine.values.update(dict.fromkeys(COUNTERS, 50.0))
    signals = await scene.until(lambda found: found.tokens_per_request.has_value, "a")
    assert signals.tokens_per_second.state is State.MISSING
    assert (await scene.until(lambda found: found.tokens_per_second.has_value, "a")).tokens_per_request.has_value


async def test_a_replica_that_two_jobs_scrape_counts_once_and_its_engines_add_up(scene: Scene) -> None:
    engine = scene.add("a", running=5.0)
    twin = Exporter(dict(engine.values))
    engine.extra = lambda: 'vllm:num_requests_running{engine="1",model_name="m"} 7'
    scene.prometheus.targets({**scene.exporters, ("team", "chat", "a"): engine})
    both = [
        {"targets": [each.address], "labels": {"namespace": "team", "tierwise_io_tier": "chat", "pod": "a"}}
        for each in (engine, twin)
    ]
    scene.prometheus.write_targets(both)
    try:
        signals = await scene.until(lambda found: of(found, "a").running.value == 12, "a")
        assert of(signals, "a").kv_usage.value == 0.25
        assert of(signals, "a").kv_capacity_tokens.value == 16000
    finally:
        twin.stop()


async def test_labels_may_hold_anything(scene: Scene) -> None:
    """A name that ends a selector, or a line, changes no question and joins only its own tier."""
    evil = 'm"} or vector(9999) or x{y="'
    scene.add("a")
    scene.add("b", tier=evil, running=77.0)
    scene.add("c\nd\\", running=8.0)
    signals = await scene.until(complete, "a", "c\nd\\")
    assert [pod.running.value for pod in signals.pods] == [5.0, 8.0]
    assert of(await scene.until(complete, "b", tier=evil), "b").running.value == 77
    assert (await scene.samples()).pods.keys() == {
        PodKey("team", "chat", "a"), PodKey("team", evil, "b"), PodKey("team", "chat", "c\nd\\"),
    }  # fmt: skip


async def test_further_labels_choose_among_clusters_whatever_they_hold(scene: Scene) -> None:
    scene.add("a")
    await scene.until(complete, "a")
    metrics = PrometheusMetrics(Access(scene.prometheus.url))
    for value, found in ((scene.exporters["team", "chat", "a"].address, 4), ('x"} or vector(9999) or up{y="', 0)):
        load, *rest = queries(NAMES, matchers={"instance": value})
        assert len(await metrics.query(load.promql)) == found
        for query in rest:
            await metrics.query(query.promql)
    metrics.close()


async def test_as_many_questions_for_twenty_tiers_as_for_one(scene: Scene) -> None:
    async def asked() -> float:
        before = _served(scene.prometheus.url)
        await scene.samples()
        return _served(scene.prometheus.url) - before

    scene.add("a")
    await scene.until(complete, "a")
    one = await asked()
    for number in range(20):
        scene.add(f"pod-{number}", tier=f"tier-{number}", scrape=number == 19)
    eventually(lambda: _targets(scene.prometheus.url), lambda count: count == 21, 60, "all targets are scraped")
    samples = await scene.samples()
    assert len({key.tier for key in samples.pods}) == 21
    assert await asked() == one == len(queries(NAMES)) == 6  # all are asked here; LATENCY only where a tier needs it


async def test_a_prometheus_that_is_away_leaves_the_old_answers_and_a_sentence(scene: Scene) -> None:
    scene.add("a")
    await scene.until(complete, "a")
    metrics = PrometheusMetrics(Access(scene.prometheus.url, timeout_seconds=30))
    sampler = Poller(metrics, WallClock(), queries(NAMES), PollConfig(SCRAPE, SCRAPE, 30.0))
    await sampler.round()
    scene.prometheus.stop()
    await sampler.round()
    assert sampler.samples.pods[PodKey("team", "chat", "a")].values[kinds.RUNNING] == 5
    assert sampler.samples.problem.endswith("Connection refused; check the chart value prometheus.url")
    metrics.close()


async def _raw(scene: Scene, promql: str) -> list[Series]:
    metrics = PrometheusMetrics(Access(scene.prometheus.url))
    try:
        return list(await metrics.query(promql))
    finally:
        metrics.close()


def _served(url: str) -> float:
    """Requests to the query API that Prometheus has counted."""
    families = text_string_to_metric_families(requests.get(f"{url}/metrics", timeout=5).text)
    return sum(
        sample.value
        for family in families
        if family.name == "prometheus_http_requests"
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["handler"].startswith("/api/v1/query")
    )


def _targets(url: str) -> int:
    answer = requests.get(f"{url}/api/v1/query", params={"query": 'up{tierwise_io_tier!=""} == 1'}, timeout=5)
    return len(answer.json()["data"]["result"])
