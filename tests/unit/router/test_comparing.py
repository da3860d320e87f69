"""What a sampled answer is compared as: through the real gateway, with engines that all say the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.router.running_router import Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import COMPLETION, Script, answer, upstream
from tests.unit.router.test_classifier import CONTENT, EASY, weights
from tierwise.kube.objects import CLASSIFIER_KEY
from tierwise.routing.route import Rule, Sampling, Use
from tierwise_router.background import Background
from tierwise_router.classifier_loader import ClassifierLoader
from tierwise_router.comparing import Comparing
from tierwise_router.sampler import Sampler
from tierwise_router.shadow_counts import CHEAPER, MARGIN, REFERENCE

ASKED = 24
SALT = b"0123456789abcdef"


@asynccontextmanager
async def comparing(router: Router) -> AsyncIterator[None]:
    task = asyncio.create_task(Comparing(router.state, Background(router.state)).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def serving(folder: Path, *rules: Rule, large: Sequence[Script] = ()) -> AsyncIterator[Router]:
    """A router whose classifier sends half to b, every answer sampled; an easy question is one for a."""
    good = [COMPLETION]
    async with upstream(default=good) as one, upstream(*large, default=good) as two, upstream(default=good) as judge:
        tiers = tier("a", one), tier("b", two), tier("judge", judge, use=Use.OVERFLOW)
        sampling = Sampling(100, "judge", Decimal(5))
        async with running(route(*tiers, content=CONTENT, sampling=sampling, rules=rules), seconds=30) as router:
            (folder / CLASSIFIER_KEY).write_bytes(weights())
            await ClassifierLoader(router.state, folder).look()
            router.state.sampler = Sampler(router.state.shadows, lambda: router.state.route, SALT)
            yield router


async def ask(router: Router, reason: str) -> None:
    for _ in range(ASKED):
        got = await router.ask(post(chat(messages=[{"role": "user", "content": EASY}])))
        assert got.headers["x-tierwise-reason"] == reason


async def test_what_a_rule_sent_to_the_reference_tier_is_no_evidence_for_a_smaller_share(tmp_path: Path) -> None:
    """Whatever the share is, the rule sends it there."""
    async with serving(tmp_path, Rule("short", "b", max_prompt_tokens=100)) as router:
        await ask(router, "Rule")
        async with comparing(router):
            await until(lambda: not router.state.sampler.waiting and _judged(router, REFERENCE) > 0, 15)
        assert _judged(router, MARGIN) == 0


async def test_what_the_share_sent_there_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as router:
        router.state.content.quality = 100.0
        await ask(router, "Classified")
        router.state.content.quality = None
        async with comparing(router):
            await until(lambda: _judged(router, MARGIN) == ASKED, 15)
        assert _judged(router, MARGIN) == ASKED


async def test_a_sample_is_not_compared_with_another_reference_tier_than_it_was_chosen_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as router:
        await ask(router, "Classified")
        state = router.state
        state.replace(replace(state.route, content=replace(CONTENT, reference_tier="a")), state.keys)
        async with comparing(router):
            await until(lambda: state.shadows.dropped["stopped"] == ASKED, 15)
        assert not state.shadows.verdicts
        assert state.shadows.pairs == 0


async def test_a_pair_that_is_compared_is_a_pair(tmp_path: Path) -> None:
    async with serving(tmp_path) as router:
        await ask(router, "Classified")
        async with comparing(router):
            await until(lambda: _judged(router, CHEAPER) == ASKED, 15)
        assert router.state.shadows.pairs == ASKED


async def test_a_sample_waits_where_the_reference_tier_has_no_room_for_it(tmp_path: Path) -> None:
    """Samples that a busy tier refuses are of busy hours: without them the quality of quiet ones is measured."""
    limited = answer(b'{"error": {"code": "rate_limit_exceeded"}}', 429, extra="retry-after: 0.05\r\n")
    async with serving(tmp_path, large=[[limited]] * 3) as router:
        await ask(router, "Classified")
        async with comparing(router):
            await until(lambda: _judged(router, CHEAPER) == ASKED, 15)
        assert router.state.shadows.dropped["failed"] == 0


def _judged(router: Router, routed: str) -> int:
    return sum(count for (_, kind, _), count in router.state.shadows.verdicts.items() if kind == routed)


@pytest.mark.parametrize("part", ["answer", "judge"])
async def test_what_comparisons_cost_is_shown_from_the_start(tmp_path: Path, part: str) -> None:
    """A counter that begins with its first cost has lost that."""
    async with serving(tmp_path) as router:
        metrics = router.state.shadows.collect(["a", "b"])
        (cost,) = (metric for metric in metrics if metric.name.endswith("shadow_cost_usd"))
        shown = {(one.labels["tier"], one.labels["purpose"]): one.value for one in cost.samples}
        assert shown["b", part] == 0
