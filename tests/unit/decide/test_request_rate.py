"""Checks what is estimated of a replica's capacity against the closed form of the engine model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import sample, value
from tierwise.decide.request_rate import Throughput, busy, learned, throughput
from tierwise.types import MISSING, PodSample, Signal, State, TierSignals

SEATS = 128.0


def signals(begun: float, seconds: float) -> TierSignals:
    """So many requests got their first token in a minute, after so many seconds in sum."""
    return TierSignals(begun_lately=value(begun), first_token_seconds=value(seconds))


@given(st.floats(0.001, 0.98))
def test_busy_inverts_the_queue_of_one_server(part: float) -> None:
    assert busy(part + part * part / (2 * (1 - part))) == pytest.approx(part, rel=1e-6)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_longer_queue_is_never_less_busy(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= busy(low) <= busy(high) < 1


# One simulated replica each (Poisson arrivals, four minutes): requests per second, running, mean time to the first
# token; then what it took when it was full. Lengths: conversations, code, short prompts with long answers.
@pytest.mark.parametrize(
    ("rate", "running", "ttft", "seats", "full"),
    [
        (0.97, 2.2, 0.183, 96, 6.13),
        (3.01, 8.7, 0.239, 96, 6.13),
        (5.37, 37.8, 0.429, 96, 6.13),
        (1.98, 8.7, 0.130, 128, 7.28),
        (5.77, 53.1, 0.183, 128, 7.28),
        (1.99, 21.2, 0.059, 128, 7.55),
        (3.87, 46.4, 0.064, 128, 7.55),
        (0.97, 0.8, 0.188, 128, 7.0),
        (5.76, 18.1, 0.485, 128, 7.0),
        (0.97, 0.7, 0.306, 96, 4.63),
        (3.86, 14.9, 1.111, 96, 4.63),
    ],
)
def test_a_replica_that_is_not_full_shows_what_it_can_take(
    rate: float, running: float, ttft: float, seats: float, full: float
) -> None:
    seen = throughput(signals(60 * rate, 60 * rate * ttft), (sample("a", running),), seats)
    assert seen is not None
    assert seen.capacity == pytest.approx(full, rel=0.2)


def test_a_full_replica_has_shown_its_rate() -> None:
    seen = throughput(signals(60 * 7.28, 60 * 7.28 * 7.1), (sample("a", 128, 54),), SEATS)
    assert seen is not None
    assert seen.full == pytest.approx(1.0, abs=0.01)
    assert seen.capacity == pytest.approx(7.28, rel=0.01)


def test_several_replicas_are_one_with_their_mean() -> None:
    one = throughput(signals(120, 30), (sample("a", 10),), SEATS)
    three = throughput(signals(360, 90), (sample("a", 5), sample("b", 10), sample("c", 15)), SEATS)
    assert one == three


def test_a_replica_is_as_full_as_its_seats_or_its_memory_whichever_is_more() -> None:
    """Prompts keep each of two servers busy half of the time: a queue of 0.75."""
    two = signals(120, 90)

    def full(*pods: PodSample) -> float:
        seen = throughput(two, pods, SEATS)
        assert seen is not None
        assert seen.rate == 1.0
        return seen.full

    unmeasured = [replace(sample(name, 32), kv_usage=MISSING) for name in ("a", "b")]
    assert full(sample("a", 32, kv=0.9), sample("b", 32, kv=0.5)) == pytest.approx(1 - 0.5 * (1 - 0.7))
    assert full(sample("a", 32, kv=0.1), sample("b", 32, kv=0.3)) == pytest.approx(1 - 0.5 * (1 - 0.25))
    assert full(*unmeasured) == pytest.approx(1 - 0.5 * (1 - 0.25))


def test_no_replica_is_more_than_full() -> None:
    assert throughput(signals(60, 45), (sample("a", 2 * SEATS),), SEATS) == Throughput(1.0, 1.0)


@pytest.mark.parametrize(
    "bad", [MISSING, Signal(State.STALE), Signal(State.INVALID), Signal(State.STALE, 30.0)], ids=str
)
def test_what_is_not_measured_says_nothing(bad: Signal) -> None:
    pods = (sample("a", 3),)
    assert throughput(TierSignals(begun_lately=bad, first_token_seconds=value(3)), pods, SEATS) is None
    assert throughput(TierSignals(begun_lately=value(30), first_token_seconds=bad), pods, SEATS) is None
    assert throughput(signals(30, 3), (), SEATS) is None
    assert throughput(signals(30, 0), pods, SEATS) is None, "tokens without a time"


def test_few_requests_say_nothing() -> None:
    assert throughput(signals(9, 3), (sample("a", 3),), SEATS) is None
    assert throughput(signals(10, 3), (sample("a", 3),), SEATS) is not None


def test_what_is_learned_moves_more_by_a_fuller_replica() -> None:
    assert learned(None, None) is None
    assert learned(5.0, None) == 5.0
    assert learned(None, Throughput(2.0, 0.5)) == 4.0
    idle, full = learned(5.0, Throughput(0.4, 0.1)), learned(5.0, Throughput(4.0, 1.0))
    assert idle is not None
    assert full is not None
    assert idle == pytest.approx(5.0 - 0.001)
    assert full == pytest.approx(4.9)
