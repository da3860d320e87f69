"""Checks a loaded tier while measurements are missing, late, broken, old or forged.

One rule, seen from many sides: a number that is not known lowers nothing. Every test has a tier under a steady load
that wants two replicas and would be given one if silence were taken for idleness.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.e2e.prometheus import instant
from tests.cluster.kubectl import eventually, has
from tests.cluster.process import Operator
from tests.faults.effects import Answer, Delay, Rewrite
from tests.faults.forger import forger, page
from tests.faults.ledger import Blind
from tests.faults.proxy import Effect, Proxy
from tests.faults.results import Sheet
from tests.faults.scene import SOON, STALE, TICK, USERS, WANTED, WINDOW, Scene, follower, held, ready_pods
from tests.faults.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("rested")]
OUTAGE = 120.0
# Long enough that a target which may fall has fallen: the window, and two decisions.
LONG = WINDOW + 2 * TICK


@pytest.fixture(scope="module")
def prometheus(playground: Playground) -> Iterator[Proxy]:
    """The way from the operator to Prometheus."""
    with Proxy(playground.prometheus_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def operator(stage: Stage, prometheus: Proxy) -> Iterator[Operator]:
    """An operator that asks Prometheus through that proxy."""
    with stage.operator(prometheus_url=prometheus.url) as running:
        yield running


def limited(scene: Scene, reason: str) -> None:
    """Waits until a decision says that it would have lowered the target, and why it did not."""
    eventually(
        lambda: scene.kubectl.tier("steady"),
        lambda tier: tier["status"].get("limitedBy") == reason,
        SOON,
        f"steady is limited by {reason}",
    )


def test_prometheus_is_gone_for_two_minutes(scene: Scene, faults: Sheet) -> None:
    """Three tiers: one whose load stays, one whose load ends meanwhile, one whose load begins meanwhile."""
    scene.kubectl.apply(follower("ending"), follower("starting"))
    scene.follows("ending", 1)
    scene.follows("starting", 1)
    with (
        scene.replicas("steady") as steady,
        scene.replicas("ending") as ending,
        scene.replicas("starting") as starting,
    ):
        with scene.loaded(ending=USERS):
            scene.follows("ending", WANTED)
            scene.playground.control("stop", "prometheus")
            began, since = time.monotonic(), time.time() + STALE
        with scene.loaded(starting=USERS):
            try:
                noticed, message = scene.says("steady", "MetricsAvailable", "False", "PrometheusError", since=began)
                assert "Prometheus at http://" in message
                time.sleep(max(0.0, OUTAGE - (time.monotonic() - began)))
            finally:
                until = time.time()
                scene.playground.control("start", "prometheus")
            back = time.monotonic()
            assert (held(steady, began), held(ending, began), held(starting, began)) == ({WANTED}, {WANTED}, {1})
            eventually(lambda: starting.last, lambda last: last == WANTED, SOON, "what waits is served")
            recovered = time.monotonic() - back
            eventually(lambda: ending.last, lambda last: last == 1, SOON, "what nobody uses ends")
            scene.says("steady", "MetricsAvailable", "True", since=back)
            time.sleep(LONG)
            assert held(steady, began) == {WANTED}, "no gap in the counters lowers it afterwards"
    scene.kubectl("delete", "modeltier", "ending", "starting", "--wait=false")
    blind = [Blind(scene.kubectl.namespace, tier, since, until) for tier in ("steady", "ending", "starting")]
    faults.record(
        row="7",
        fault="Prometheus is gone for 2 minutes under load",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=scene.wrong(*blind),
    )


@pytest.mark.parametrize(
    ("row", "mode", "reason", "fault"),
    [
        ("8", "hang", "MetricsPartial", "The busiest replica's /metrics hangs"),
        ("8", "error", "MetricsPartial", "The busiest replica's /metrics answers 500"),
        ("9", "nan", "MetricsInvalid", "The busiest replica reports NaN"),
        ("9", "inf", "MetricsInvalid", "The busiest replica reports infinity"),
    ],
    ids=["hang", "error", "nan", "inf"],
)
def test_a_replica_is_not_measured(scene: Scene, faults: Sheet, row: str, mode: str, reason: str, fault: str) -> None:
    """What is left of the load asks for one replica, and the decision says that it is not believed."""
    pod = scene.busiest("steady")
    with scene.replicas("steady") as steady:
        began = time.monotonic()
        scene.metrics(pod, mode)
        try:
            noticed, message = scene.says("steady", "MetricsAvailable", "False", reason, since=began)
            assert pod["metadata"]["name"] in message
            limited(scene, "NoMetrics")
            time.sleep(max(0.0, LONG - (time.monotonic() - began)))
        finally:
            scene.metrics(pod, "ok")
        recovered, _ = scene.says("steady", "MetricsAvailable", "True", since=time.monotonic())
        assert held(steady, began) == {WANTED}
    faults.record(row=row, fault=fault, detect_seconds=noticed, recover_seconds=recovered, wrong=scene.wrong())


def _engine_job(configuration: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = configuration["scrape_configs"][0]
    return job


def test_series_are_stale(scene: Scene, faults: Sheet) -> None:
    """Prometheus forgets its targets and goes on to answer what it scraped last."""

    def forget(configuration: dict[str, Any]) -> None:
        _engine_job(configuration)["kubernetes_sd_configs"] = []

    with scene.replicas("steady") as steady:
        began = time.monotonic()
        with scene.rescraped(forget):
            noticed, _ = scene.says("steady", "MetricsAvailable", "False", "MetricsStale", since=began)
            assert instant(scene.playground.prometheus_url, "vllm:num_requests_running"), "Prometheus has an answer"
            time.sleep(max(0.0, LONG - (time.monotonic() - began)))
        recovered, _ = scene.says("steady", "MetricsAvailable", "True", since=time.monotonic())
        assert held(steady, began) == {WANTED}
    faults.record(
        row="8",
        fault="Prometheus answers with old values only",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=scene.wrong(),
    )


@pytest.mark.parametrize("all_of_them", [False, True], ids=["one", "all"])
def test_engines_restart_and_their_counters_begin_again(scene: Scene, faults: Sheet, all_of_them: bool) -> None:
    """Queues and counters of a new process are at zero, and its users are thrown off."""
    dying = ready_pods(scene.kubectl, "steady")[: None if all_of_them else 1]
    with scene.replicas("steady") as steady:
        began = time.monotonic()
        for pod in dying:
            scene.engine(pod, "/sim/die", {"exit_code": 1})
        noticed = scene.misses("steady", WANTED, since=began)
        scene.follows("steady", WANTED, 2 * SOON)
        recovered = time.monotonic() - began
        time.sleep(LONG)
        assert held(steady, began) == {WANTED}
    assert set(scene.identities("steady")) >= {pod["metadata"]["name"] for pod in dying}, "the same pods"
    faults.record(
        row="10",
        fault=f"{'Every engine' if all_of_them else 'An engine'} restarts, its counters are reset",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=scene.wrong(),
    )


def _forged(scene: Scene, requests: float) -> None:
    """Waits until Prometheus holds the forger's series."""
    eventually(
        lambda: instant(scene.playground.prometheus_url, 'vllm:num_requests_running{tierwise_io_tier="steady"}'),
        lambda found: any(value == requests for _, value in found),
        SOON,
        "the forged series are there",
    )


