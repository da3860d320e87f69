"""Asks a tier in the background: with capacity that nobody else needs, and for money that is set aside for it.

A question of ours waits as long as a client could notice it: while anybody waits at the tier, or 70 % of its places are
used. It is a batch request there, so that it gets a quarter of a replica at most. A tier that answers 429 or 503 is
busy as well, and gets no question of ours for as long as it says: whoever dropped the sample would measure quiet hours.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from tierwise.routing.cost import NOTHING, Usage, cost, estimate, read_usage
from tierwise.routing.failover import DEFAULT_REST_SECONDS, LONGEST_REST_SECONDS, Failure, after_answer
from tierwise.routing.route import Budget, Overflow, Priority, Sampling
from tierwise.routing.saturation import PLACES_FULL
from tierwise_router.headers import request_bytes
from tierwise_router.page import Refusal, fetch
from tierwise_router.purse import Hold, Purse
from tierwise_router.relay_errors import answer_from
from tierwise_router.request_body import Shape, shape
from tierwise_router.router_state import RouterState
from tierwise_router.sampler import CHAT
from tierwise_router.tier import Slot, Tier, Wish
from tierwise_router.upstream import UpstreamError

FREE = 0.7 * PLACES_FULL
LEAST = Decimal("0.00001")
"""Set aside for a question whose cost nobody knows before: a budget that is spent stops those as well."""
ANSWER_SECONDS = 300.0
MOST_BYTES = 1 << 20
_MAYBE_BILLED = frozenset({Failure.RESET, Failure.TIMEOUT})


class NotNow(Exception):
    """The tier is busy, or the day's money is spent: ask again later."""


