"""Checks what follows a failed attempt, and how long a provider's Retry-After is taken to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.failover import (
    EXHAUSTED,
    Answer,
    Failure,
    Next,
    Verdict,
    after_answer,
    after_failure,
    retry_after_seconds,
)

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


def test_failures_keep_their_names_which_are_metric_labels() -> None:
    assert {one.value for one in Failure} == {
        "connect",
        "deadline",
        "ending",
        "protocol",
        "reset",
        "reset_idle",
        "status",
        "stream_error",
        "timeout",
    }


# --- without an answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("external", [False, True])
def test_a_kept_connection_that_was_closed_is_nobodys_fault(external: bool) -> None:
    assert after_failure(Failure.RESET_IDLE, external) == Verdict(Next.SAME)


@pytest.mark.parametrize("external", [False, True])
def test_a_request_whose_time_is_over_is_no_replicas_fault(external: bool) -> None:
    assert after_failure(Failure.DEADLINE, external) == Verdict(Next.TIER)


@pytest.mark.parametrize("external", [False, True])
def test_after_a_router_has_ended_nothing_is_tried_any_more(external: bool) -> None:
    assert after_failure(Failure.ENDING, external) == Verdict(Next.PASS)


NOBODYS_FAULT = {Failure.RESET_IDLE, Failure.DEADLINE, Failure.ENDING}


@pytest.mark.parametrize("failure", sorted(set(Failure) - NOBODYS_FAULT, key=str))
def test_any_other_failure_is_blamed_and_tried_elsewhere(failure: Failure) -> None:
    assert after_failure(failure, external=False) == Verdict(Next.REPLICA, blame=True)
    assert after_failure(failure, external=True) == Verdict(Next.TIER, blame=True)


# --- a replica of ours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_full_replica_is_not_blamed_and_another_is_asked(status: int) -> None:
    """503: vLLM with a full queue or a paused engine."""
    assert after_answer(Answer(status, retry_after=9.0), external=False) == Verdict(Next.REPLICA)


@pytest.mark.parametrize("status", [500, 501, 502, 504, 529, 599])
def test_a_replica_that_breaks_is_blamed_and_another_is_asked(status: int) -> None:
    assert after_answer(Answer(status), external=False) == Verdict(Next.REPLICA, blame=True)


@pytest.mark.parametrize("kind", ["NotFoundError", ""])
def test_a_replica_that_does_not_know_its_model_is_another_pod_at_this_address(kind: str) -> None:
    """Or it has no such path, for which any client could ask: nobody is blamed."""
    assert after_answer(Answer(404, type=kind), external=False) == Verdict(Next.REPLICA)


def test_a_response_id_that_nobody_knows_is_the_clients_mistake() -> None:
    """Three of them would otherwise open the breaker of a healthy replica."""
    assert after_answer(Answer(404, type="invalid_request_error"), external=False) == Verdict(Next.PASS)


def test_a_broken_replica_is_blamed_whatever_it_calls_it() -> None:
    assert after_answer(Answer(500, type="invalid_request_error"), external=False).blame


@pytest.mark.parametrize("status", [400, 401, 402, 403, 405, 408, 409, 413, 415, 422, 499])
def test_what_else_a_replica_refuses_is_passed_on(status: int) -> None:
    assert after_answer(Answer(status, code="insufficient_quota"), external=False) == Verdict(Next.PASS)


# --- a provider -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 405, 409, 413, 415, 422, 499])
def test_a_clients_mistake_is_passed_on(status: int) -> None:
    assert after_answer(Answer(status, code="invalid_value"), external=True) == Verdict(Next.PASS)


@pytest.mark.parametrize("status", [401, 403, 404, 408])
def test_what_is_wrong_between_us_and_the_provider_is_not_the_clients(status: int) -> None:
    """Our key, our rights, our model's name, its slowness. Only the key is wrong for everybody: what one client asks
    for must not take a provider away from the others."""
    answer = Answer(status, code="model_not_found", type="invalid_request_error")
    assert after_answer(answer, external=True) == Verdict(Next.TIER, blame=status == 401)


@pytest.mark.parametrize(
    ("status", "said", "rest"),
    [(500, None, 0.0), (502, 7.0, 7.0), (503, None, 0.0), (503, 20.0, 20.0), (503, 4000.0, 300.0), (529, 30.0, 30.0)],
)
def test_a_provider_that_breaks_is_blamed_left_and_given_the_rest_it_asks_for(
    status: int, said: float | None, rest: float
) -> None:
    assert after_answer(Answer(status, retry_after=said), external=True) == Verdict(
        Next.TIER, blame=True, rest_seconds=rest
    )


EXHAUSTED_VERDICT = Verdict(Next.TIER, rest_seconds=300.0)


@pytest.mark.parametrize(
    "code",
    [
        "credit_balance_exhausted",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "billing_hard_limit_reached",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 429])
def test_what_is_exhausted_is_not_waited_for(code: str, status: int) -> None:
    assert code in EXHAUSTED
    answer = Answer(status, code=code, type="requests", retry_after=0.5)
    assert after_answer(answer, external=True) == EXHAUSTED_VERDICT


def test_a_rate_limit_without_a_word_is_kept_for_five_seconds() -> None:
    assert Answer(429) == Answer(429, "", "", None)
    assert after_answer(Answer(429), external=True) == Verdict(Next.TIER, rest_seconds=5.0)


def test_a_provider_that_wants_to_be_paid_is_exhausted() -> None:
    assert after_answer(Answer(402), external=True) == EXHAUSTED_VERDICT


@pytest.mark.parametrize("code", ["", "a_new_word"])
def test_where_the_code_says_nothing_the_type_tells_what_is_exhausted(code: str) -> None:
    assert after_answer(Answer(429, code=code, type="insufficient_quota"), external=True) == EXHAUSTED_VERDICT


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "slow_down"])
def test_the_code_is_believed_before_the_type(code: str) -> None:
    answer = Answer(429, code=code, type="insufficient_quota", retry_after=1.0)
    assert after_answer(answer, external=True) == Verdict(Next.SAME, wait_seconds=1.0)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (None, Verdict(Next.TIER, rest_seconds=5.0)),
        (0.0, Verdict(Next.SAME, wait_seconds=0.1)),
        (0.09, Verdict(Next.SAME, wait_seconds=0.1)),
        (0.2, Verdict(Next.SAME, wait_seconds=0.2)),
        (2.0, Verdict(Next.SAME, wait_seconds=2.0)),
        (2.1, Verdict(Next.TIER, rest_seconds=2.1)),
        (300.0, Verdict(Next.TIER, rest_seconds=300.0)),
        (86400.0, Verdict(Next.TIER, rest_seconds=300.0)),
    ],
)
def test_a_rate_limit_is_waited_for_when_it_is_short_and_kept_when_it_is_long(
    said: float | None, verdict: Verdict
) -> None:
    assert after_answer(Answer(429, retry_after=said), external=True) == verdict


_words = st.sampled_from(["", "invalid_request_error", "slow_down", "rate_limit_exceeded", *sorted(EXHAUSTED)])
_answers = st.builds(Answer, st.integers(400, 599), _words, _words, st.none() | st.floats(0, 86_400))


@given(_answers, st.booleans())
def test_every_verdict_is_bounded_and_says_one_thing(answer: Answer, external: bool) -> None:
    verdict = after_answer(answer, external)
    assert 0 <= verdict.rest_seconds <= 300
    assert 0 <= verdict.wait_seconds <= 2
    assert (verdict.wait_seconds > 0) == (verdict.next is Next.SAME)
    assert verdict.next is not (Next.REPLICA if external else Next.TIER)
    if verdict.next in (Next.PASS, Next.SAME):
        assert not verdict.blame
        assert not verdict.rest_seconds
    if not external:
        assert not verdict.rest_seconds


# --- Retry-After ----------------------------------------------------------------------------------------------------


def said(after: str | None = None, milliseconds: str | None = None) -> float | None:
    headers = {} if after is None else {"retry-after": after}
    if milliseconds is not None:
        headers["retry-after-ms"] = milliseconds
    return retry_after_seconds(headers, NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("3", 3.0),
        (" 3 ", 3.0),
        ("1.5", 1.5),
        ("86399", 86399.0),
        ("86401", 86400.0),
        ("9" * 40, 86400.0),
        ("1e300", 86400.0),
        ("Sun, 29 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 29 Nov 2026 13:00:30 +0100", 30.0),
        ("Sun, 29 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("Sunday, 29-Nov-26 12:01:00 GMT", 60.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0),
    ],
)
def test_seconds_and_dates_are_understood_and_bounded_to_a_day(text: str, seconds: float) -> None:
    assert said(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "-1",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "soon",
        "3s",
        "1,5",
        "Sun, 32 Nov 2026 12:00:30 GMT",
        "12:00",
        "Sun, 29 Nov 99999999999 12:00:30 GMT",
        "Sun, 29 Nov 2026 12:00:30 +9999999999999999999",
    ],
)
def test_nonsense_says_nothing(text: str) -> None:
    assert said(text) is None
    assert said(milliseconds=text) is None


def test_without_a_header_nothing_is_said() -> None:
    assert said() is None


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [("250", 0.25), ("1500.5", 1.5005), ("0", 0.0), ("9" * 20, 86400.0)]
)
def test_milliseconds_come_first(milliseconds: str, seconds: float) -> None:
    assert said("7", milliseconds) == pytest.approx(seconds)


@pytest.mark.parametrize("milliseconds", ["", "-5", "junk", "nan"])
def test_where_the_milliseconds_are_nonsense_the_seconds_count(milliseconds: str) -> None:
    assert said("7", milliseconds) == 7.0


def test_a_date_without_a_zone_is_utc_wherever_we_are() -> None:
    here = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert retry_after_seconds({"retry-after": "Sun, 29 Nov 2026 12:00:30 -0000"}, here) == 30.0


@given(st.datetimes(datetime(2000, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC)))
def test_any_date_is_its_distance_from_now(then: datetime) -> None:
    then = then.replace(microsecond=0)
    seconds = retry_after_seconds({"retry-after": format_datetime(then, usegmt=True)}, NOW)
    assert seconds == min(86400.0, max(0.0, (then - NOW).total_seconds()))


_numbers = st.integers(-(10**30), 10**30) | st.integers(0, 60)
_dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Sun", "(", "", "Sunday"]),
    _numbers,
    st.sampled_from(["Nov", "11", "nov", "-"]),
    _numbers,
    _numbers,
    _numbers,
    _numbers,
    st.sampled_from(["GMT", "", "EST", "+"]) | _numbers.map("{:+}".format),
)


@given(st.text() | _dates, st.text(max_size=9) | _dates)
def test_no_text_breaks_it(text: str, milliseconds: str) -> None:
    seconds = said(text, milliseconds)
    assert seconds is None or 0 <= seconds <= 86_400
