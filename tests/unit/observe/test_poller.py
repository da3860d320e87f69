"""Checks that the poller keeps asking, keeps what it has, and never blocks anybody."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tierwise.errors import Transient
from tierwise.observe import Query
from tierwise.observe import signals as kinds
from tierwise.observe.poller import PollConfig, Poller, readings
from tierwise.observe.queries import LATENCY
from tierwise.observe.signals import PodKey, PodReadings, health
from tierwise.ports import Series
from tierwise.types import MetricsHealth

KEY = PodKey("n", "t", "a")
LABELS = {"namespace": "n", "tierwise_io_tier": "t", "pod": "a"}
QUERIES = (Query("load", "one"), Query("targets", "two"))


@dataclass
class Hands:
    """A clock that is set by hand: the wall and the monotonic one."""

    wall: float = 1000.0
    mono: float = 5.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def pass_(self, seconds: float) -> None:
        """Time passes on both."""
        self.wall += seconds
        self.mono += seconds


@dataclass
class Answers:
    """Prometheus by hand: an answer, an exception or a wait for each query."""

    by_query: dict[str, Sequence[Series] | Exception | float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def query(self, promql: str) -> Sequence[Series]:
        self.asked.append(promql)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            answer = self.by_query.get(promql, ())
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, float):
                await asyncio.sleep(answer)
                return ()
            return answer
        finally:
            self.at_once -= 1


def series(kind: str, value: float, **labels: str) -> Series:
    return Series({**LABELS, "series": kind, **labels}, value)


def sampler(answers: Answers, clock: Hands, *, timeout: float = 5.0) -> Poller:
    return Poller(answers, clock, QUERIES, PollConfig(0.01, 10.0, timeout))


# --- readings ---------------------------------------------------------------------------------------------------------


def test_a_reading_is_as_old_as_prometheus_says() -> None:
    found = readings([series(kinds.RUNNING, 4), series(kinds.AGE, 7), series(kinds.WAITING, 1)], 100.0)
    assert found == {KEY: ({kinds.RUNNING: 4, kinds.WAITING: 1}, 93.0)}


def test_without_an_age_it_is_as_old_as_the_question() -> None:
    assert readings([series(kinds.UP, 1)], 100.0)[KEY] == ({kinds.UP: 1}, 100.0)


def test_a_scrape_in_the_future_is_now() -> None:
    assert readings([series(kinds.RUNNING, 4), series(kinds.AGE, -3)], 100.0)[KEY][1] == 100.0


@pytest.mark.parametrize(
    ("labels", "tokens"),
    [
        ({"kv_tokens": "16000", "num_gpu_blocks": "9", "block_size": "9"}, 16000),
        ({"kv_tokens": "None", "num_gpu_blocks": "1000", "block_size": "16"}, 16000),
        ({"num_gpu_blocks": "1000", "block_size": "16"}, 16000),
        ({"kv_tokens": "None", "num_gpu_blocks": "None", "block_size": "16"}, math.nan),
        ({}, math.nan),
    ],
)
def test_capacity_stands_in_labels(labels: dict[str, str], tokens: float) -> None:
    found = readings([series(kinds.KV_CAPACITY, 1.0, **labels)], 0.0)[KEY][0][kinds.KV_CAPACITY]
    assert found == tokens or (math.isnan(tokens) and found == 0)


def test_the_engines_of_one_replica_add_up_and_duplicates_do_not() -> None:
    rows = [("0", "100"), ("1", "100"), ("1", "90")]
    found = readings([series(kinds.KV_CAPACITY, 1, engine=engine, kv_tokens=tokens) for engine, tokens in rows], 0.0)
    assert found[KEY][0][kinds.KV_CAPACITY] == 200


def test_buckets_are_told_apart_by_their_bounds_however_these_are_written() -> None:
    rows = [series(kinds.TTFT_WITHIN, 5, le="1"), series(kinds.TTFT_WITHIN, 7, le="2.5")]
    assert readings(rows, 0.0)[KEY][0] == {"ttft_within:1": 5, "ttft_within:2.5": 7}
    assert readings([series(kinds.TTFT_WITHIN, 5, le="1.0")], 0.0)[KEY][0] == {kinds.within(kinds.TTFT_WITHIN, 1): 5}


def test_series_without_labels_are_somebody_elses() -> None:
    assert list(readings([Series({}, 1.0)], 0.0)) == [PodKey("", "", "")]


# --- the task ---------------------------------------------------------------------------------------------------------


async def test_a_round_asks_every_question_once_and_keeps_the_answers() -> None:
    answers = Answers({"one": [series(kinds.RUNNING, 4), series(kinds.AGE, 2)], "two": [series(kinds.UP, 1)]})
    clock = Hands()
    task = sampler(answers, clock)
    assert not health(task.samples, clock.now()).ok
    await task.round()
    assert sorted(answers.asked) == ["one", "two"]
    assert answers.most_at_once <= 2
    assert task.samples.pods == {
        KEY: PodReadings({kinds.RUNNING: 4, kinds.UP: 1}, {kinds.RUNNING: 998.0, kinds.UP: 1000.0})
    }
    assert (task.samples.answered_at, task.samples.problem) == (1000.0, "")


async def test_what_nobody_needs_is_not_asked_and_its_answer_is_forgotten() -> None:
    unneeded: set[str] = set()
    answers = Answers({"one": [series(kinds.RUNNING, 4)], "two": [series(kinds.UP, 1)]})
    task = Poller(answers, Hands(), QUERIES, PollConfig(), unneeded=lambda: frozenset(unneeded))
    await task.round()
    assert set(task.samples.pods[KEY].values) == {kinds.RUNNING, kinds.UP}
    unneeded.add("load")
    await task.round()
    assert answers.asked[2:] == ["two"]
    assert set(task.samples.pods[KEY].values) == {kinds.UP}
    assert not task.samples.problem


@pytest.mark.parametrize("failure", [Transient("refused"), RuntimeError("a defect")])
async def test_a_failed_question_keeps_its_old_answer_and_the_problem(failure: Exception) -> None:
    answers, clock = Answers({"one": [series(kinds.RUNNING, 4)], "two": [series(kinds.UP, 1)]}), Hands()
    task = sampler(answers, clock)
    await task.round()
    clock.pass_(10)
    answers.by_query = {"one": failure, "two": [series(kinds.UP, 0)]}
    await task.round()
    assert task.samples.pods[KEY] == PodReadings(
        {kinds.RUNNING: 4, kinds.UP: 0}, {kinds.RUNNING: 1000.0, kinds.UP: 1010.0}
    )
    assert task.samples.answered_at == 1000.0
    assert ("refused" in task.samples.problem) or ("RuntimeError" in task.samples.problem)
    assert health(task.samples, clock.now()).ok
    clock.pass_(30)
    assert not health(task.samples, clock.now()).ok
    answers.by_query = {}
    await task.round()
    assert task.samples.problem == ""
    assert task.samples.pods == {}


async def test_service_levels_that_are_not_known_make_no_other_signal_old(caplog: pytest.LogCaptureFixture) -> None:
    asked = (*QUERIES, Query(LATENCY, "three"))
    answers, clock = Answers({"one": [series(kinds.RUNNING, 4)], "three": [series(kinds.SPOKEN_LATELY, 9)]}), Hands()
    unneeded: set[str] = set()
    task = Poller(answers, clock, asked, PollConfig(0.01, 10.0, 5.0), unneeded=lambda: frozenset(unneeded))
    await task.round()
    answers.by_query = {"one": [series(kinds.RUNNING, 5)], "three": Transient("too many samples")}
    for _ in range(4):
        assert task.samples.latency_problem == ""
        clock.pass_(10)
        await task.round()
    assert health(task.samples, clock.now()) == MetricsHealth(ok=True, at=1040.0, latency_problem="too many samples")
    assert task.samples.problem == ""
    assert task.samples.pods[KEY] == PodReadings(
        {kinds.RUNNING: 5, kinds.SPOKEN_LATELY: 9}, {kinds.RUNNING: 1040.0, kinds.SPOKEN_LATELY: 1000.0}
    )
    assert caplog.text.count("whether service levels are kept is not known: too many samples") == 1
    unneeded.add(LATENCY)
    await task.round()
    assert task.samples.latency_problem == ""
    unneeded.clear()
    await task.round()
    assert task.samples.latency_problem == "too many samples", "nothing is known that could be old"
    answers.by_query = {}
    await task.round()
    assert task.samples.latency_problem == ""


async def test_a_question_without_an_answer_ends_in_time() -> None:
    answers = Answers({"one": 60.0})
    task = sampler(answers, Hands(), timeout=-1.98)
    await asyncio.wait_for(task.round(), 5)
    assert task.samples.problem == "Prometheus did not answer the query 'load' in time"


async def test_ages_survive_a_wall_clock_that_is_set() -> None:
    answers, clock = Answers({"one": [series(kinds.RUNNING, 4), series(kinds.AGE, 2)]}), Hands()
    task = sampler(answers, clock)
    await task.round()
    before = task.samples
    clock.pass_(5)
    clock.wall += 0.5
    assert task.samples is before, "clocks that drift a little move nothing"
    for jump in (86_400.0, -200_000.0):
        clock.wall += jump
        assert clock.now() - task.samples.pods[KEY].times[kinds.RUNNING] == pytest.approx(7, abs=1)
        assert clock.now() - (task.samples.answered_at or 0) == pytest.approx(5, abs=1)
    await task.round()
    assert clock.now() - task.samples.pods[KEY].times[kinds.RUNNING] == pytest.approx(2, abs=1)


@pytest.mark.parametrize(("tick", "scrape", "stale"), [(10.0, 2.0, 30.0), (3.0, 10.0, 30.0), (3.0, 2.0, 9.0)])
def test_stale_follows_the_slower_of_asking_and_scraping(tick: float, scrape: float, stale: float) -> None:
    assert Poller(Answers(), Hands(), QUERIES, PollConfig(tick, scrape)).samples.stale_after == stale


async def test_it_runs_until_it_is_cancelled_and_says_when_it_has_asked() -> None:
    answers, rounds = Answers({"one": Transient("refused")}), asyncio.Semaphore(0)
    task = Poller(answers, Hands(), QUERIES, PollConfig(0.01, 10.0, 5.0), on_round=rounds.release)
    running = asyncio.create_task(task.run())
    async with asyncio.timeout(60):
        for _ in range(3):
            await rounds.acquire()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(answers.asked) >= 6


async def test_it_is_cancelled_in_the_middle_of_a_question() -> None:
    answers = Answers({"one": 60.0, "two": 60.0})
    running = asyncio.create_task(sampler(answers, Hands()).run())
    await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert answers.at_once == 0
