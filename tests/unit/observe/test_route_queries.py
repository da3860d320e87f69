"""Checks what is read of Prometheus' answers about routes; what is missing or old must not look like 0."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tierwise.errors import Transient
from tierwise.observe.content_queries import CONTENT, content_of
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.queries import Query
from tierwise.observe.route_queries import TRAFFIC, WALLETS, route_queries, route_signals, traffic_of, wallets_of
from tierwise.observe.route_readings import RouteReadings, RouterKey
from tierwise.observe.verdict_queries import VERDICTS
from tierwise.observe.work_queries import WORK
from tierwise.ports import Series
from tierwise.types import ClassifierReport, ClassifierStanding, RouteKey, RouteSignals, WalletReport

KEY = RouteKey("team", "chat")
MINE = {"namespace": "team", "tierwise_io_route": "chat"}
WALLET = {"spent": 1.25, "reserved": 0.5, "largest": 0.02, "period": 1000.0, "age": 4.0}


def series(kind: str, value: float, **labels: str) -> Series:
    return Series({**MINE, "series": kind, **labels}, value)


def wallet(pod: str = "chat-router-1", changed: dict[str, float | None] | None = None) -> list[Series]:
    said: dict[str, float | None] = {**WALLET, **(changed or {})}
    return [series(kind, value, pod=pod) for kind, value in said.items() if value is not None]


def test_a_router_says_what_it_has_spent_and_when_it_said_so() -> None:
    found = wallets_of(wallet(), 100.0)
    report = WalletReport(96.0, 1000.0, Decimal("1.25"), Decimal("0.5"), Decimal("0.02"))
    assert found == {RouterKey("team", "chat", "chat-router-1"): report}


@pytest.mark.parametrize("missing", list(WALLET))
def test_a_router_that_says_half_of_it_says_nothing(missing: str) -> None:
    assert wallets_of(wallet(changed={missing: None}), 100.0) == {}
    assert wallets_of(wallet(changed={missing: float("nan")}), 100.0) == {}
    assert wallets_of(wallet(changed={missing: -1.0}), 100.0) == {}


def traffic() -> list[Series]:
    return [
        series("requests", 12.5),
        series("by_tier", 80.0, tier="small"),
        series("by_tier", 20.0, tier="large"),
        series("by_tier", 5.0),
        series("cost", 3.25),
        series("waiting", 2.0),
        series("Spill", 7.0),
        series("ttft", float("nan")),
        series("spill_cost", 0.75),
    ]


def signals(now: float = 100.0, **readings: Any) -> RouteSignals:
    return route_signals(RouteReadings(**readings), KEY, ["chat-router-1"], now, 30.0)


def test_the_traffic_of_a_route_is_read_and_what_is_no_number_is_missing() -> None:
    found = signals(traffic=traffic_of(traffic()), traffic_at=90.0)
    assert found == RouteSignals(
        requests_per_second=12.5,
        share={"small": 80.0, "large": 20.0},
        cost_per_hour=3.25,
        waiting=2.0,
        spilled=7.0,
        fallbacks=0.0,  # other requests were counted, so there was none of these
        ttft_p95=None,
        heard=True,
        spill_cost=0.75,
    )


def test_what_is_old_is_missing() -> None:
    readings = {"traffic": traffic_of(traffic()), "wallets": wallets_of(wallet(), 100.0)}
    assert signals(now=126.0, traffic_at=96.0, **readings).requests_per_second == 12.5
    assert set(signals(now=126.0, traffic_at=96.0, **readings).wallets) == {"chat-router-1"}
    assert signals(now=127.0, traffic_at=96.0, **readings) == RouteSignals(heard=False)
    assert signals(now=126.0, traffic_at=96.0, **readings).heard is True
    assert signals() == RouteSignals(heard=None), "nobody has asked yet"


def test_another_route_and_a_pod_that_is_not_a_router_of_this_one_are_left_out() -> None:
    wallets = wallets_of(wallet(pod="other"), 100.0)
    assert signals(wallets=wallets) == RouteSignals()
    other = route_signals(
        RouteReadings(traffic=traffic_of(traffic()), traffic_at=100.0), RouteKey("team", "x"), [], 100.0, 30.0
    )
    assert other == RouteSignals(heard=True)


def content() -> list[Series]:
    return [
        series("standing", 1.0, state="Refused", reason="ClassifierInvalid"),
        series("standing", 2.0, state="Serves", reason="ClassifierServes", hash="abc"),
        series("labels", 812.0),
        series("needed", 43.0),
        series("applied", 40.0),
        series("expected", 96.2),
        series("lower", float("nan")),
    ]


def test_what_routers_say_of_a_classifier_is_read_most_routers_first() -> None:
    found = signals(content=content_of(content()), content_at=90.0).classifier
    serves = ClassifierStanding("Serves", "ClassifierServes", "abc", 2)
    refused = ClassifierStanding("Refused", "ClassifierInvalid", "", 1)
    assert found == ClassifierReport((serves, refused), 812.0, 43.0, 40.0, 96.2, None)
    assert signals(now=121.0, content=content_of(content()), content_at=90.0).classifier is None
    assert content_of([one for one in content() if one.labels["series"] != "standing"]) == {}


def test_there_are_five_queries_and_further_labels_go_into_every_selector() -> None:
    plain, more = route_queries(), route_queries({"cluster": 'a"b'})
    assert [query.name for query in plain] == [WALLETS, TRAFFIC, CONTENT, WORK, VERDICTS]
    for one, other in zip(plain, more, strict=True):
        assert other.promql.count(r'cluster="a\"b"') == one.promql.count('tierwise_io_route!=""')


class _Metrics:
    def __init__(self) -> None:
        self.failing: set[str] = set()

    async def query(self, promql: str) -> list[Series]:
        if promql in self.failing:
            raise Transient(f"no answer to {promql}")
        return {"w": wallet(), "t": traffic()}.get(promql, [])


class _Clock:
    def now(self) -> float:
        return 5000.0

    def monotonic(self) -> float:
        return 100.0


def test_the_poller_tells_of_routes_in_wall_time_and_their_failure_is_none_of_the_tiers() -> None:
    metrics = _Metrics()
    poller = Poller(metrics, _Clock(), [Query("load", "l"), Query(WALLETS, "w"), Query(TRAFFIC, "t")], PollConfig())
    asyncio.run(poller.round())
    told = poller.samples
    assert told.routes.traffic_at == 5000.0
    assert told.routes.wallets[RouterKey("team", "chat", "chat-router-1")].at == 4996.0
    metrics.failing = {"w", "t"}
    asyncio.run(poller.round())
    assert poller.samples.problem == ""
    assert poller.samples.routes == told.routes
    metrics.failing = {"l"}
    asyncio.run(poller.round())
    assert poller.samples.problem == "no answer to l"
