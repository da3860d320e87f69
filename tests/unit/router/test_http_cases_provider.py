"""A provider says what its limits are, to the real gateway: what is waited for, and who is left alone for how long.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import email.utils
import time
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


@pytest.mark.parametrize(("said", "told"), [("40", range(35, 41)), ("4", range(1, 5)), ("1000", range(120, 121))])
async def test_a_client_is_told_when_the_provider_is_asked_again(said: str, told: range) -> None:
    async with (
        upstream(default=[_limited("rate_limit_exceeded", f"retry-after: {said}\r\n")]) as one,
        running(route(tier("a", one, provider=True))) as router,
    ):
        await router.ask(post(chat()))
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (429, "provider_resting")
        assert int(got.headers["retry-after"]) in told
        assert len(one.seen) == 1


async def _after_limit(headers: str, code: str = "rate_limit_exceeded") -> tuple[Answered, int, float]:
    """The answer, how often the provider was asked, and how long it rests."""
    async with (
        upstream([_limited(code, headers)], default=[COMPLETION]) as up,
        running(route(tier("a", up, provider=True))) as router,
    ):
        got = await router.ask(post(chat()))
        now = time.monotonic()
        rests = max((float(n) for n in range(1_000) if router.state.tiers["a"].resting(now + n)), default=0.0)
        return got, len(up.seen), rests


@pytest.mark.parametrize(
    "headers", ["retry-after-ms: 20\r\nretry-after: 100\r\n", "retry-after: 0.02\r\n", "retry-after: 0\r\n"]
)
async def test_case_26_a_short_pause_is_waited_for(headers: str) -> None:
    got, asked, _ = await _after_limit(headers)
    assert (got.status, asked) == (200, 2)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ("retry-after: 30\r\n", 28, 30),
        ("retry-after: IN A MINUTE\r\n", 40, 60),
        ("retry-after: 86000\r\n", 298, 300),
        ("retry-after: soon\r\n", 3, 5),
        ("retry-after: -5\r\n", 3, 5),
        ("retry-after: 1e400\r\n", 3, 5),
        ("retry-after: nan\r\nretry-after-ms: \r\n", 3, 5),
        ("retry-after-ms: x\r\nretry-after: 30\r\n", 28, 30),
        ("", 3, 5),
    ],
)
async def test_case_26_a_long_pause_is_kept_and_bounded_and_nonsense_is_none(
    headers: str, least: int, most: int
) -> None:
    then = email.utils.formatdate(time.time() + 60, usegmt=True)
    got, asked, rests = await _after_limit(headers.replace("IN A MINUTE", then))
    assert (got.status, asked) == (429, 1)
    assert 1 <= int(got.headers["retry-after"]) <= 120
    assert least <= rests <= most


@pytest.mark.parametrize("path", ["", "/v1", "/openai/v1", "/v1beta/openai", "/api/paas/v4"])
async def test_a_provider_is_asked_where_its_own_clients_ask(path: str) -> None:
    """Below its base URL; without a path below /v1."""
    async with upstream(default=[COMPLETION]) as up:
        bought = tier("p", up, provider=True)
        bought = replace(bought, provider=Provider(up.url + path, "key"))
        async with running(route(bought)) as router:
            assert (await router.ask(post(chat()))).status == 200
        assert [seen.target for seen in up.seen] == [f"{path or '/v1'}/chat/completions"]
