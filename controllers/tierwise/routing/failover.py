"""Decides what follows a failed attempt: the same replica again, another one, another tier, or an answer.

All of it is before the first content byte; after it there is nothing to decide, the error is passed on. A client's own
mistake (400) is passed on at once. What a provider calls exhausted will not come back by waiting, so it is not waited
for; `error.code` says so, `error.type` may still be insufficient_quota for something that will.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

EXHAUSTED = frozenset(
    {
        "credit_balance_exhausted",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "billing_hard_limit_reached",
    }
)
RATE_LIMITED = frozenset({"rate_limit_exceeded", "slow_down"})
EXHAUSTED_REST_SECONDS = 300.0
LONGEST_REST_SECONDS = 300.0
DEFAULT_REST_SECONDS = 5.0
WORTH_WAITING_SECONDS = 2.0
SHORTEST_WAIT_SECONDS = 0.1
LONGEST_RETRY_AFTER_SECONDS = 86_400.0


class Failure(Enum):
    """How an attempt failed before its answer began; the values are metric labels."""

    CONNECT = "connect"
    RESET_IDLE = "reset_idle"
    """A kept connection was closed as the request was sent: says nothing about the replica."""
    RESET = "reset"
    TIMEOUT = "timeout"
    """No first token in time."""
    DEADLINE = "deadline"
    """The time of the request is over, wherever it was spent: says nothing about the replica."""
    ENDING = "ending"
    """This router ends, and its time for open answers is over: says nothing about the replica."""
    PROTOCOL = "protocol"
    STATUS = "status"
    STREAM_ERROR = "stream_error"
    """Status 200, but the first event is an error."""


class Next(Enum):
    """What follows."""

    SAME = "same"
    REPLICA = "replica"
    TIER = "tier"
    PASS = "pass"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Answer:
    """What upstream said, as far as deciding needs it. `retry_after`: seconds, None where it did not say."""

    status: int
    code: str = ""
    type: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows a failed attempt; `blame` counts it against the replica's breaker, `rest_seconds` keeps every
    request away from it for so long, `wait_seconds` is the pause before the same replica is asked again."""

    next: Next
    blame: bool = False
    rest_seconds: float = 0.0
    wait_seconds: float = 0.0


def after_failure(failure: Failure, external: bool) -> Verdict:
    """After an attempt without an answer."""
    if failure is Failure.RESET_IDLE:
        return Verdict(Next.SAME)
    if failure is Failure.DEADLINE:
        return Verdict(Next.TIER)
    if failure is Failure.ENDING:
        return Verdict(Next.PASS)
    return Verdict(Next.TIER if external else Next.REPLICA, blame=True)


def after_answer(answer: Answer, external: bool) -> Verdict:
    """After an answer with an error status."""
    status = answer.status
    if external:
        return _from_provider(answer)
    if status in (429, 503):
        return Verdict(Next.REPLICA)
    # vLLM says so of a response id that it does not know, which is the client's; of a model it says NotFoundError.
    if status == 404 and answer.type == "invalid_request_error":
        return Verdict(Next.PASS)
    if (
        status == 404
    ):  # another pod has got this address, or no engine has this path: no blame, a client could ask for it
        return Verdict(Next.REPLICA)
    if status >= 500:
        return Verdict(Next.REPLICA, blame=True)
    return Verdict(Next.PASS)


def _from_provider(answer: Answer) -> Verdict:
    status = answer.status
    if status == 429:
        return _limited(answer)
    if status >= 500:
        return Verdict(Next.TIER, blame=True, rest_seconds=min(answer.retry_after or 0.0, LONGEST_REST_SECONDS))
    if answer.code in EXHAUSTED or status == 402:
        return Verdict(Next.TIER, rest_seconds=EXHAUSTED_REST_SECONDS)
    # Our key: nobody gets an answer with it. The others may be about this one request: no client may take a provider
    # away from everybody.
    if status in (401, 403, 404, 408):
        return Verdict(Next.TIER, blame=status == 401)
    return Verdict(Next.PASS)


def _limited(answer: Answer) -> Verdict:
    if answer.code in EXHAUSTED or (answer.type in EXHAUSTED and answer.code not in RATE_LIMITED):
        return Verdict(Next.TIER, rest_seconds=EXHAUSTED_REST_SECONDS)
    if answer.retry_after is None:
        return Verdict(Next.TIER, rest_seconds=DEFAULT_REST_SECONDS)
    if answer.retry_after <= WORTH_WAITING_SECONDS:
        # Never 0: a retry without a pause is the one after a closed connection, which no budget counts.
        return Verdict(Next.SAME, wait_seconds=max(answer.retry_after, SHORTEST_WAIT_SECONDS))
    return Verdict(Next.TIER, rest_seconds=min(answer.retry_after, LONGEST_REST_SECONDS))


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """What `retry-after-ms` and `retry-after` (seconds or a date) say, at most a day; None where they say nothing, or
    nonsense. Names are in lower case; `now` has a time zone."""
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * factor
        except ValueError:
            seconds = _until(text, now)
        if 0 <= seconds < float("inf"):
            return min(seconds, LONGEST_RETRY_AFTER_SECONDS)
    return None


def _until(text: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter: a year or an offset that no integer of C holds
        return -1.0
    if then.tzinfo is None:  # "-0000": UTC, of a clock whose zone is not known
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())
