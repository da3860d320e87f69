"""Conversations through the real gateway: who answered last goes on in a tool loop, and between turns where it pays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from tests.unit.router.running_router import Router, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, Do, upstream
from tierwise.routing.route import Content, Rule, Tariff, TokenRates

CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "42"}
BY_HEADER = (Rule("r", "b", header=("x-hard", "yes")),)


def rates(input_: str, cached: str, output: str) -> Tariff:
    return Tariff(TokenRates(Decimal(input_), Decimal(cached), Decimal(input_), Decimal(output)))


@asynccontextmanager
async def serving(cheap: Tariff | None = None, **changes: Any) -> AsyncIterator[Router]:
    """Tier a by default, and b where the client says that it is hard; b costs more and caches prompts."""
    good = [COMPLETION]
    async with upstream(default=good) as small, upstream(default=good) as large:
        tiers = (
            tier("a", small, tariff=cheap or rates(".1", ".1", ".1")),
            tier("b", large, tariff=rates("2", ".2", "8")),
        )
        async with running(route(*tiers, **{"rules": BY_HEADER, **changes})) as router:
            yield router


async def ask(router: Router, *messages: Any, hard: bool = False, **more: Any) -> tuple[str, str]:
    body = {"model": "auto", "messages": list(messages), **more}
    got = await router.ask(post(body, extra="x-hard: yes\r\n" if hard else ""))
    assert got.status == 200
    return got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]


def user(text: str = "Why?") -> dict[str, str]:
    return {"role": "user", "content": text}


async def test_a_tool_loop_ends_at_the_tier_where_it_began() -> None:
    async with serving() as router:
        assert await ask(router, user(), hard=True) == ("b", "Rule")
        assert await ask(router, user(), CALL, RESULT) == ("b", "Conversation")
        assert await ask(router, user(), CALL, RESULT, CALL, RESULT) == ("b", "Conversation")
        assert await ask(router, user("another"), CALL, RESULT) == ("a", "Default")
        assert await ask(router, user("another"), CALL, RESULT, hard=True) == ("a", "Conversation")
        assert router.state.content.conversations
        assert '"reason":"Conversation"' in router.lines[1]


async def test_free_conversations_are_decided_request_by_request() -> None:
    async with serving(content=Content(stay=False)) as router:
        assert await ask(router, user(), hard=True) == ("b", "Rule")
        assert await ask(router, user(), CALL, RESULT) == ("a", "Default")
        assert len(router.state.content.conversations) == 0


async def test_a_loop_whose_tier_fails_goes_on_elsewhere_and_stays_there() -> None:
    good = [COMPLETION]
    async with (
        upstream(default=good) as small,
        upstream(default=good) as large,
        running(route(tier("a", small), tier("b", large))) as router,
    ):
        assert await ask(router, user()) == ("a", "Default")
        small.default = [Do.RESET]
        assert await ask(router, user(), CALL, RESULT) == ("b", "Fallback")
        small.default = good
        assert await ask(router, user(), CALL, RESULT) == ("b", "Conversation")


async def test_between_turns_a_cheaper_tier_gets_it_only_where_that_saves_more_than_the_cached_prompt() -> None:
    """The engine counts 10 tokens of prompt and 2 of answer: of so little, 12 tokens are worth 21.6 millionths of a
    dollar in the cache. A tier that costs as much but for one cent per million tokens saves less."""
    for cheap, goes_on in (
        (rates(".1", ".1", ".1"), ("a", "Default")),
        (rates("1.99", "1.99", "8"), ("b", "Conversation")),
    ):
        async with serving(cheap=cheap) as router:
            assert await ask(router, user(), hard=True) == ("b", "Rule")
            assert await ask(router, user(), {"role": "assistant", "content": "x"}, user("next")) == goes_on


async def test_what_the_client_calls_one_conversation_is_one() -> None:
    async with serving() as router:
        assert await ask(router, user("one"), hard=True, prompt_cache_key="k") == ("b", "Rule")
        assert await ask(router, user("two"), CALL, RESULT, prompt_cache_key="k") == ("b", "Conversation")


async def test_nothing_of_a_prompt_and_no_key_is_kept() -> None:
    async with serving() as router:
        await ask(router, user("canary-9f3"), prompt_cache_key="canary-key")
        kept = repr(router.state.content) + repr(router.state.content.conversations._last) + "".join(router.lines)
        assert "canary" not in kept
        assert repr(router.state.content._salt) not in kept
