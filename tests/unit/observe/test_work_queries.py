"""Checks what is read of Prometheus' answer about what routes have answered, and when that is asked."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from tierwise.errors import Transient
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.queries import Query
from tierwise.observe.route_queries import TRAFFIC, route_signals
from tierwise.observe.route_readings import RouteReadings
from tierwise.observe.work_queries import WORK, WORK_ROUNDS, work_of, work_query
from tierwise.ports import Series
from tierwise.types import Answered, PairSums, RouteKey, RouteWork, Tokens

KEY = RouteKey("team", "chat")
MINE = {"namespace": "team", "tierwise_io_route": "chat"}
NAN = float("nan")


def series(name: str, value: float, /, **labels: str) -> Series:
    return Series({**MINE, "series": name, **labels}, value)


ANSWER = [
    series("answered", 100.0, tier="small", first="small", kind="input"),
    series("answered", 20.0, tier="small", first="small", kind="output"),
    series("answered", 7.0, tier="large", first="small", kind="cached_input"),
    series("answered", 5.0, tier="large", kind="input"),
    series("answered", 0.0, tier="large", first="large", kind="input"),
    series("answered", NAN, tier="large", first="large", kind="output"),
    series("answer_cost", 0.1, tier="small"),
    series("answer_seconds", 3.5, tier="small"),
    series("failed", 0.25),
    series("discarded", 0.0),
]
PAIRS = [
    series("judge", 0.5),
    series("pairs", 3.0),
    series("pair_tokens", 30.0, which="reference"),
    series("pair_tokens", 20.0, which="small"),
    series("pair_squares", 400.0, which="reference"),
    series("pair_squares", 200.0, which="small"),
    series("pair_squares", 210.0, which="product"),
]


def test_the_work_of_a_route_is_read() -> None:
    assert work_of(ANSWER) == {
        ("team", "chat"): RouteWork(
            3600,
            {
                Answered("large", ""): Tokens(input=5),
                Answered("large", "small"): Tokens(cached_input=7),
                Answered("small", "small"): Tokens(input=100, output=20),
            },
            costs={"small": Decimal("0.1")},
            seconds={"small": Decimal("3.5")},
            failed=Decimal("0.25"),
            uncounted=("judges", "shadows"),
        )
    }


def test_pairs_and_what_comparing_costs_are_read_where_routers_count_them() -> None:
    (found,) = work_of([*ANSWER, *PAIRS]).values()
    assert found.pairs == PairSums(3, 30, 20, 400, 200, 210)
    assert [found.judges, found.shadows] == [Decimal("0.5"), 0]
    assert found.uncounted == ()


def test_a_route_whose_routers_count_no_answers_has_no_work() -> None:
    assert work_of([series("failed", 1.0), *PAIRS]) == {}


def test_what_is_old_is_missing_after_as_many_rounds_as_pass_between_two_questions() -> None:
    readings = RouteReadings(work=work_of(ANSWER), work_at=100.0)
    assert route_signals(readings, KEY, [], 100.0 + WORK_ROUNDS * 30, 30.0).work is not None
    assert route_signals(readings, KEY, [], 101.0 + WORK_ROUNDS * 30, 30.0).work is None
    assert route_signals(readings, RouteKey("team", "other"), [], 100.0, 30.0).work is None


def test_further_labels_go_into_every_selector() -> None:
    plain, more = work_query(), work_query({"cluster": 'a"b'})
    assert more.promql.count(r'cluster="a\"b"') == plain.promql.count('tierwise_io_route!=""')


class _Metrics:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = False

    async def query(self, promql: str) -> list[Series]:
        self.asked.append(promql)
        if self.failing and promql == "w":
            raise Transient("no answer")
        return ANSWER if promql == "w" else []


class _Clock:
    def now(self) -> float:
        return 5000.0

    def monotonic(self) -> float:
        return 100.0


def test_the_question_about_an_hour_is_asked_in_the_first_round_and_then_seldom() -> None:
    metrics = _Metrics()
    poller = Poller(metrics, _Clock(), [Query(TRAFFIC, "t"), Query(WORK, "w")], PollConfig())
    for _ in range(2 * WORK_ROUNDS):
        asyncio.run(poller.round())
    assert [metrics.asked.count(promql) for promql in "tw"] == [2 * WORK_ROUNDS, 2]
    told = poller.samples.routes
    assert (told.work_at, set(told.work)) == (5000.0, {("team", "chat")})


def test_a_failure_of_it_is_said_once_and_not_with_every_question(caplog: pytest.LogCaptureFixture) -> None:
    metrics = _Metrics()
    metrics.failing = True
    poller = Poller(metrics, _Clock(), [Query(TRAFFIC, "t"), Query(WORK, "w")], PollConfig())
    for _ in range(3 * WORK_ROUNDS):
        asyncio.run(poller.round())
    assert [record.message for record in caplog.records] == ["what routes spend and serve is not known: no answer"]
    assert poller.samples.problem == ""
