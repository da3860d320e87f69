"""Checks who is next of those that wait for a replica."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.route import QueueLimits
from tierwise.routing.waiting_line import PATIENCE_SECONDS, WaitingLine, most_waiting


def line(*names: str, first_in_first_out: bool = False) -> WaitingLine[str]:
    """They have come at 0, 1, 2, ... milliseconds."""
    made: WaitingLine[str] = WaitingLine(first_in_first_out=first_in_first_out)
    for place, name in enumerate(names):
        made.add(name, place / 1000)
    return made


def test_the_first_is_next_while_nobody_has_waited_for_long() -> None:
    waiting = line("a", "b", "c")
    assert list(waiting.in_turn(PATIENCE_SECONDS)) == ["a", "b", "c"]
    assert waiting.next(PATIENCE_SECONDS) == "a"


def test_the_last_is_next_once_somebody_has() -> None:
    waiting = line("a", "b", "c")
    assert list(waiting.in_turn(PATIENCE_SECONDS + 0.001)) == ["c", "b", "a"]
    assert waiting.next(PATIENCE_SECONDS + 0.001) == "c"


def test_when_those_are_gone_the_first_is_next_again() -> None:
    waiting = line("a", "b", "c")
    waiting.remove("a")
    assert waiting.next(PATIENCE_SECONDS + 0.0005) == "b"
    assert waiting.next(PATIENCE_SECONDS + 0.0011) == "c"


def test_who_has_had_a_place_comes_first_in_both_orders() -> None:
    waiting = line("a", "b")
    waiting.add("x", 0.002, again=True)
    waiting.add("y", 0.003, again=True)
    assert list(waiting.in_turn(0.1)) == ["x", "y", "a", "b"]
    assert list(waiting.in_turn(9.0)) == ["x", "y", "b", "a"]
    assert list(waiting) == ["x", "y", "a", "b"]


def test_who_has_had_a_place_and_waits_does_not_turn_the_others_round() -> None:
    waiting: WaitingLine[str] = WaitingLine()
    waiting.add("x", 0.0, again=True)
    waiting.add("a", 8.9)
    waiting.add("b", 9.0)
    assert list(waiting.in_turn(9.0)) == ["x", "a", "b"]
    assert list(waiting.in_turn(9.5)) == ["x", "b", "a"]


def test_work_that_nobody_waits_in_front_of_keeps_the_order_of_its_arrival() -> None:
    assert list(line("a", "b", first_in_first_out=True).in_turn(1e6)) == ["a", "b"]


def test_the_youngest_of_all() -> None:
    waiting = line("a", "b")
    waiting.add("x", 1.0, again=True)
    assert waiting.youngest() == "b"
    waiting.remove("b")
    waiting.remove("a")
    assert waiting.youngest() == "x"
    waiting.remove("x")
    assert waiting.youngest() is None


def test_an_empty_line() -> None:
    waiting = line()
    assert (len(waiting), list(waiting), waiting.next(0.0)) == (0, [], None)
    assert "a" not in waiting
    with pytest.raises(KeyError):
        waiting.remove("a")


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans())), st.floats(0, 20))
def test_nobody_is_lost_and_nobody_is_told_twice(steps: list[tuple[int, bool, bool]], now: float) -> None:
    waiting: WaitingLine[int] = WaitingLine()
    there: set[int] = set()
    for at, (item, again, leaves) in enumerate(steps):
        if item in there and leaves:
            waiting.remove(item)
            there.remove(item)
        elif item not in there:
            waiting.add(item, at / 10, again=again)
            there.add(item)
        assert len(waiting) == len(there)
        assert sorted(waiting.in_turn(now)) == sorted(waiting) == sorted(there)
        assert all(each in waiting for each in there)


@pytest.mark.parametrize(
    ("limit", "places", "most"), [(None, 0, 100), (None, 99, 100), (None, 512, 512), (0, 512, 0), (7, 512, 7)]
)
def test_as_many_may_wait_as_the_route_says_or_as_are_worked_on(limit: int | None, places: int, most: int) -> None:
    assert most_waiting(QueueLimits(max_requests=limit), places) == most
