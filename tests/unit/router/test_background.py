"""Questions in the background: what they cost when they fail, and that they leave no place and no money behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.router.running_router import Router, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, Do, Script, Upstream, answer, upstream
from tierwise.routing.route import Budget, Overflow, Sampling, Use
from tierwise_router.background import Answer, Background, NoAnswer, NotNow
from tierwise_router.purse import Purse

QUESTION = {"messages": [{"role": "user", "content": "word " * 400}]}


@dataclass
class Place:
    router: Router
    asked: Upstream
    background: Background

    async def ask(self, values: dict[str, Any] = QUESTION) -> Answer:
        return await self.background.ask(self.router.state.tiers["large"], values, "answer")

    @property
    def paid(self) -> Decimal:
        return sum(self.router.state.shadows.cost.values(), Decimal(0))

    @property
    def fullness(self) -> float:
        return self.router.state.tiers["large"].fullness(self.router.state.route.queue)


@asynccontextmanager
async def serving(*scripts: Script, provider: bool = True) -> AsyncIterator[Place]:
    """A router in front of a large tier that plays these scripts first."""
    async with upstream(*scripts, default=[COMPLETION]) as one, upstream(default=[COMPLETION]) as other:
        tiers = tier("small", other), tier("large", one, provider=provider), tier("judge", other, use=Use.OVERFLOW)
        served = route(*tiers, sampling=Sampling(100, "judge", Decimal(5)))
        async with running(served) as router:
            yield Place(router, one, Background(router.state))


async def test_a_question_that_cannot_be_written_takes_no_place() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    async with serving() as place:
        for _ in range(3):
            with pytest.raises(NoAnswer, match="cannot be written"):
                await place.ask({**QUESTION, "metadata": deep})
        assert place.fullness == 0
        assert (await place.ask()).text


async def test_what_a_provider_may_bill_is_counted_though_no_answer_came() -> None:
    async with serving([Do.RESET]) as place:
        with pytest.raises(NoAnswer):
            await place.ask()
        assert place.paid >= Decimal(400) / 1_000_000
        assert place.fullness == 0


async def test_the_tokens_of_a_question_are_counted_by_tier() -> None:
    async with serving() as place:
        first = await place.ask()
        await place.ask()
        took = place.router.state.shadows.took
        assert first.input_tokens > 0
        assert first.output_tokens > 0
        assert took == {("large", "prompt"): 2 * first.input_tokens, ("large", "output"): 2 * first.output_tokens}
        metrics = place.router.state.shadows.collect(["small", "large"])
        (shown,) = (metric for metric in metrics if metric.name.endswith("shadow_tokens"))
        by_label = {(one.labels["tier"], one.labels["kind"]): one.value for one in shown.samples}
        assert by_label["small", "prompt"] == 0, "it is there from the start"
        assert by_label["large", "output"] == 2 * first.output_tokens


async def test_an_answer_that_cannot_be_read_is_paid_for() -> None:
    nonsense = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n???"
    async with serving([nonsense]) as place:
        with pytest.raises(NoAnswer, match="no JSON object"):
            await place.ask()
        assert place.paid > 0


async def test_a_replica_that_is_not_reached_costs_nothing() -> None:
    async with serving(provider=False) as place:
        replica = place.router.state.tiers["large"]
        replica.set_replicas({"gone": "http://127.0.0.1:1"}, started=True)
        with pytest.raises(NoAnswer):
            await place.ask()
        assert place.paid == 0


async def test_money_that_cannot_be_written_down_is_given_back(tmp_path: Path) -> None:
    """The day's money of samples was held; then that of the route could not be."""
    async with serving() as place:
        state = place.router.state
        clocks = state.clocks
        budget = Budget(Decimal(5), "Day")
        broken = Purse(budget, Overflow(), clocks.now, clocks.monotonic, tmp_path / "no folder" / "spending.json")
        state.purse, good = broken, state.purse
        for _ in range(3):
            with pytest.raises(OSError, match="no folder"):
                await place.ask()
        day = place.background._day().account
        assert day is not None
        assert day.reserved == 0
        state.purse = good
        assert (await place.ask()).text


def refusal(status: int, retry_after: str = "", code: str = "rate_limit_exceeded") -> bytes:
    said = f'{{"error": {{"message": "no", "code": "{code}"}}}}'.encode()
    return answer(said, status, extra=f"retry-after: {retry_after}\r\n" if retry_after else "")


@pytest.mark.parametrize(
    ("status", "said", "provider", "seconds"),
    [
        (429, "30", True, 30),
        (429, "0.5", True, 0.5),
        (429, "", True, 5),
        (503, "20", True, 20),
        (429, "7", False, 7),
        (503, "", False, 5),
        (503, "86000", False, 300),
    ],
)
async def test_a_tier_that_is_busy_is_asked_again_when_it_says(
    status: int, said: str, provider: bool, seconds: float
) -> None:
    async with serving([refusal(status, said)], provider=provider) as place:
        state, large = place.router.state, place.router.state.tiers["large"]
        began = state.monotonic()
        with pytest.raises(NotNow):
            await place.ask()
        ended = state.monotonic()
        assert not large.resting(state.monotonic()), "clients find out by themselves"
        assert place.fullness == 0
        assert place.paid < Decimal("0.00001")
        assert began + seconds <= place.background._not_before["large"] <= ended + seconds
        place.background._not_before["large"] += 60.0  # half a second may be over already
        assert not place.background.free(large)
        with pytest.raises(NotNow):
            await place.ask()
        assert len(place.asked.seen) == 1, "not before that"
        place.background._not_before["large"] = state.monotonic()
        assert (await place.ask()).text


async def test_a_provider_whose_quota_is_spent_is_left_alone_for_minutes() -> None:
    async with serving([refusal(429, code="insufficient_quota")]) as place:
        began = place.router.state.monotonic()
        with pytest.raises(NotNow):
            await place.ask()
        ended = place.router.state.monotonic()
        assert began + 300 <= place.background._not_before["large"] <= ended + 300


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_another_refusal_is_no_answer(status: int) -> None:
    async with serving([refusal(status)]) as place:
        with pytest.raises(NoAnswer, match=f"status {status}"):
            await place.ask()
        assert (await place.ask()).text
