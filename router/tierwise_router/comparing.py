"""Compares sampled answers with those of the reference tier, in the background, and counts what a judge says.

An answer of a cheaper tier is asked again of the reference tier. Some requests that the reference tier answered are
asked of the cheaper tier, above all those that a share which is one step smaller would send there: without them nobody
knows whether the share could be smaller. And for some the reference tier is asked twice, since it does not always match
itself. A sample that cannot be compared now waits; nothing about it reaches a log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tierwise.routing.adaptation import STEP
from tierwise.routing.judge import Verdict, combine, judge_messages, read_verdict
from tierwise.routing.question import question_of
from tierwise.routing.route import Route, Use
from tierwise.routing.tier_choice import CLASSIFIED
from tierwise_router import client_answer
from tierwise_router.background import Answer, Background, NoAnswer, NotNow
from tierwise_router.client_answer import Exchange
from tierwise_router.router_state import RouterState
from tierwise_router.sampler import Sample
from tierwise_router.shadow_counts import AGAIN, ANSWER, BAD, CHEAPER, GOOD, JUDGE, MARGIN, REFERENCE, UNKNOWN
from tierwise_router.tier import Tier

logger = logging.getLogger(__name__)

PARALLEL = 2
PAUSE_SECONDS = 0.25
AGAIN_PART = 0.1
"""Of the samples, the part for which the reference tier is asked twice..."""
FAR_PART = 0.25
"""...and of those that the reference tier answered and would answer with a smaller share too, the part that is asked of
the cheaper tier."""
JUDGE_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Compared:
    """One pair and its verdict on the first of them, per order and in all. `routed` as in the metrics."""

    sample: Sample
    exchange: Exchange
    tier: str
    routed: str
    answer: Answer
    reference: Answer
    orders: tuple[Verdict | None, ...]
    verdict: Verdict | None

    @property
    def rate(self) -> float:
        """The share of requests like it of which there is a pair: training weighs by it."""
        return self.sample.rate * (FAR_PART if self.routed == REFERENCE else 1.0)


Told = Callable[[Route, Compared], None]


class Comparing:
    """Works off the samples of a router. `told` hears of every pair that was judged, in a thread."""

    def __init__(self, state: RouterState, background: Background, told: Told = lambda route, pair: None) -> None:
        self._state = state
        self._background = background
        self._told = told

    async def run(self) -> None:
        """For ever."""
        await asyncio.gather(*(self._work() for _ in range(PARALLEL)))

    async def _work(self) -> None:
        sampler = self._state.sampler
        while True:
            if self._state.route.sampling is None:
                sampler.forget()
            sample = sampler.take()
            if sample is None:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                await self._compare(sample)
            except NoAnswer:
                self._state.shadows.dropped["failed"] += 1
            except Exception as error:
                # The kind of it alone: a text could repeat what was asked.
                self._state.shadows.dropped["failed"] += 1
                logger.error("a sample could not be compared: %s", type(error).__name__)

    async def _compare(self, sample: Sample) -> None:
        exchange = client_answer.read(sample)
        if exchange is None:
            self._state.shadows.dropped["not_comparable"] += 1
            return
        route = self._state.route
        if sample.reference != route.reference.name:  # it was chosen to be compared with another one
            self._state.shadows.dropped["stopped"] += 1
            return
        given = Answer(exchange.text, sample.output_tokens, exchange.finish_reason, sample.input_tokens)
        if sample.routed == CHEAPER:
            reference = await self._ask(route.reference.name, exchange.values)
            if sample.output_tokens and reference.output_tokens:
                self._state.shadows.pair(reference.output_tokens, sample.output_tokens)
            await self._judge(sample, exchange, (sample.tier, CHEAPER), given, reference)
        else:
            reference = given
            routed = self._routed(sample, exchange.values)
            cheaper = self._cheaper(route)
            if cheaper and (routed == MARGIN or sample.draw >= 1 - FAR_PART):
                answer = await self._ask(cheaper, exchange.values)
                await self._judge(sample, exchange, (cheaper, routed), answer, reference)
        if sample.draw < AGAIN_PART:
            answer = await self._ask(route.reference.name, exchange.values)
            await self._judge(sample, exchange, (route.reference.name, AGAIN), answer, reference)

    def _cheaper(self, route: Route) -> str:
        """Who would answer with a smaller share."""
        active = self._state.content.active
        if active is not None:
            return active.classifier.header.from_tier
        names = [tier.name for tier in route.tiers if tier.use is Use.ALWAYS and tier.name != route.reference.name]
        return names[0] if names else ""

    def _routed(self, sample: Sample, values: dict[str, Any]) -> str:
        """Whether a share that is one step smaller would have sent the request to the cheaper tier. One that a rule,
        its conversation or a full tier has sent goes where it went, whatever the share is."""
        content = self._state.content
        share = content.share
        if content.active is None or share is None or sample.reason != CLASSIFIED:
            return REFERENCE
        score = content.active.classifier.score(*question_of(values))
        return MARGIN if score < content.active.window.threshold(max(0.0, share.applied - STEP)) else REFERENCE

    async def _judge(
        self, sample: Sample, exchange: Exchange, who: tuple[str, str], answer: Answer, reference: Answer
    ) -> None:
        tier, routed = who
        if answer.text.strip() == reference.text.strip():
            orders: tuple[Verdict | None, ...] = ()
            verdict: Verdict | None = Verdict.TIE
        else:
            first = await self._order(exchange.request, answer.text, reference.text, swapped=False)
            second = await self._order(exchange.request, reference.text, answer.text, swapped=True)
            orders, verdict = (first, second), combine(first, second)
        word = UNKNOWN if verdict is None else BAD if verdict is Verdict.LOSS else GOOD
        self._state.shadows.verdicts[tier, routed, word] += 1
        pair = Compared(sample, exchange, tier, routed, answer, reference, orders, verdict)
        await asyncio.to_thread(self._told, self._state.route, pair)  # it may write a file

    async def _order(self, request: str, first: str, second: str, *, swapped: bool) -> Verdict | None:
        sampling = self._state.route.sampling
        if sampling is None:
            raise NoAnswer("the route wants no samples any more")
        values = {"messages": judge_messages(request, first, second), "max_completion_tokens": JUDGE_TOKENS}
        said = await self._ask(sampling.judge, values, JUDGE)
        return read_verdict(said.text, swapped=swapped)

    async def _ask(self, name: str, values: dict[str, Any], purpose: str = ANSWER) -> Answer:
        """The answer of a tier, as soon as it has time for it."""
        while True:
            tier: Tier | None = self._state.tiers.get(name)
            if tier is None or self._state.route.sampling is None:
                raise NoAnswer("the route has no such tier any more")
            try:
                return await self._background.ask(tier, values, purpose)
            except NotNow:
                await asyncio.sleep(PAUSE_SECONDS)