@pytest.fixture
def forging(scene: Scene) -> Iterator[Callable[[float, dict[str, str]], None]]:
    """Starts a pod that says that so many requests run and wait, under labels of its choice."""

    def start(requests: float, labels: dict[str, str]) -> None:
        scene.kubectl.apply(forger("forger", "steady", page(labels, requests, 16)))
        _forged(scene, requests)

    yield start
    scene.kubectl("delete", "pod", "forger", "--ignore-not-found", "--timeout=30s")


def test_a_foreign_pod_exports_the_tiers_label(
    scene: Scene, faults: Sheet, forging: Callable[[float, dict[str, str]], None]
) -> None:
    victim = scene.busiest("steady")["metadata"]["name"]
    labels = {"namespace": scene.kubectl.namespace, "pod": victim, "tierwise_io_tier": "steady"}
    with scene.replicas("steady") as steady:
        began = time.monotonic()
        forging(900.0, labels)
        time.sleep(LONG)
        assert held(steady, began) == {WANTED}
        assert has(scene.kubectl.tier("steady"), "MetricsAvailable", "True"), "who lies is not counted as missing"
    faults.record(
        row="11",
        fault="A foreign pod exports the labels of a tier and of its replica",
        detect_seconds=None,
        recover_seconds=None,
        wrong=scene.wrong(),
    )


