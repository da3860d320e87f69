"""Checks what is learned of a replica by the length of its requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import value
from tierwise.decide.learned_capacity import LEAST_SHARE, MOST_KINDS, MOST_SHARE, SHARE, after, kind
from tierwise.decide.request_rate import Throughput
from tierwise.decide.service_level import Verdict
from tierwise.types import MISSING, LengthCapacity, Signal, State, TierSignals

KEPT, MISSED, FAR = Verdict(), Verdict("late", 1.0), Verdict("very late", 30.0)
SHORT, LONG = (256, 64), (8192, 64)


def lengths(prompt: float, answer: float, hits: Signal = MISSING) -> tuple[int, int] | None:
    return kind(
        TierSignals(
            prompt_tokens_per_request=value(prompt), tokens_per_request=value(prompt + answer), prefix_hit_ratio=hits
        )
    )


@pytest.mark.parametrize(
    ("prompt", "answer", "found"),
    [(1155, 211, (2048, 256)), (1024, 128, (1024, 128)), (1025, 129, (2048, 256)), (1, 1, (1, 1)), (0, 0, (1, 1))],
)
def test_lengths_are_told_by_powers_of_two(prompt: float, answer: float, found: tuple[int, int]) -> None:
    assert lengths(prompt, answer) == found


def test_what_a_cache_holds_is_not_computed() -> None:
    assert lengths(8000, 100, value(0.9)) == (1024, 128)


def test_a_hit_ratio_that_may_not_be_trusted_takes_nothing_off() -> None:
    assert lengths(8000, 100, Signal(State.STALE, 0.9)) == (8192, 128)


def test_lengths_beyond_a_billion_tokens_are_one_kind() -> None:
    assert lengths(3e9, 1) == lengths(9e9, 1) == (1 << 30, 1)


@pytest.mark.parametrize("bad", [MISSING, Signal(State.STALE), Signal(State.INVALID)])
def test_an_unknown_length_teaches_nothing(bad: Signal) -> None:
    assert kind(TierSignals(prompt_tokens_per_request=bad, tokens_per_request=value(3))) is None
    assert kind(TierSignals(prompt_tokens_per_request=value(3), tokens_per_request=bad)) is None
    known: tuple[LengthCapacity, ...] = (LengthCapacity(256, 64, 2.0, 0.8),)
    assert after(known, None, Throughput(1.0, 0.5), KEPT) == known
    assert after((), SHORT, None, None) == ()


def test_the_first_sample_is_what_is_known_and_a_new_length_begins_there() -> None:
    known = after((), SHORT, Throughput(1.0, 0.5), None)
    assert known == (LengthCapacity(*SHORT, 2.0, SHARE),)
    known = after(known, LONG, None, None)
    assert known == (LengthCapacity(*LONG, 2.0, SHARE), LengthCapacity(*SHORT, 2.0, SHARE))


def test_each_length_learns_by_itself_and_the_present_one_stands_first() -> None:
    known = after((), SHORT, Throughput(4.0, 1.0), None)
    for _ in range(100):
        known = after(known, LONG, Throughput(1.0, 1.0), None)
    known = after(known, SHORT, None, None)
    assert [(each.prompt, round(each.rate, 1)) for each in known] == [(256, 4.0), (8192, 1.0)]


def test_a_sample_moves_a_known_rate_by_a_part_of_the_way() -> None:
    (found,) = after((LengthCapacity(*SHORT, 5.0, 0.8),), SHORT, Throughput(4.0, 1.0), None)
    assert found == LengthCapacity(*SHORT, 4.9, 0.8)


def test_the_lengths_that_were_seen_last_are_kept() -> None:
    known: tuple[LengthCapacity, ...] = ()
    for number in range(20):
        known = after(known, (1 << number, 1), Throughput(1.0, 0.5), None)
    assert [each.prompt for each in known] == [1 << number for number in range(19, 19 - MOST_KINDS, -1)]


def test_a_miss_lowers_the_share_below_the_load_that_missed_and_no_further() -> None:
    known: tuple[LengthCapacity, ...] = (LengthCapacity(*SHORT, 2.0, 0.8),)
    for _ in range(6):
        known = after(known, SHORT, Throughput(1.2, 0.6), MISSED)
    assert 0.7 < known[0].share < 0.75, "the minute of one burst"
    for _ in range(120):
        known = after(known, SHORT, Throughput(1.2, 0.6), MISSED)
    assert known[0].share == pytest.approx(0.57, abs=0.002)


def test_a_miss_by_far_counts_up_to_four_times() -> None:
    known: tuple[LengthCapacity, ...] = (LengthCapacity(*SHORT, 2.0, 0.8),)
    just, far = (after(known, SHORT, Throughput(1.2, 0.6), verdict)[0].share for verdict in (MISSED, FAR))
    assert 0.8 - far == pytest.approx(4 * (0.8 - just), abs=0.001)


def test_a_miss_of_replicas_above_their_share_says_nothing() -> None:
    known = after((LengthCapacity(*SHORT, 2.0, 0.8),), SHORT, Throughput(1.9, 0.95), MISSED)
    assert known[0].share == 0.8


def test_a_level_that_is_kept_above_the_share_raises_it_and_below_it_says_nothing() -> None:
    known: tuple[LengthCapacity, ...] = (LengthCapacity(*SHORT, 2.0, 0.85),)
    assert after(known, SHORT, Throughput(1.0, 0.5), KEPT)[0].share == 0.85
    known = (LengthCapacity(*SHORT, 2.0, 0.6),)
    assert after(known, SHORT, Throughput(1.6, 0.8), KEPT)[0].share == 0.62, "a tenth of the way"
    assert after(known, SHORT, Throughput(1.6, 0.8), None)[0].share == 0.6


def test_a_level_that_is_kept_by_replicas_that_are_nearly_as_full_as_they_may_be_gives_them_more() -> None:
    """Rounded up to whole replicas nobody is as full as its share, and nothing would ever be learned above it. What was
    missed before comes back slowly: else it would be missed again with every scale-down window."""
    known: tuple[LengthCapacity, ...] = (LengthCapacity(*SHORT, 2.0, SHARE),)
    assert after(known, SHORT, Throughput(1.3, 0.8 * SHARE), KEPT)[0].share == 0.815, "a tenth of the way to the most"
    assert after(known, SHORT, Throughput(1.26, 0.63), KEPT)[0].share == SHARE, "not nearly as full"
    assert after(known, SHORT, Throughput(1.3, 0.65), None)[0].share == SHARE, "nobody knows whether it was kept"
    for _ in range(100):
        known = after(known, SHORT, Throughput(1.8, 0.9), KEPT)
    assert known[0].share == pytest.approx(MOST_SHARE, abs=0.001)
    missed = (LengthCapacity(*SHORT, 2.0, 0.7),)
    assert after(missed, SHORT, Throughput(1.2, 0.6), KEPT)[0].share == 0.7005


def test_a_share_is_kept_to_four_digits() -> None:
    """It stands in the status, which is to change no more than it must."""
    known = (LengthCapacity(*SHORT, 2.0, 0.8),)
    assert after(known, SHORT, Throughput(1.22, 0.61), MISSED)[0].share == 0.789, "not 0.788975"


def test_what_one_burst_has_taken_comes_back_slowly_while_the_level_is_kept() -> None:
    known: tuple[LengthCapacity, ...] = (LengthCapacity(*SHORT, 2.0, 0.6),)
    for _ in range(6):
        known = after(known, SHORT, Throughput(1.0, 0.5), KEPT)
    assert 0.6 < known[0].share < 0.61
    for _ in range(720):
        known = after(known, SHORT, Throughput(1.0, 0.5), KEPT)
    assert 0.78 < known[0].share <= SHARE, "within two hours"


@given(st.floats(0.3, 0.95), st.floats(0.01, 100), st.floats(0.01, 1), st.sampled_from([KEPT, MISSED, FAR, None]))
def test_the_share_stays_in_its_bounds_and_the_rate_above_nothing(
    share: float, rate: float, full: float, verdict: Verdict | None
) -> None:
    (found,) = after((LengthCapacity(*SHORT, 2.0, share),), SHORT, Throughput(rate, full), verdict)
    assert LEAST_SHARE <= found.share <= MOST_SHARE
    assert found.rate > 0