class NoAnswer(Exception):
    """The tier has not answered, or nothing that can be compared. `cost`: US dollars that it has cost all the same."""

    def __init__(self, message: str, cost: Decimal = NOTHING) -> None:
        super().__init__(message)
        self.cost = cost


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tier has said, with its tokens."""

    text: str
    output_tokens: int
    finish_reason: str = ""
    input_tokens: int = 0


class Background:
    """Of one router. `path`: where the spending of the day is kept; None forgets it with the process."""

    def __init__(self, state: RouterState, path: Path | None = None) -> None:
        self._state = state
        self._path = path
        self._purse: Purse | None = None
        self._amount = NOTHING
        self._not_before: dict[str, float] = {}
        """By tier: until then it has said that it is busy. Of ours alone: clients find out by themselves."""

    def free(self, tier: Tier) -> bool:
        """Whether nobody would wait for a question of ours."""
        now = self._state.monotonic()
        if now < self._not_before.get(tier.spec.name, now):
            return False
        if not tier.ready or tier.waiting or tier.resting(now):
            return False
        return tier.fullness(self._state.route.queue) < FREE

    async def ask(self, tier: Tier, values: dict[str, Any], purpose: str) -> Answer:
        """The answer of a tier to a body of chat completions. Raises NotNow and NoAnswer."""
        if not self.free(tier):
            raise NotNow
        asked, body = shape(values), _written({**values, "model": tier.spec.model, "stream": False})
        wanted = estimate(asked.prompt_tokens, asked.max_tokens, tier.spec.tariff) or LEAST
        holds = self._hold(tier, wanted)
        spent = NOTHING
        try:
            slot = tier.try_take(Wish(Priority.BATCH, asked.blocks, streamed=False))
            if slot is None:
                raise NotNow
            answer, spent = await self._exchange(tier, slot, body, asked)
            if not answer.text:
                raise NoAnswer("the answer has no text")
            return answer
        except NoAnswer as failed:
            spent = spent or failed.cost
            raise
        finally:
            for purse, hold in holds:
                purse.settle(hold, spent)
            if spent:
                self._state.shadows.pay(tier.spec.name, purpose, spent)

    def _hold(self, tier: Tier, wanted: Decimal) -> list[tuple[Purse, Hold]]:
        """The money: of the day's for samples, and of the route's budget where a provider bills it."""
        purses = [self._day()] + ([self._state.purse] if tier.spec.external else [])
        holds: list[tuple[Purse, Hold]] = []
        try:
            for purse in purses:
                hold = purse.hold(wanted, False)
                if hold is None:
                    raise NotNow
                holds.append((purse, hold))
        except BaseException:  # a purse that cannot write down what is spent raises OSError
            for purse, hold in holds:
                purse.settle(hold, NOTHING)
            raise
        return holds

    def _day(self) -> Purse:
        sampling = self._state.route.sampling or Sampling(0, "", NOTHING)
        if self._purse is None or self._amount != sampling.dollars_per_day:
            budget = Budget(sampling.dollars_per_day, "Day")
            clocks = self._state.clocks
            self._purse = Purse(budget, Overflow(), clocks.now, clocks.monotonic, self._path)
            self._amount = sampling.dollars_per_day
        return self._purse

    async def _exchange(self, tier: Tier, slot: Slot, body: bytes, asked: Shape) -> tuple[Answer, Decimal]:
        state, replica = self._state, slot.pick.replica
        pool, key = tier.pool(replica), state.key_of(tier.spec)
        raw: bytes | None = None
        failure: UpstreamError | TimeoutError | None = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                request = request_bytes(pool.server, CHAT, (), body, state.new_id(), key)
                raw = await fetch(pool, request, state.monotonic, MOST_BYTES)
            replica.breaker.succeeded()
        except (UpstreamError, TimeoutError) as error:
            failure = error
        finally:
            # Clients find out by themselves how a replica is: a question of ours must not take it away from them.
            if raw is None:
                replica.breaker.given_up()
            seconds = tier.release(slot)
        if isinstance(failure, Refusal) and (pause := self._pause(tier, failure)):
            self._not_before[tier.spec.name] = state.monotonic() + pause
            raise NotNow
        if raw is None:
            raise NoAnswer(str(failure), _lost(tier, failure, asked, seconds)) from failure
        said = _loads(raw)
        usage = read_usage(said.get("usage"), said.get("service_tier"))
        text, reason = text_of(said)
        usage = usage or Usage(asked.prompt_tokens, output=len(text) // 4, estimated=True)
        state.shadows.work(tier.spec.name, usage.prompt, usage.output)
        spent = cost(usage, tier.spec.tariff, seconds)
        if not said:
            raise NoAnswer("the answer is no JSON object", spent)
        return Answer(text, usage.output, reason, usage.prompt), spent

    def _pause(self, tier: Tier, refusal: Refusal) -> float:
        """For how many seconds a tier wants to be left alone; 0 where its answer is about the question."""
        said = answer_from(refusal.status, _loads(refusal.body), refusal.headers, self._state.now())
        verdict = after_answer(said, tier.spec.external)
        if pause := verdict.rest_seconds or verdict.wait_seconds:
            return pause
        busy = not tier.spec.external and said.status in (429, 503)
        return min(said.retry_after or DEFAULT_REST_SECONDS, LONGEST_REST_SECONDS) if busy else 0.0


def _lost(tier: Tier, failure: UpstreamError | TimeoutError | None, asked: Shape, seconds: float) -> Decimal:
    """What a question without an answer has cost, counted as for a client: what reached a provider may be on its bill,
    and a replica has worked unless it was not reached."""
    kind = failure.failure if isinstance(failure, UpstreamError) else Failure.TIMEOUT
    if kind is Failure.CONNECT:
        return NOTHING
    billed = tier.spec.external and kind in _MAYBE_BILLED
    return cost(Usage(asked.prompt_tokens, estimated=True) if billed else Usage(), tier.spec.tariff, seconds)


def text_of(said: dict[str, Any]) -> tuple[str, str]:
    """The text of a whole answer, and why it ended; empty where it is no text alone."""
    choices = said.get("choices")
    first = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict) or message.get("tool_calls"):
        return "", ""
    text = message.get("content")
    return (text if isinstance(text, str) else ""), str(first.get("finish_reason") or "")


def _written(values: dict[str, Any]) -> bytes:
    """A body. What can be read may be nested too deeply to be written."""
    try:
        return orjson.dumps(values)
    except TypeError as error:
        raise NoAnswer("the question cannot be written as JSON") from error


def _loads(raw: bytes) -> dict[str, Any]:
    """An object; {} where it is none."""
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}
