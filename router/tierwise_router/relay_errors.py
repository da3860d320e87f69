"""Says what became of a request that no tier answered: as OpenAI's errors, with a Retry-After that means something."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import ceil
from typing import Any

from tierwise.routing.failover import Answer, Failure, retry_after_seconds
from tierwise_router.attempt import Result
from tierwise_router.openai_error import ClientError

LONGEST_RETRY_AFTER_SECONDS = 120  # clients of OpenAI give up where more is asked of them
DEFAULT_RETRY_AFTER_SECONDS = 5.0

SENTENCES = {
    Failure.CONNECT: "the replica could not be reached",
    Failure.RESET_IDLE: "the replica closed the connection",
    Failure.RESET: "the replica closed the connection before it answered",
    Failure.TIMEOUT: "no token came in time",
    Failure.DEADLINE: "the time of the request is over",
    Failure.ENDING: "this router ends and takes no request any more",
    Failure.PROTOCOL: "the replica's answer is not valid HTTP",
    Failure.STATUS: "the replica answered with an error",
    Failure.STREAM_ERROR: "the replica answered with an error",
}


def busy(status: int, message: str, seconds: int, code: str) -> ClientError:
    """A refusal for now: the client may ask again after so many seconds."""
    return ClientError(status, f"{message}; try again later", code=code, headers={"retry-after": str(seconds)})


def failed(failure: Failure) -> ClientError:
    """No answer came. Where it is the router that ends, another one answers at once."""
    if failure is Failure.ENDING:
        return busy(503, SENTENCES[failure], 1, "router_ending")
    status = 504 if failure in (Failure.TIMEOUT, Failure.DEADLINE) else 502
    return ClientError(status, SENTENCES[failure], code=f"upstream_{failure.value}")


def waited(ready: bool, seconds: int, *, ending: bool) -> ClientError:
    """No place came free in time. `ready`: the tier had a replica; `ending`: the router lets nobody wait any more."""
    if ending:
        return failed(Failure.ENDING)
    if ready:
        return busy(429, "no replica was free in time", seconds, "queue_timeout")
    return busy(503, "no replica is ready; the tier may be starting", seconds, "no_replica_ready")


def budget_spent(seconds: float, finally_: bool) -> ClientError:
    """The budget does not allow it: for so many seconds at least, `finally_`: and surely not before."""
    final = {"x-should-retry": "false"} if finally_ else {}
    return ClientError(
        429,
        "the budget of this route is spent; ask the owner of the route to raise spec.budget, or wait",
        code="budget_spent",
        headers={"retry-after": str(max(1, round(seconds))), **final},
    )


def resting(seconds: float) -> ClientError:
    """The provider is left alone for so long; not known (0) while one request finds out whether it is well again."""
    wait = max(1, min(LONGEST_RETRY_AFTER_SECONDS, ceil(seconds)))
    return busy(429, "the provider has failed or has asked for a pause, and is left alone", wait, "provider_resting")


def answer_of(result: Result, now: datetime) -> Answer:
    """What upstream said, as far as deciding needs it."""
    return answer_from(result.status, result.values, result.headers, now)


def answer_from(status: int, values: Mapping[str, Any], headers: Mapping[str, str], now: datetime) -> Answer:
    """The same, of the parts of an answer; `values`: its body."""
    error = values.get("error")
    said = error if isinstance(error, dict) else values
    code, kind = said.get("code"), said.get("type")
    return Answer(
        status=status,
        code=code if isinstance(code, str) else "",
        type=kind if isinstance(kind, str) else "",
        retry_after=retry_after_seconds(headers, now),
    )


def refused(result: Result, now: datetime) -> ClientError:
    """What the client is told when nobody else answers after this refusal."""
    seconds = retry_after_seconds(result.headers, now)
    wait = max(1, min(LONGEST_RETRY_AFTER_SECONDS, round(DEFAULT_RETRY_AFTER_SECONDS if seconds is None else seconds)))
    if result.status in (429, 503):
        return busy(result.status, "every tier that may answer is at its limit", wait, "upstream_limited")
    return ClientError(502, f"the tier answered with status {result.status}", code="upstream_error")
