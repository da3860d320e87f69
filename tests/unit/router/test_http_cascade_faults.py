"""Cascades that fail: while an answer is held another one can still be given, afterwards none can."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.unit.router.cascades import (
    LARGE,
    LARGE_TEXT,
    RULE,
    STOP,
    SURE,
    UNSURE,
    cascading,
    decided,
    plain,
    small,
)
from tests.unit.router.logprob_texts import chat_event, entry, event
from tests.unit.router.running_router import chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    DONE,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Script,
    answer,
    chunk,
    stream,
    upstream,
)
from tierwise.routing.route import Cascade, Deadlines
from tierwise_router import cascade as cascade_module


@pytest.mark.parametrize("fault", [Do.RESET, Do.CLOSE])
async def test_a_reset_while_held_goes_to_the_next_replica_and_its_tokens_are_counted(fault: Do) -> None:
    broken: Script = [STREAM_HEAD, *map(chunk, small(SURE, SURE, tail=())), fault]
    good = stream(*small(*[SURE] * 4))
    async with upstream(default=broken) as a, upstream(default=good) as b, upstream(default=LARGE) as two:
        served = route(tier("small", a, b), tier("large", two), cascade=RULE)
        async with running(served) as router:
            answers = [await router.ask(post(chat(stream=True))) for _ in range(4)]
            assert {got.body for got in answers} == {plain(*[SURE] * 4)}
            assert len(a.seen) >= 1
            assert router.state.ledger.discarded == {"small": 2 * len(a.seen)}
            assert len(two.seen) == 0


async def test_a_reset_after_the_release_is_passed_on() -> None:
    cheap: Script = [STREAM_HEAD, *map(chunk, small(*[SURE] * 5, tail=())), Do.RESET]
    async with cascading(cheap) as (router, _, two):
        got = await router.ask(post(chat(stream=True)))
        assert two.seen == []
    assert not got.whole
    assert b"s4 " in got.body
    assert b'"error"' in got.body
    assert router.records[0].outcome == "broken"


async def test_an_error_behind_what_is_escalated_changes_nothing() -> None:
    error = b'data: {"error":{"message":"out of memory"}}\n\n'
    together = b"".join(small(*[UNSURE] * 4, tail=(error, DONE)))
    async with cascading([STREAM_HEAD, chunk(together), LAST_CHUNK]) as (router, one, _):
        got = await router.ask(post(chat(stream=True)))
        assert (got.headers["x-tierwise-reason"], got.body, len(one.seen)) == ("Escalated", LARGE_TEXT, 1)
    assert router.state.ledger.failures == {}


async def test_a_stream_that_ends_too_early_while_held_goes_elsewhere_too() -> None:
    async with cascading(stream(*small(UNSURE, UNSURE, tail=()))) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
        assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("large", "Fallback")
        assert got.body == LARGE_TEXT
    assert decided(router) == {}


@pytest.mark.parametrize("refusal", [503, 500, 429])
async def test_where_the_dearer_tier_refuses_after_all_the_cheap_one_answers(refusal: int) -> None:
    async with cascading(stream(*small(*[UNSURE] * 4)), dear=[answer(b"{}", refusal)]) as (router, one, two):
        got = await router.ask(post(chat(stream=True)))
        assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("small", "Default")
        assert got.body == b"".join(e for e in small(*[UNSURE] * 4) if e is not USAGE), "as the engine has said it"
        assert ["logprobs" in orjson.loads(seen.body) for seen in one.seen] == [True, False]
        assert len(two.seen) == 1
    assert [charge.tier for charge in router.records[0].charges] == ["small", "small"]


async def test_a_client_that_goes_away_while_it_is_held_ends_it_upstream() -> None:
    cheap: Script = [STREAM_HEAD, *map(chunk, small(SURE, SURE, tail=())), Do.HOLD]
    async with cascading(cheap) as (router, one, two):
        async with router.client() as client:
            client.say(post(chat(stream=True)))
            await until(lambda: one.sent_bytes > 0)
            await until(lambda: any(a.holding and a.holding.tokens == 2 for a in router.state.attempts))
            client.vanish()
            await until(lambda: one.open == 0)
        await until(lambda: bool(router.records))
        assert two.seen == []
    assert router.records[0].outcome == "client_gone"
    assert router.state.ledger.discarded == {"small": 2}
    assert router.records[0].charges[0].usage.output == 2


async def test_an_engine_that_stands_still_while_held_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierwise_router.attempt.MOST_HELD_SECONDS", 0.1)
    still: Script = [STREAM_HEAD, *map(chunk, small(SURE, SURE, tail=())), Do.HOLD]
    async with cascading(still, sweep=0.01) as (router, one, _):
        got = await router.ask(post(chat(stream=True)))
        await until(lambda: one.open == 0)
    assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("large", "Fallback")
    assert got.body == LARGE_TEXT
    assert router.state.ledger.failures["small", "timeout"] == 1


@pytest.mark.parametrize(("value", "tier_name"), [(SURE, "small"), (UNSURE, "large")])
async def test_an_engine_that_is_only_slow_is_decided_by_what_has_come(
    monkeypatch: pytest.MonkeyPatch, value: float, tier_name: str
) -> None:
    monkeypatch.setattr(cascade_module, "MOST_HELD_SECONDS", 0.1)
    pieces: list[Any] = [STREAM_HEAD, chunk(ROLE)]
    for number in range(30):
        pieces += [chunk(chat_event(f"s{number}", [value])), 0.03]
    rule = Cascade(100, -0.5, 100)
    slow = [*pieces, *map(chunk, (STOP, DONE)), LAST_CHUNK]
    async with cascading(slow, rule=rule, sweep=0.01) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.whole) == (tier_name, True)
    assert 1 <= orjson.loads(router.lines[0])["cascade"]["tokens"] < 30


async def test_the_first_token_deadline_ends_the_holding_of_a_slow_answer() -> None:
    heard = asyncio.Event()
    tokens = [chunk(chat_event(f"s{number} ", [SURE])) for number in range(40)]
    # The rest comes when the client has got the beginning: however slow the machine is, it is not there before.
    slow: Script = [STREAM_HEAD, chunk(ROLE), *tokens[:10], heard, *tokens[10:], *map(chunk, (STOP, DONE)), LAST_CHUNK]
    limits = Deadlines(60.0, 3.0, 60.0)
    async with (
        cascading(slow, rule=Cascade(100, -0.5, 100), sweep=0.01, deadlines=limits) as (router, _, _),
        router.client() as client,
    ):
        client.say(post(chat(stream=True)))
        early = await client.reader.readuntil(b"s0 ")
        assert b"x-tierwise-tier: small" in early.lower()
        heard.set()
        assert b"s39 " in await client.reader.readuntil(LAST_CHUNK)
    assert orjson.loads(router.lines[0])["cascade"]["tokens"] == 10


async def test_what_is_held_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_module, "MOST_HELD_BYTES", 4_000)
    heard = asyncio.Event()
    big = event({"index": 0, "delta": {"content": "x" * 5_000}, "logprobs": {"content": [entry("x", SURE)]}})
    cheap: Script = [STREAM_HEAD, chunk(ROLE), chunk(big), heard, *map(chunk, (STOP, DONE)), LAST_CHUNK]
    async with cascading(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True)))
        early = await client.reader.readuntil(b"xxxx")
        assert b"x-tierwise-tier: small" in early.lower(), "it was released, not held for its end"
        heard.set()
        rest = await client.reader.readuntil(b"[DONE]")
    assert (early + rest).count(b"x" * 5_000) == 1


async def test_an_error_in_the_stream_while_held_goes_elsewhere() -> None:
    error = b'data: {"error":{"message":"out of memory"}}\n\n'
    async with cascading(stream(*small(SURE, SURE, tail=(error, DONE)))) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.body) == ("large", LARGE_TEXT)