@pytest.mark.parametrize("requests", [900.0, 0.0], ids=["raise", "lower"])
def test_a_scrape_believes_the_labels_of_its_targets(
    scene: Scene, faults: Sheet, forging: Callable[[float, dict[str, str]], None], requests: float
) -> None:
    """honor_labels: a series of the foreign pod stands beside those of the replica, under the replica's labels."""

    def believe(configuration: dict[str, Any]) -> None:
        _engine_job(configuration)["honor_labels"] = True

    victim = scene.busiest("steady")["metadata"]["name"]
    labels = {"namespace": scene.kubectl.namespace, "pod": victim, "tierwise_io_tier": "steady"}
    with scene.replicas("steady") as steady:
        began = time.monotonic()
        with scene.rescraped(believe):
            forging(requests, labels)
            time.sleep(LONG)
            assert held(steady, began) == {WANTED}
    faults.record(
        row="11",
        fault=f"honor_labels, and a foreign pod reports {requests:.0f} requests as a replica",
        detect_seconds=None,
        recover_seconds=None,
        wrong=scene.wrong(),
    )


def test_two_jobs_scrape_every_replica(scene: Scene, faults: Sheet) -> None:
    """Each replica has each series twice."""

    def twice(configuration: dict[str, Any]) -> None:
        again = json.loads(json.dumps(_engine_job(configuration)))
        again["job_name"] = "again"
        again["relabel_configs"] = [rule for rule in again["relabel_configs"] if rule.get("target_label") != "job"]
        configuration["scrape_configs"].append(again)

    with scene.replicas("steady") as steady:
        began = time.monotonic()
        with scene.rescraped(twice):
            eventually(
                lambda: instant(scene.playground.prometheus_url, 'up{job="again"} == 1'),
                lambda found: {labels["pod"] for labels, _ in found} >= scene.identities("steady").keys(),
                SOON,
                "every replica is scraped twice",
            )
            time.sleep(LONG)
            assert held(steady, began) == {WANTED}
    faults.record(
        row="11",
        fault="Every replica is scraped twice",
        detect_seconds=None,
        recover_seconds=None,
        wrong=scene.wrong(),
    )


def _empty(_: bytes) -> bytes:
    return b'{"status":"success","data":{"resultType":"vector","result":[]}}'


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


@pytest.mark.parametrize(
    ("effect", "reason", "word", "fault"),
    [
        (Delay(8.0), "PrometheusError", "did not answer within", "Prometheus answers after 8 s, a query may take 2 s"),
        (Answer(503, body=b"overloaded"), "PrometheusError", "HTTP 503", "Prometheus answers 503"),
        (Rewrite(_half), "PrometheusError", "not as Prometheus does", "Prometheus' answers end in the middle"),
        (Rewrite(_empty), "MetricsMissing", "no scrape target", "Prometheus answers with nothing"),
    ],
    ids=["slow", "503", "truncated", "empty"],
)
def test_prometheus_answers_badly(
    scene: Scene, prometheus: Proxy, faults: Sheet, effect: Effect, reason: str, word: str, fault: str
) -> None:
    with scene.replicas("steady") as steady:
        began = time.monotonic()
        with prometheus.rule("*", "*", effect):
            noticed, _ = scene.says("steady", "MetricsAvailable", "False", reason, since=began, word=word)
            time.sleep(max(0.0, LONG - (time.monotonic() - began)))
        recovered, _ = scene.says("steady", "MetricsAvailable", "True", since=time.monotonic())
        assert held(steady, began) == {WANTED}
    faults.record(row="7", fault=fault, detect_seconds=noticed, recover_seconds=recovered, wrong=scene.wrong())
