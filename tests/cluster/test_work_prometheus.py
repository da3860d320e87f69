"""Checks what a real Prometheus answers about what a route has answered: to the token, from the routers' own pages.

No cluster is needed: the pages are made by the router's collector, over a ledger that the test writes in.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest

from tests.cluster.metrics_scene import WallClock
from tests.cluster.scraped import OwnPrometheus, eventually
from tests.cluster.test_route_prometheus import KEY, Router, prometheus, scraped
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.route_queries import route_signals
from tierwise.observe.work_queries import work_query
from tierwise.prom.client import Access, PrometheusMetrics
from tierwise.routing.cost import Usage
from tierwise.types import Answered, RouteWork, Tokens
from tierwise_router.record import Charge, Ledger, Record

__all__ = ["prometheus"]
pytestmark = pytest.mark.cluster
USAGE = Usage(input=7, cached_input=5, cache_write=3, output=11)


def answer(router: Router, tier: str, first: str, count: int) -> None:
    """So many answers, each after a failed attempt."""
    for _ in range(count):
        reason = "Default" if tier == first else "Spill"
        record = Record("r", 0.0, tier=tier, first=first, reason=reason, status=200, outcome="ok")
        record.charges = [Charge(tier, Usage(input=1), Decimal("0.5")), Charge(tier, USAGE, Decimal("0.25"))]
        router.state.ledger.add(record, 2.0)


def tokens(count: int) -> Tokens:
    return Tokens(*(count * each for each in (7, 5, 3, 11)))


def test_an_hour_of_work_is_known_to_the_token_whatever_becomes_of_the_routers(prometheus: OwnPrometheus) -> None:
    one, two = Router("chat-router-1"), Router("chat-router-2")
    metrics = PrometheusMetrics(Access(prometheus.url))
    poller = Poller(metrics, WallClock(), [work_query()], PollConfig(1.0, 1.0, 5.0))

    def look() -> RouteWork | None:
        asyncio.run(poller.round())
        return route_signals(poller.samples.routes, KEY, [one.name, two.name], time.time(), 10.0).work

    def told(seen: RouteWork | None, answers: dict[Answered, Tokens]) -> bool:
        return seen is not None and dict(seen.answers) == answers

    try:
        assert look() is None
        answer(one, "small", "small", 5)  # before the first scrape: of another window
        scraped(prometheus, one, two)
        eventually(look, lambda seen: told(seen, {}), 20, "both routers are scraped, and nothing was answered since")
        time.sleep(2.0)
        answer(one, "small", "small", 9)
        answer(two, "large", "small", 3)
        expected = {Answered("large", "small"): tokens(3), Answered("small", "small"): tokens(9)}
        work = eventually(look, lambda seen: told(seen, expected), 20, "all of it, and nothing else")
        assert work is not None
        assert work.costs == {"small": Decimal("2.25"), "large": Decimal("0.75")}
        assert work.seconds == {"small": Decimal(18), "large": Decimal(6)}
        assert [work.failed, work.discarded] == [6, 0]
        two.exporter.stop()
        time.sleep(3.0)
        assert told(look(), expected), "what a router has answered is not forgotten with it"
        one.state.ledger = Ledger()  # its container starts again
        time.sleep(2.0)
        answer(one, "small", "small", 100)

        def grown(seen: RouteWork | None) -> bool:
            return seen is not None and seen.answers[Answered("small", "small")].input >= 7 * 100

        again = eventually(look, grown, 20, "what came after the restart counts too")
        assert again is not None
        assert abs(again.answers[Answered("small", "small")].input / (7 * 109) - 1) < 0.2
        assert again.answers[Answered("large", "small")] == tokens(3)
    finally:
        metrics.close()
        one.exporter.stop()
