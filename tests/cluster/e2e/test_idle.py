"""What does a settled operator cost the API server and Prometheus?

Counted where nobody can flatter us: in the API server's audit log and in Prometheus' own request counter.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from playground.handle import Playground
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.prometheus import instant, queries_served
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, eventually, has

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
TIERS = 20
SECONDS = 60
THROTTLE_SECONDS = 15
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


def _query_rate(playground: Playground, seconds: float) -> float:
    """Queries that Prometheus answered per second."""
    before, started = queries_served(playground.prometheus_url), time.monotonic()
    time.sleep(seconds)
    return (queries_served(playground.prometheus_url) - before) / (time.monotonic() - started)


@pytest.fixture(scope="module")
def rate_for_one_tier(playground: Playground, new_namespace: Callable[[str], Kubectl]) -> float:
    """Queries per second while there is one tier (apart from those of other modules, which have none ready)."""
    kubectl = new_namespace("one")
    kubectl.apply(cheap("only"))
    eventually(lambda: _unsettled(kubectl, ["only"]), lambda names: not names, 90, "the tier is ready and measured")
    rate = _query_rate(playground, SECONDS / 2)
    kubectl("delete", "modeltier", "only")
    return rate


@pytest.fixture(scope="module")
def many(rate_for_one_tier: float, new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """A namespace with twenty settled tiers."""
    kubectl = new_namespace("many")
    kubectl.apply(*(cheap(name, batching={"maxSequences": 16}) for name in NAMES))
    eventually(lambda: _unsettled(kubectl, NAMES), lambda names: not names, 240, "all tiers are ready and measured")
    time.sleep(2 * THROTTLE_SECONDS)  # what the last change still has to tell
    return kubectl


def test_twenty_settled_tiers_without_load_cost_no_write_but_the_lease(many: Kubectl, audit: AuditLog) -> None:
    audit.restart()
    time.sleep(SECONDS)
    writes = [request for request in audit.requests() if request.writes]
    assert {request.resource for request in writes} == {"leases"}
    assert len(writes) >= SECONDS / 10, "the operator is alive: it renews its Lease"


def test_a_cycle_asks_prometheus_as_often_for_twenty_tiers_as_for_one(
    playground: Playground, many: Kubectl, rate_for_one_tier: float
) -> None:
    rate = _query_rate(playground, SECONDS / 2)
    assert rate_for_one_tier > 0
    assert rate == pytest.approx(rate_for_one_tier, rel=0.15)


def test_under_constant_load_a_status_is_written_once_in_fifteen_seconds_at_most(
    playground: Playground, many: Kubectl, audit: AuditLog
) -> None:
    with closed_loop(playground, many.namespace, dict.fromkeys(NAMES, 1)):
        time.sleep(2 * THROTTLE_SECONDS)
        audit.restart()
        before = _generated(playground, many.namespace)
        time.sleep(SECONDS)
        after = _generated(playground, many.namespace)
        writes = [request for request in audit.requests() if request.writes and request.resource != "leases"]
    assert [name for name in NAMES if after[name] <= before[name]] == [], "tiers that the load did not reach"
    assert writes, "the statuses follow the load"
    assert {(request.verb, request.resource) for request in writes} <= {("patch", "modeltiers/status")}
    most = Counter(request.name for request in writes)
    assert all(count <= SECONDS // THROTTLE_SECONDS for count in most.values()), most
    assert all(request.code == 200 for request in writes)
