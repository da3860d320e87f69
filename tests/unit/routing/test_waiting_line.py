"""Checks who is next of those that wait for a replica."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.route import QueueLimits
from tierwise.routing.waiting_line import LONG_SECONDS, PATIENCE_SECONDS, Pace, WaitingLine, most_waiting


def pace(seconds: float) -> Pace:
    """So long between two places."""
    made = Pace()
    for end in range(100):
        made.freed(end * seconds, waiting=True)
    return made


RUSH = pace(9.0)


def line(*names: str, first_in_first_out: bool = False) -> WaitingLine[str]:
    """They have come at 0, 1, 2, ... milliseconds."""
    made: WaitingLine[str] = WaitingLine(first_in_first_out=first_in_first_out)
    for place, name in enumerate(names):
        made.add(name, place / 1000)
    return made


def test_the_first_is_next_while_nobody_has_waited_for_long() -> None:
    waiting = line("a", "b", "c")
    assert list(waiting.in_turn(PATIENCE_SECONDS, RUSH)) == ["a", "b", "c"]
    assert waiting.next(PATIENCE_SECONDS, RUSH) == "a"


def test_the_last_is_next_once_somebody_has() -> None:
    waiting = line("a", "b", "c")
    assert list(waiting.in_turn(PATIENCE_SECONDS + 0.001, RUSH)) == ["c", "b", "a"]
    assert waiting.next(PATIENCE_SECONDS + 0.001, RUSH) == "c"


def test_a_line_that_is_short_for_its_pace_keeps_its_order_however_long_it_stands() -> None:
    waiting = line("a", "b", "c", "d")
    assert waiting.next(99.0, pace(LONG_SECONDS / 4)) == "a"
    assert waiting.next(99.0, pace(LONG_SECONDS / 4 + 0.01)) == "d"
    waiting.add("x", 0.0, again=True)
    assert list(waiting.in_turn(99.0, pace(LONG_SECONDS / 4)))[1] == "a", "who comes first anyway makes it no longer"


def test_users_who_ask_again_after_each_answer_all_get_their_turn() -> None:
    """46 of them share 16 places, an answer takes 0.64 s: the line stands, and everybody waits for 1.2 s."""
    waiting: WaitingLine[int] = WaitingLine()
    seen, now = Pace(), 0.0
    turns = dict.fromkeys(range(46), 0)
    for user in range(16, 46):
        waiting.add(user, now)
    working = list(range(16))
    for _ in range(2000):
        now += 0.04
        done = working.pop(0)
        turns[done] += 1
        waiting.add(done, now)
        seen.freed(now, waiting=True)
        chosen = waiting.next(now, seen)
        assert chosen is not None
        waiting.remove(chosen)
        working.append(chosen)
    assert min(turns.values()) > 40


def test_the_pace_is_that_of_places_for_which_somebody_waits() -> None:
    seen = Pace()
    assert seen.seconds == 1.0
    seen.freed(5.0, waiting=False)
    seen.freed(9.0, waiting=True)
    assert seen.seconds == 1.0, "nobody has waited before 9"
    seen.freed(13.0, waiting=True)
    assert seen.seconds == 4.0
    seen.freed(18.0, waiting=False)
    assert seen.seconds == pytest.approx(4.1)
    seen.freed(999.0, waiting=True)
    seen.freed(9999.0, waiting=True)
    assert seen.seconds == pytest.approx(4.1 + 0.1 * (60 - 4.1))


def test_when_those_are_gone_the_first_is_next_again() -> None:
    waiting = line("a", "b", "c")
    waiting.remove("a")
    assert waiting.next(PATIENCE_SECONDS + 0.0005, RUSH) == "b"
    assert waiting.next(PATIENCE_SECONDS + 0.0011, RUSH) == "c"


def test_who_has_had_a_place_comes_first_in_both_orders() -> None:
    waiting = line("a", "b")
    waiting.add("x", 0.002, again=True)
    waiting.add("y", 0.003, again=True)
    assert list(waiting.in_turn(0.1, RUSH)) == ["x", "y", "a", "b"]
    assert list(waiting.in_turn(9.0, RUSH)) == ["x", "y", "b", "a"]
    assert list(waiting) == ["x", "y", "a", "b"]


def test_who_has_had_a_place_and_waits_does_not_turn_the_others_round() -> None:
    waiting: WaitingLine[str] = WaitingLine()
    waiting.add("x", 0.0, again=True)
    waiting.add("a", 8.9)
    waiting.add("b", 9.0)
    assert list(waiting.in_turn(9.0, RUSH)) == ["x", "a", "b"]
    assert list(waiting.in_turn(9.5, RUSH)) == ["x", "b", "a"]


def test_work_that_nobody_waits_in_front_of_keeps_the_order_of_its_arrival() -> None:
    assert list(line("a", "b", first_in_first_out=True).in_turn(1e6, RUSH)) == ["a", "b"]


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
    assert (len(waiting), list(waiting), waiting.next(0.0, RUSH)) == (0, [], None)
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
        assert sorted(waiting.in_turn(now, RUSH)) == sorted(waiting) == sorted(there)
        assert all(each in waiting for each in there)


@pytest.mark.parametrize(
    ("limit", "places", "most"), [(None, 0, 100), (None, 99, 100), (None, 512, 512), (0, 512, 0), (7, 512, 7)]
)
def test_as_many_may_wait_as_the_route_says_or_as_are_worked_on(limit: int | None, places: int, most: int) -> None:
    assert most_waiting(QueueLimits(max_requests=limit), places) == most
