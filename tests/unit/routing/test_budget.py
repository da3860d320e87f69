"""Checks that spending stays within a budget, whatever is reserved, settled or begun anew, and where periods begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.budget import Account, HourlyCap, Lease, Reservation, Told, next_period, period_start
from tierwise.routing.route import Budget

# --- periods --------------------------------------------------------------------------------------------------------


def budget(zone: str, period: str = "Day") -> Budget:
    return Budget(Decimal(100), period, zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "at", "start", "following"),
    [
        ("UTC", "2026-11-29T00:00", "2026-11-29T00:00", "2026-11-30T00:00"),
        ("UTC", "2026-11-29T23:59:59.999999", "2026-11-29T00:00", "2026-11-30T00:00"),
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("Europe/Berlin", "2026-10-25T00:30", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
        ("America/New_York", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("America/New_York", "2026-11-01T06:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("Asia/Kolkata", "2026-11-29T18:29", "2026-11-28T18:30", "2026-11-29T18:30"),
        ("Asia/Kolkata", "2026-11-29T18:30", "2026-11-29T18:30", "2026-11-30T18:30"),
        ("Australia/Lord_Howe", "2026-10-03T20:00", "2026-10-03T13:30", "2026-10-04T13:00"),  # half an hour less
        ("Australia/Lord_Howe", "2027-04-03T20:00", "2027-04-03T13:00", "2027-04-04T13:30"),
        ("America/Santiago", "2026-09-06T12:00", "2026-09-06T04:00", "2026-09-07T03:00"),  # without a midnight
        ("America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),  # with two
    ],
)
def test_a_day_begins_at_midnight_of_its_zone(zone: str, at: str, start: str, following: str) -> None:
    assert period_start(utc(at), budget(zone)) == utc(start)
    assert next_period(utc(at), budget(zone)) == utc(following)


@pytest.mark.parametrize(
    ("zone", "at", "start", "following"),
    [
        ("UTC", "2026-01-31T23:59", "2026-01-01T00:00", "2026-02-01T00:00"),
        ("UTC", "2026-02-28T12:00", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("UTC", "2026-07-31T00:00", "2026-07-01T00:00", "2026-08-01T00:00"),
        ("Europe/Berlin", "2026-03-31T22:30", "2026-03-31T22:00", "2026-04-30T22:00"),
        ("Europe/Berlin", "2026-03-31T21:30", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("America/New_York", "2026-11-30T12:00", "2026-11-01T04:00", "2026-12-01T05:00"),
        ("Asia/Kolkata", "2026-11-30T18:30", "2026-11-30T18:30", "2026-12-31T18:30"),
        ("Australia/Lord_Howe", "2026-10-20T00:00", "2026-09-30T13:30", "2026-10-31T13:00"),
    ],
)
def test_a_month_begins_at_midnight_of_its_first_day(zone: str, at: str, start: str, following: str) -> None:
    assert period_start(utc(at), budget(zone, "Month")) == utc(start)
    assert next_period(utc(at), budget(zone, "Month")) == utc(following)


def test_a_clock_in_another_zone_tells_the_same_period() -> None:
    at = utc("2026-11-29T23:30").astimezone(ZoneInfo("Asia/Tokyo"))
    assert period_start(at, budget("Europe/Berlin")) == utc("2026-11-29T23:00")
    assert period_start(at, budget("Europe/Berlin")).tzinfo is UTC


ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
]


@given(
    st.datetimes(datetime(2011, 12, 1), datetime(2012, 1, 31))
    | st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
    st.sampled_from(ZONES),
    st.sampled_from(["Day", "Month"]),
)
def test_periods_follow_each_other_without_gap_or_overlap(at: datetime, zone: str, period: str) -> None:
    kind, at = budget(zone, period), at.replace(tzinfo=UTC)
    start, following = period_start(at, kind), next_period(at, kind)
    assert start <= at < following
    moment = timedelta(microseconds=1)
    for inside in (start, at, following - moment):
        assert period_start(inside, kind) == start
        assert next_period(inside, kind) == following
    assert period_start(following, kind) == following
    before, first, last = (one.astimezone(ZoneInfo(zone)).date() for one in (start - moment, start, following - moment))
    assert before < first
    if period == "Day":
        assert first == last
    else:
        assert first.day == 1
        assert (first.year, first.month) == (last.year, last.month)


@pytest.mark.parametrize(("period", "fewest", "most"), [("Day", 22, 26), ("Month", 24 * 28 - 2, 24 * 31 + 2)])
def test_every_day_and_every_month_of_ten_years_has_its_length(period: str, fewest: int, most: int) -> None:
    for zone in ("Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"):
        at, starts = utc("2020-01-01T12:00"), []
        while at.year < 2023 if period == "Day" else at.year < 2030:
            starts.append(at := next_period(at, budget(zone, period)))
        assert all(fewest <= (b - a).total_seconds() / 3600 <= most for a, b in pairwise(starts))


# --- the account ----------------------------------------------------------------------------------------------------

NOVEMBER, DECEMBER = utc("2026-11-01T00:00"), utc("2026-12-01T00:00")


def account(allowance: str = "10", spent: str = "0") -> Account:
    return Account(Decimal(allowance), NOVEMBER, Decimal(spent))


def standing(one: Account) -> list[object]:
    """What is spent, reserved and left."""
    return [one.spent, one.reserved, one.left]


def reserved(one: Account, amount: str) -> Reservation:
    reservation = one.reserve(Decimal(amount))
    assert reservation is not None
    return reservation


def test_an_account_follows_the_lease_of_its_period_and_has_nothing_without_one() -> None:
    later = NOVEMBER + timedelta(days=1)
    one = account("1", spent="1")
    one.follow(Lease(NOVEMBER, Decimal(4), later))
    assert (one.allowance, one.spent, one.period) == (Decimal(4), Decimal(1), NOVEMBER)
    one.follow(Lease(later, Decimal(7), later))
    assert (one.allowance, one.spent, one.period) == (Decimal(7), Decimal(0), later)
    one.follow(Lease(NOVEMBER, Decimal(4), later))
    assert (one.allowance, one.period) == (Decimal(0), later), "a lease of an earlier period was read late"
    one.follow(Lease(later, Decimal(7), later))
    one.follow(None)
    assert (one.allowance, one.period) == (Decimal(0), later)


def test_two_hundred_requests_where_one_fits_are_one() -> None:
    one = account(spent="9.50")
    admitted = [one.reserve(Decimal("0.30")) for _ in range(200)]
    assert sum(reservation is not None for reservation in admitted) == 1
    assert one.left == Decimal("0.20")


def test_all_of_it_may_be_reserved_and_then_nothing() -> None:
    one = account()
    reserved(one, "4")
    reserved(one, "6")
    assert one.left == 0
    assert one.reserve(Decimal("0.000001")) is None
    assert one.reserve(Decimal(0)) is None


def test_what_a_refused_request_asked_for_is_not_set_aside() -> None:
    one = account()
    assert one.reserve(Decimal("10.01")) is None
    assert one.reserved == 0
    reserved(one, "10")


def test_settling_replaces_what_was_set_aside_by_what_it_cost() -> None:
    one = account()
    reservation = reserved(one, "4")
    assert standing(one) == [0, 4, 6]
    one.settle(reservation, Decimal("1.5"))
    assert standing(one) == [Decimal("1.5"), 0, Decimal("8.5")]


def test_what_several_requests_cost_adds_up() -> None:
    one = account(spent="1")
    for cost in ("2", "0.5"):
        one.settle(reserved(one, "3"), Decimal(cost))
    assert one.spent == Decimal("3.5")


def test_a_second_settling_changes_nothing() -> None:
    one = account()
    reservation = reserved(one, "4")
    for _ in range(3):
        one.settle(reservation, Decimal(1))
    assert standing(one) == [1, 0, 9]
    assert reservation.settled


def test_a_request_that_cost_more_than_its_estimate_leaves_nothing_and_owes_nothing() -> None:
    one = account()
    one.settle(reserved(one, "4"), Decimal(25))
    assert one.left == 0
    assert one.spent == 25
    assert one.reserve(Decimal("0.01")) is None


def test_a_new_period_begins_with_nothing_spent() -> None:
    one = account(spent="9")
    old = reserved(one, "1")
    one.enter(DECEMBER)
    assert one.period == DECEMBER
    assert standing(one) == [0, 0, 10]
    one.settle(old, Decimal(1))
    assert standing(one) == [0, 0, 10]
    assert old.settled
    assert reserved(one, "2").period == DECEMBER


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    one = account(spent="9")
    one.enter(DECEMBER)
    reservation = reserved(one, "3")
    for period in (NOVEMBER, DECEMBER):
        one.enter(period)
        assert one.period == DECEMBER
        assert standing(one) == [0, 3, 7]
    one.settle(reservation, Decimal(2))
    assert one.spent == 2


_amounts = st.decimals(0, 20, places=2)
_moves = st.one_of(
    st.tuples(st.just("reserve"), _amounts),
    st.tuples(st.just("settle"), _amounts),
    st.tuples(st.just("settle again"), _amounts),
    st.tuples(st.just("enter"), st.integers(0, 3)),
)


@given(st.decimals(0, 50, places=2), st.decimals(0, 60, places=2), st.lists(_moves, max_size=60), st.data())
def test_whatever_happens_nothing_is_negative_and_no_more_is_admitted_than_fits(
    allowance: Decimal, spent: Decimal, moves: list[tuple[str, Decimal]], data: st.DataObject
) -> None:
    one = Account(allowance, NOVEMBER, spent)
    open_: list[Reservation] = []
    closed: list[Reservation] = []
    for move, amount in moves:
        before = (one.spent, one.reserved)
        if move == "reserve":
            made = one.reserve(amount)
            assert (made is not None) == (before[0] + before[1] < allowance and sum(before) + amount <= allowance)
            open_ += [made] if made is not None else []
        elif move == "enter":
            one.enter(NOVEMBER + timedelta(days=int(amount)))
        elif move == "settle" and open_:
            closed.append(open_.pop(data.draw(st.integers(0, len(open_) - 1))))
            one.settle(closed[-1], amount)
            here = closed[-1].period == one.period
            assert one.spent == before[0] + (amount if here else 0)
        elif move == "settle again" and closed:
            one.settle(closed[0], amount)
            assert (one.spent, one.reserved) == before
        assert one.reserved == sum(each.amount for each in open_ if each.period == one.period)
        assert one.left == max(0, allowance - one.spent - one.reserved)
        assert min(one.spent, one.reserved, one.left) >= 0


# --- the cap of an hour ---------------------------------------------------------------------------------------------


def test_up_to_the_cap_spilling_fits() -> None:
    cap = HourlyCap()
    assert cap.fits(0.0, Decimal(5), Decimal(5))
    assert not cap.fits(0.0, Decimal("5.01"), Decimal(5))
    assert cap.fits(0.0, Decimal(10**9), None)


def test_what_is_set_aside_counts_until_it_is_settled() -> None:
    cap = HourlyCap()
    cap.reserve(Decimal(4))
    assert not cap.fits(0.0, Decimal(2), Decimal(5))
    cap.settle(0.0, Decimal(4), Decimal(1))
    assert cap.fits(0.0, Decimal(4), Decimal(5))
    assert not cap.fits(0.0, Decimal("4.01"), Decimal(5))
    assert cap.spent(0.0) == 1


def test_what_several_requests_set_aside_adds_up() -> None:
    cap = HourlyCap()
    cap.reserve(Decimal(4))
    cap.reserve(Decimal(1))
    assert cap.fits(0.0, Decimal(5), Decimal(10))
    assert not cap.fits(0.0, Decimal(6), Decimal(10))


@pytest.mark.parametrize("at", [0.0, 59.9, 60.0, 1e6 + 7])
def test_what_was_spent_counts_for_an_hour_and_at_most_a_minute_more(at: float) -> None:
    cap = HourlyCap()
    cap.settle(at, Decimal(0), Decimal(2))
    cap.settle(at + 0.01, Decimal(0), Decimal(1))
    assert cap.spent(at + 3600.0) == 3
    assert cap.spent(at + 3660.0) <= 1
    assert cap.spent(at + 3660.02) == 0


def test_without_a_cap_the_past_is_forgotten_too() -> None:
    cap = HourlyCap()
    for minute in range(500):
        assert cap.fits(60.0 * minute, Decimal(1), None)
        cap.reserve(Decimal(1))
        cap.settle(60.0 * minute, Decimal(1), Decimal(1))
    assert len(cap._minutes) == 61


@given(st.lists(st.tuples(st.floats(0, 2000), st.decimals(0, 3, places=2), st.decimals(0, 1)), max_size=60))
def test_no_hour_has_more_than_the_cap(moves: list[tuple[float, Decimal, Decimal]]) -> None:
    """Each request costs at most what was set aside for it, and ends at once."""
    cap, now, spent = HourlyCap(), 12.0, list[tuple[float, Decimal]]()
    for seconds, amount, share in moves:
        now += seconds
        if cap.fits(now, amount, Decimal(5)):
            cap.reserve(amount)
            cap.settle(now, amount, amount * share)
            spent.append((now, amount * share))
    for begin, _ in spent:
        assert sum(cost for at, cost in spent if begin <= at <= begin + 3600) <= 5


# --- what is told of others -----------------------------------------------------------------------------------------


def test_an_amount_that_is_told_counts_until_it_is_told_otherwise() -> None:
    told = Told()
    assert told.amount(5.0) == 0
    told.hear(10.0, Decimal(3))
    assert told.amount(10.0) == 3
    told.hear(20.0, Decimal(4))
    assert told.amount(20.0) == 4
    told.hear(30.0, None)
    assert told.amount(30.0) == 0


def test_one_that_does_not_change_is_an_hour_old_after_an_hour() -> None:
    told = Told()
    told.hear(10.0, Decimal(3))
    told.hear(2000.0, Decimal(3))
    assert told.amount(3609.0) == 3
    assert told.amount(3610.0) == 0
    told.hear(3700.0, Decimal(3))
    assert told.amount(3700.0) == 0, "the same word is no news"
    told.hear(3710.0, Decimal("3.1"))
    assert told.amount(3710.0) == Decimal("3.1")
