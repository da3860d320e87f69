"""Checks what a real Prometheus answers about routers, from the router's own page to the operator's own columns.

Two routers that nobody asks: their pages are made by the router's collector, over a ledger and a purse that the test
writes in. No cluster is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from playground.binaries import ensure
from tests.cluster.metrics_scene import WallClock
from tests.cluster.scraped import Exporter, OwnPrometheus, eventually
from tests.unit.routing.classifiers import classifier
from tierwise.observe import route_queries
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.route_queries import route_signals
from tierwise.prom.client import Access, PrometheusMetrics
from tierwise.routing.budget import Lease
from tierwise.routing.content import usable
from tierwise.routing.cost import Usage
from tierwise.routing.route import Budget, ClassifierFile, Content, Decider, Overflow, Route, RouteTier
from tierwise.types import ClassifierReport, ClassifierStanding, RouteKey, RouteSignals, VerdictCounts
from tierwise_router.bodies import Bodies
from tierwise_router.metrics import RouterCollector
from tierwise_router.purse import Purse
from tierwise_router.record import Charge, Record
from tierwise_router.router_state import Clocks, RouterState
from tierwise_router.shadow_counts import AGAIN, BAD, CHEAPER, GOOD, JUDGE, MARGIN, UNKNOWN

pytestmark = pytest.mark.cluster
KEY = RouteKey("team", "chat")
BUDGET = Budget(Decimal(10))
TIERS = RouteTier("small", "m", urls=("http://127.0.0.1:1",)), RouteTier("large", "m", urls=("http://127.0.0.1:2",))
PERIOD = datetime(2026, 11, 1, tzinfo=UTC)


class Router:
    """One router and its page."""

    def __init__(self, name: str) -> None:
        self.name = name
        clocks = Clocks(time.monotonic, lambda: datetime.now(UTC), lambda: "r")
        purse = Purse(BUDGET, Overflow(), clocks.now, clocks.monotonic, leased=True)
        self.state = RouterState.of(Route("chat", ("chat",), TIERS, "small", budget=BUDGET), clocks, purse)
        registry = CollectorRegistry()
        registry.register(RouterCollector(self.state, Bodies()))
        self.exporter = Exporter(extra=lambda: generate_latest(registry).decode())

    def answers(self, tier: str, count: int, reason: str = "Default", seconds: float = 0.2) -> None:
        for _ in range(count):
            record = Record("r", 0.0, tier=tier, reason=reason, status=200, outcome="ok", first_content_at=seconds)
            record.charges.append(Charge(tier, Usage(input=10, output=10), Decimal("0.001")))
            self.state.ledger.add(record, 1.0)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[OwnPrometheus]:
    server = OwnPrometheus(ensure() / "prometheus", tmp_path / "prometheus", scrape_seconds=1.0)
    server.start()
    yield server
    server.stop()


def scraped(prometheus: OwnPrometheus, *routers: Router) -> None:
    labels = {"namespace": "team", "tierwise_io_route": "chat"}
    prometheus.write_targets(
        [{"targets": [one.exporter.address], "labels": {**labels, "pod": one.name}} for one in routers]
    )


def test_the_traffic_and_the_money_of_two_routers_are_read_and_a_dead_one_says_nothing(
    prometheus: OwnPrometheus,
) -> None:
    one, two = Router("chat-router-1"), Router("chat-router-2")
    metrics = PrometheusMetrics(Access(prometheus.url))
    poller = Poller(metrics, WallClock(), route_queries(), PollConfig(1.0, 1.0, 5.0))

    def look() -> RouteSignals:
        asyncio.run(poller.round())
        return route_signals(poller.samples.routes, KEY, [one.name, two.name], time.time(), 10.0)

    try:
        assert look() == RouteSignals(heard=True)
        for router in (one, two):
            router.answers("small", 1)
            router.answers("large", 1, "Spill")
        scraped(prometheus, one, two)
        # Without a lease a router says that it has spent nothing of a period that it does not know.
        quiet = eventually(look, lambda seen: len(seen.wallets) == 2, 60, "both routers are scraped")
        assert {wallet.period for wallet in quiet.wallets.values()} == {0.0}
        assert (quiet.waiting, quiet.ttft_p95) == (0.0, None)
        lease = Lease(PERIOD, Decimal(1), datetime.now(UTC) + timedelta(hours=1))
        one.state.purse.follow(lease)
        hold = one.state.purse.hold(Decimal("0.25"), spilled=False)
        assert hold is not None
        one.state.purse.settle(hold, Decimal("0.125"))
        one.state.purse.hold(Decimal("0.5"), spilled=False)
        for _ in range(8):
            one.answers("small", 9)
            two.answers("large", 3, "Spill", seconds=30.0)
            spill = two.state.purse.hold(Decimal(0), spilled=True)
            assert spill is not None
            two.state.purse.settle(spill, Decimal("0.05"))
            time.sleep(1.0)

        def is_busy(seen: RouteSignals) -> bool:
            wallet = seen.wallets.get(one.name)  # none where a scrape is late
            return wallet is not None and wallet.spent > 0 and seen.share.get("small", 0) > 60

        busy = eventually(look, is_busy, 60, "it is busy")
        wallet = busy.wallets[one.name]
        assert (wallet.spent, wallet.reserved, wallet.largest) == (Decimal("0.125"), Decimal("0.5"), Decimal("0.5"))
        assert wallet.period == PERIOD.timestamp()
        assert abs(wallet.at - time.time()) < 30
        small, large = busy.share["small"], busy.share["large"]
        assert 0.6 < small / (small + large) < 0.9
        assert busy.requests_per_second is not None
        assert 0.5 < busy.requests_per_second < 15
        assert busy.cost_per_hour is not None
        assert 0.1 < busy.cost_per_hour < 60
        assert busy.spilled is not None
        assert abs(busy.spilled - large) < 1e-6
        assert busy.fallbacks == 0
        assert busy.spill_cost is not None
        assert 0.2 < busy.spill_cost < 0.6
        assert busy.ttft_p95 is not None
        assert 20 <= busy.ttft_p95 <= 40
        two.exporter.stop()
        alone = eventually(look, lambda seen: set(seen.wallets) == {one.name}, 60, "the dead router says nothing")
        assert set(alone.share) == {"small", "large"}
        assert alone.spill_cost is not None
        assert alone.spill_cost >= 0.9 * busy.spill_cost, "what it has spilled for counts for an hour"
        assert alone.spilled == 0
    finally:
        metrics.close()
        one.exporter.stop()


def test_verdicts_are_read_router_by_router_as_they_were_counted(prometheus: OwnPrometheus) -> None:
    one, two = Router("chat-router-1"), Router("chat-router-2")
    metrics = PrometheusMetrics(Access(prometheus.url))
    poller = Poller(metrics, WallClock(), route_queries(), PollConfig(1.0, 1.0, 5.0))

    def look() -> Mapping[str, VerdictCounts]:
        asyncio.run(poller.round())
        return route_signals(poller.samples.routes, KEY, [one.name, two.name], time.time(), 10.0).verdicts

    try:
        scraped(prometheus, one, two)
        nothing = {one.name: VerdictCounts(), two.name: VerdictCounts()}
        eventually(look, lambda seen: seen == nothing, 60, "both routers say that they have sampled nothing")
        counts = one.state.shadows
        counts.sampled.update(cheaper=40, reference=10)
        # The verdicts on two cheaper tiers are added up; unknown ones are none.
        for tier, routed, verdict, count in (
            ("small", CHEAPER, GOOD, 30),
            ("middle", CHEAPER, GOOD, 5),
            ("small", CHEAPER, BAD, 2),
            ("small", CHEAPER, UNKNOWN, 3),
            ("small", MARGIN, BAD, 4),
            ("large", AGAIN, GOOD, 6),
        ):
            counts.verdicts[tier, routed, verdict] += count
        counts.pay("judge", JUDGE, Decimal("0.01"))
        expected = VerdictCounts(40, 10, cheaper_good=35, cheaper_bad=2, margin_bad=4, again_good=6)
        both = {one.name: expected, two.name: VerdictCounts()}
        eventually(look, lambda seen: seen == both, 60, "what one router has counted")
        two.exporter.stop()
        eventually(look, lambda seen: set(seen) == {one.name}, 60, "the dead router says nothing")
    finally:
        metrics.close()
        one.exporter.stop()


def test_what_the_routers_make_of_a_classifier_is_read_and_the_worst_of_it_told(prometheus: OwnPrometheus) -> None:
    one, two = Router("chat-router-1"), Router("chat-router-2")
    content = Content(Decider.CLASSIFIER, classifier=ClassifierFile("classifier.bin"))
    for router in (one, two):
        router.state.replace(replace(router.state.route, content=content), {})
        router.state.content.serve(usable(classifier(labels=812), router.state.route, "abc123"))
    two.state.content.pressure = 20.0
    metrics = PrometheusMetrics(Access(prometheus.url))
    poller = Poller(metrics, WallClock(), route_queries(), PollConfig(1.0, 1.0, 5.0))

    def look() -> ClassifierReport | None:
        asyncio.run(poller.round())
        return route_signals(poller.samples.routes, KEY, [one.name, two.name], time.time(), 10.0).classifier

    def told(count: int) -> ClassifierReport:
        found = eventually(
            look,
            lambda seen: (
                seen is not None and sum(each.routers for each in seen.standings) == 2 and len(seen.standings) == count
            ),
            60,
            "both routers have said it",
        )
        assert found is not None
        return found

    try:
        assert look() is None
        scraped(prometheus, one, two)
        serves = ClassifierStanding("Serves", "ClassifierServes", "abc123", 2)
        # 40 % by the labels, of which pressure leaves 20 in one of them; 95.0 by the curve's 90 + 30 / 10, and so on.
        assert told(1) == ClassifierReport((serves,), 812.0, 40.0, 30.0, 93.0, 91.0, 40.0, 94.0)
        two.state.content.serve(usable(classifier(labels=1), two.state.route, "def456"))
        report = told(2)
        assert {(each.state, each.reason, each.digest) for each in report.standings} == {
            ("Serves", "ClassifierServes", "abc123"),
            ("Refused", "TooFewLabels", ""),
        }
        assert (report.labels, report.applied_share) == (812.0, 40.0)
    finally:
        metrics.close()
        for router in (one, two):
            router.exporter.stop()
