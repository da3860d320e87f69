"""Measures what a settled operator costs the API server and Prometheus.

Counted where nobody can flatter us: in the API server's audit log and in Prometheus' own request counter.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

import pytest

from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.audit import AuditLog, Request
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.prometheus import instant, queries_served
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, eventually, has
from tierwise.observe.signals import STALE_INTERVALS

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
TIERS = 20
SECONDS = 50
ROUND_SECONDS = 3  # the operator's tick in the tests
THROTTLE_SECONDS = 15
STALE_SECONDS = STALE_INTERVALS * ROUND_SECONDS  # of the longer of the tests' scrape interval and tick
LATE_SECONDS = 5  # between deciding to write and the API server's clock, on a busy machine
NAMES = [f"tier-{number:02d}" for number in range(TIERS)]


def _unsettled(kubectl: Kubectl, names: Iterable[str]) -> list[str]:
    """Those of the tiers that are not ready and measured, or not there at all."""
    tiers = kubectl.find("modeltiers")
    settled = [seen for seen in tiers if has(seen, "Ready", "True") and has(seen, "MetricsAvailable", "True")]
    return sorted(set(names) - {seen["metadata"]["name"] for seen in settled})


def _generated(playground: Playground, namespace: str) -> dict[str, float]:
    """Tokens that the engines have generated, by tier."""
    query = f'sum by (tierwise_io_tier) (vllm:generation_tokens_total{{namespace="{namespace}"}})'
    return {labels["tierwise_io_tier"]: value for labels, value in instant(playground.prometheus_url, query)}


def _oldest(playground: Playground, namespace: str) -> float:
    """How old the oldest measurement was that could be had in the last seconds, in seconds."""
    age = f'time() - timestamp(vllm:num_requests_running{{namespace="{namespace}"}})'
    return instant(playground.prometheus_url, f"max(max_over_time(({age})[{SECONDS}s:1s]))")[0][1]


@dataclass(frozen=True, slots=True)
class Quiet:
    """What was seen while nothing happened: queries that Prometheus answered in most rounds, the operator's writes."""

    queries_in_a_round: int
    writes: list[Request]


def _look(playground: Playground, audit: AuditLog, seconds: float, namespaces: Iterable[str]) -> Quiet:
    """Look so long; writes outside these namespaces are left out, since those of other modules are being deleted."""
    audit.restart()
    ((usual, _),) = Counter(_rounds(playground.prometheus_url, seconds)).most_common(1)
    return Quiet(usual, _writes(audit, namespaces))


def _writes(audit: AuditLog, namespaces: Iterable[str]) -> list[Request]:
    return [each for each in audit.requests() if each.writes and each.namespace in namespaces]


def _rounds(url: str, seconds: float) -> list[int]:
    """The queries of each of the operator's rounds that end within so many seconds, but for the first, of which a part
    may have been asked before. A round ends where Prometheus is asked nothing for half the time between two: how many
    rounds there are in a second is the machine's business."""
    found: list[int] = []
    until = time.monotonic() + seconds
    begun = before = queries_served(url)
    changed = time.monotonic()
    while time.monotonic() < until:
        time.sleep(0.2)
        served = queries_served(url)
        if served != before:
            before, changed = served, time.monotonic()
        elif before != begun and time.monotonic() - changed > ROUND_SECONDS / 2:
            found.append(int(before - begun))
            begun = before
    assert len(found) > 3, f"the operator's rounds asked {found} questions in {seconds:.0f} s"
    return found[1:]


@pytest.fixture(scope="module")
def round_for_one_tier(playground: Playground, new_namespace: Callable[[str], Kubectl], operators_log: AuditLog) -> int:
    """Queries of a round while there is one tier (apart from those of other modules, which have none ready)."""
    kubectl = new_namespace("one")
    kubectl.apply(cheap("only"))
    eventually(lambda: _unsettled(kubectl, ["only"]), lambda names: not names, 180, "the tier is ready and measured")
    asked = _look(playground, operators_log, SECONDS / 2, ()).queries_in_a_round
    kubectl("delete", "modeltier", "only")
    return asked


@pytest.fixture(scope="module")
def many(round_for_one_tier: int, new_namespace: Callable[[str], Kubectl], operators_log: AuditLog) -> Kubectl:
    """A namespace with twenty settled tiers: the last change is told when two throttles have passed without a write."""
    kubectl = new_namespace("many")
    kubectl.apply(*(cheap(name, batching={"maxSequences": 16}) for name in NAMES))
    eventually(lambda: _unsettled(kubectl, NAMES), lambda names: not names, 240, "all tiers are ready and measured")
    for _ in range(6):
        operators_log.restart()
        time.sleep(2 * THROTTLE_SECONDS)
        if not [each for each in operators_log.requests() if each.writes and each.namespace == kubectl.namespace]:
            return kubectl
    raise AssertionError(f"twenty tiers without load are written to for {6 * 2 * THROTTLE_SECONDS} s")


@pytest.fixture(scope="module")
def quiet(playground: Playground, many: Kubectl, release: Release, operators_log: AuditLog) -> Quiet:
    """Twenty settled tiers without load. Where a busy machine made scrapes late, tiers were rightly said to be without
    measurements, which is a write: then it is looked again."""
    ages = []
    for _ in range(4):
        seen = _look(playground, operators_log, SECONDS, (many.namespace, release.namespace))
        ages.append(_oldest(playground, many.namespace))
        if ages[-1] < STALE_SECONDS:
            return seen
    raise AssertionError(f"measurements were up to {ages} s old, and are stale after {STALE_SECONDS} s")


def test_twenty_settled_tiers_without_load_cost_no_write_but_the_lease(quiet: Quiet) -> None:
    assert [request for request in quiet.writes if request.resource != "leases"] == []
    assert len(quiet.writes) >= SECONDS / 10, "the operator is alive: it renews its Lease"


def test_a_cycle_asks_prometheus_as_often_for_twenty_tiers_as_for_one(quiet: Quiet, round_for_one_tier: int) -> None:
    assert quiet.queries_in_a_round == round_for_one_tier > 0


def test_under_constant_load_a_status_is_written_once_in_fifteen_seconds_at_most(
    playground: Playground, many: Kubectl, operators_log: AuditLog
) -> None:
    with closed_loop(playground, many.namespace, dict.fromkeys(NAMES, 1)):
        time.sleep(2 * THROTTLE_SECONDS)
        before = _generated(playground, many.namespace)
        operators_log.restart()
        time.sleep(SECONDS)
        writes = _writes(operators_log, [many.namespace])
        after = _generated(playground, many.namespace)
    assert [name for name in NAMES if after[name] <= before[name]] == [], "tiers that the load did not reach"
    assert writes, "the statuses follow the load"
    assert {(request.verb, request.resource) for request in writes} == {("patch", "modeltiers/status")}
    assert all(request.code == 200 for request in writes)
    for name in NAMES:
        times = [request.at for request in writes if request.name == name]
        # Each may be late, which makes one gap longer and the next one shorter, and never their sum much less.
        for (first, earlier), (last, later) in combinations(enumerate(times), 2):
            assert later - earlier >= THROTTLE_SECONDS * (last - first) - LATE_SECONDS, (name, times)
