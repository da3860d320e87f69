"""A provider says what its limits are, to the real gateway: what is waited for, and who is left alone for how long.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from tests.unit.router.running_router import Answered, chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, answer, upstream
from tierwise.routing.route import Provider


def _limited(code: str, headers: str = "", kind: str = "insufficient_quota") -> bytes:
    return answer(orjson.dumps({"error": {"message": "m", "type": kind, "code": code}}), 429, extra=headers)


@pytest.mark.parametrize("code", ["credit_balance_exhausted", "insufficient_quota", "project_spend_limit_exceeded"])
async def test_case_25_what_a_provider_calls_exhausted_goes_to_the_next_tier_and_is_not_asked_again(code: str) -> None:
    async with (
        upstream(default=[_limited(code, "retry-after: 1\r\n")]) as one,
        upstream(default=[COMPLETION]) as two,
        running(route(tier("a", one, provider=True), tier("b", two))) as router,
    ):
        for _ in range(2):
            got = await router.ask(post(chat()))
            assert (got.status, got.headers["x-tierwise-tier"]) == (200, "b")
        assert len(one.seen) == 1
        assert router.state.tiers["a"].resting(time.monotonic() + 200)


@pytest.mark.parametrize(("said", "told"), [("40", 40), ("20", 20), ("1000", 120)])
async def test_a_client_is_told_when_the_provider_is_asked_again(said: str, told: int) -> None:
    async with (
        upstream(default=[_limited("rate_limit_exceeded", f"retry-after: {said}\r\n")]) as one,
        running(route(tier("a", one, provider=True))) as router,
    ):
        began = time.monotonic()
        await router.ask(post(chat()))
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (429, "provider_resting")
        assert told - (time.monotonic() - began) <= int(got.headers["retry-after"]) <= told
        assert len(one.seen) == 1


async def _after_limit(
    headers: str, code: str = "rate_limit_exceeded"
) -> tuple[Answered, int, Callable[[float], bool]]:
    """The answer, how often the provider was asked, and whether it rests at a time."""
    async with (
        upstream([_limited(code, headers)], default=[COMPLETION]) as up,
        running(route(tier("a", up, provider=True))) as router,
    ):
        got = await router.ask(post(chat()))
        return got, len(up.seen), router.state.tiers["a"].resting


@pytest.mark.parametrize(
    "headers", ["retry-after-ms: 20\r\nretry-after: 100\r\n", "retry-after: 0.02\r\n", "retry-after: 0\r\n"]
)
async def test_case_26_a_short_pause_is_waited_for(headers: str) -> None:
    got, asked, _ = await _after_limit(headers)
    assert (got.status, asked) == (200, 2)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ("retry-after: 30\r\n", 30, 30),
        ("retry-after: IN A MINUTE\r\n", 58, 60),
        ("retry-after: 86000\r\n", 300, 300),
        ("retry-after: soon\r\n", 5, 5),
        ("retry-after: -5\r\n", 5, 5),
        ("retry-after: 1e400\r\n", 5, 5),
        ("retry-after: nan\r\nretry-after-ms: \r\n", 5, 5),
        ("retry-after-ms: x\r\nretry-after: 30\r\n", 30, 30),
        ("", 5, 5),
    ],
)
async def test_case_26_a_long_pause_is_kept_and_bounded_and_nonsense_is_none(
    headers: str, least: int, most: int
) -> None:
    began = time.monotonic()
    then = email.utils.formatdate(time.time() + 60, usegmt=True)
    got, asked, resting = await _after_limit(headers.replace("IN A MINUTE", then))
    ended = time.monotonic()
    assert (got.status, asked) == (429, 1)
    assert 1 <= int(got.headers["retry-after"]) <= 120
    # The rest began at some time between the two.
    assert resting(began + least - 0.01)
    assert not resting(ended + most + 0.01)


@pytest.mark.parametrize("path", ["", "/v1", "/openai/v1", "/v1beta/openai", "/api/paas/v4"])
async def test_a_provider_is_asked_where_its_own_clients_ask(path: str) -> None:
    """Below its base URL; without a path below /v1."""
    async with upstream(default=[COMPLETION]) as up:
        bought = tier("p", up, provider=True)
        bought = replace(bought, provider=Provider(up.url + path, "key"))
        async with running(route(bought)) as router:
            assert (await router.ask(post(chat()))).status == 200
        assert [seen.target for seen in up.seen] == [f"{path or '/v1'}/chat/completions"]
