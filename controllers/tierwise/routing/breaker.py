"""Keeps requests away from what fails, and keeps retries from making an overload worse.

A breaker opens after three failures in a row and lets one request through when its pause has passed; each opening
doubles the pause. A replica's refusal because of load (429, 503) is no failure: ejecting whoever says "full" makes the
fleet smaller just when it is short.
"""

from __future__ import annotations

FAILURES_TO_OPEN = 3
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0

RETRY_SHARE = 0.2
RETRY_RESERVE = 10.0
RETRIES_AT_MOST = 100.0
RETRIES_PER_SECOND = 0.5


class Breaker:
    """Of one replica or provider. Times are seconds of a clock that only grows."""

    __slots__ = ("_failures", "_open_until", "_pause", "_probing", "_rest_until")

    def __init__(self) -> None:
        self._failures = 0
        self._pause = 0.0
        self._open_until = 0.0
        self._rest_until = 0.0
        self._probing = False

    def allows(self, now: float) -> bool:
        """Whether a request may be sent."""
        return not self._probing and not self.is_open(now)

    def sent(self) -> None:
        """A request is sent; while the breaker is half open it is the only one."""
        if self._failures >= FAILURES_TO_OPEN:
            self._probing = True

    def succeeded(self) -> None:
        """It was answered. A rest that was asked for goes on: what is answered now was sent before."""
        self._failures = 0
        self._pause = 0.0
        self._open_until = 0.0
        self._probing = False

    def begun(self) -> None:
        """Its answer has begun, and may still break. A probe is over, since whoever waits behind a long answer would
        wait for minutes; but only an answer that has ended says that all is well: one failure more opens it again."""
        self._failures = min(self._failures, FAILURES_TO_OPEN - 1)
        self._probing = False

    def failed(self, now: float) -> None:
        """It failed. While the breaker is open that says nothing new: fifty requests that fail together are one."""
        self._probing = False
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN and now >= self._open_until:
            self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2 or FIRST_PAUSE_SECONDS)
            self._open_until = now + self._pause

    def given_up(self) -> None:
        """It ended without telling anything about the replica: the client went away."""
        self._probing = False

    def rest(self, now: float, seconds: float) -> None:
        """Send nothing for so long: a provider has asked for it."""
        self._probing = False
        self._rest_until = max(self._rest_until, now + seconds)

    def is_open(self, now: float) -> bool:
        """Whether it keeps requests away now."""
        return self.seconds_left(now) > 0

    def seconds_left(self, now: float) -> float:
        """For how long it still keeps requests away; 0 when it does not."""
        return max(0.0, self._open_until - now, self._rest_until - now)


class RetryBudget:
    """Retries are at most a fifth of the requests, and a few more where there are few requests."""

    __slots__ = ("_balance", "_seen")

    def __init__(self) -> None:
        self._balance = RETRY_RESERVE
        self._seen = 0.0

    def request(self) -> None:
        """A request has come in."""
        self._balance = min(RETRIES_AT_MOST, self._balance + RETRY_SHARE)

    def take(self, now: float) -> bool:
        """Whether one retry may be made now; if so it is counted. `now` only grows."""
        if self._balance < RETRY_RESERVE:
            self._balance = min(RETRY_RESERVE, self._balance + (now - self._seen) * RETRIES_PER_SECOND)
        self._seen = now
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True
