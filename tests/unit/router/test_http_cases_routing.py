"""Money, tiers and limits through the real gateway, while many requests run at once.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.unit.router.running_router import chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    GOOD_STREAM,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Script,
    Step,
    answer,
    chunk,
    stream,
    upstream,
    word,
)
from tierwise.routing.cost import Usage
from tierwise.routing.route import (
    Budget,
    Deadlines,
    Overflow,
    QueueLimits,
    RouteTier,
    Tariff,
    TokenRates,
    Use,
    WhenSpent,
)
from tierwise_router.upstream import Connection, Pool

PINGS: list[Step] = [chunk(b": ping\n\n"), 0.02] * 200
PRICES_TIMES_TEN = TokenRates(*map(Decimal, (10, 10, 10, 20)))
ENOUGH_FOR_ONE = Budget(Decimal("0.0021"))  # 1 + 1,024 tokens at 2 dollars per million


async def test_case_11_a_stream_cut_at_every_byte_reaches_the_client_whole() -> None:
    data = b"".join(stream(ROLE, word("Hel"), word("lo"), FINISH, USAGE, DONE))
    async with upstream() as up, running(route(tier("a", up))) as router, router.client() as client:
        for size in (1, 2, 3, 7, 50):
            up.scripts.append([step for i in range(0, len(data), size) for step in (data[i : i + size], 0.0)])
            got = await client.ask(post(chat(True)))
            assert got.whole
            assert got.body == ROLE + word("Hel") + word("lo") + FINISH + DONE
        assert {record.charges[0].usage for record in router.records} == {Usage(input=10, output=2)}


@pytest.mark.parametrize("asked", [True, False])
async def test_cases_13_and_14_usage_is_always_asked_for_and_passed_on_to_who_asked(asked: bool) -> None:
    wish: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    async with upstream(default=GOOD_STREAM) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat(True, **wish)))
        assert orjson.loads(up.seen[0].body)["stream_options"] == {"include_usage": True}
        assert got.body == ROLE + word("Hel") + word("lo") + FINISH + (USAGE if asked else b"") + DONE


async def test_case_14_a_null_or_a_no_becomes_a_wish_and_the_event_is_kept_away() -> None:
    async with upstream(default=GOOD_STREAM) as up, running(route(tier("a", up))) as router:
        for options in (None, {}, {"include_usage": False}, {"other": [1]}):
            got = await router.ask(post(chat(True, stream_options=options)))
            assert USAGE not in got.body
            body = up.seen[-1].body
            assert body.count(b'"stream_options"') == 1
            assert orjson.loads(body)["stream_options"] == {**(options or {}), "include_usage": True}


async def test_case_16_usage_that_is_missing_is_guessed_and_marked() -> None:
    whole = answer(b'{"id":"c","choices":[{"message":{"content":"12345678"}}]}')
    talk = stream(ROLE, word("a"), word("b"), FINISH, DONE)
    async with upstream(talk, [whole]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(chat(True)))).whole
        assert (await router.ask(post(chat()))).whole
        usages = [record.charges[0].usage for record in router.records]
        assert [(usage.output, usage.estimated) for usage in usages] == [(2, True), (2, True)]
        assert all(usage.input > 0 for usage in usages)


@pytest.mark.parametrize("streamed", [True, False])
async def test_case_17_two_hundred_at_once_with_money_for_one_and_one_is_sent(streamed: bool) -> None:
    going = asyncio.Event()
    script: Script = [going, *(GOOD_STREAM if streamed else [COMPLETION])]
    async with (
        upstream(default=script) as up,
        running(route(tier("a", up, concurrency=500), budget=ENOUGH_FOR_ONE)) as router,
    ):
        asking = asyncio.gather(*(router.ask(post(chat(streamed))) for _ in range(200)))
        await until(lambda: len(router.records) == 199)
        going.set()
        got = await asking
        assert sorted(one.status for one in got) == [200] + [429] * 199
        refused = next(one for one in got if one.status == 429)
        assert (refused.code, refused.headers["x-should-retry"]) == ("budget_spent", "false")
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert len(up.seen) == 1
        account = router.state.purse.account
        assert account is not None
        assert account.spent == Decimal(14) / 1_000_000


@pytest.mark.parametrize("script", [[Do.HOLD], [STREAM_HEAD, chunk(word("x")), Do.HOLD]], ids=["before", "within"])
async def test_case_18_a_request_that_is_cancelled_is_settled_once(script: Script) -> None:
    async with upstream(default=script) as up, running(route(tier("a", up), budget=Budget(Decimal(1)))) as router:
        account = router.state.purse.account
        assert account is not None
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(10):
                client = await stack.enter_async_context(router.client())
                client.say(post(chat(True)))
            await until(lambda: len(up.seen) == 10)
            assert account.reserved > 0
        await until(lambda: len(router.records) == 10)
        assert account.reserved == 0
        assert account.spent == sum(record.cost for record in router.records)
        assert account.spent > 0


async def test_case_18_whatever_ends_a_request_what_was_reserved_is_given_back() -> None:
    scripts: list[Script] = [[Do.RESET], [answer(b"{}", 500)], [answer(b"{}", 400)], [b"x"], stream(ROLE), [COMPLETION]]
    budget, spill = Budget(Decimal(1)), Overflow(max_cost_per_hour=Decimal(1))
    async with upstream(default=[Do.RESET]) as first, upstream() as up:
        tiers = tier("a", first), tier("b", up, provider=True)
        async with running(route(*tiers, budget=budget, overflow=spill)) as router:
            for script in scripts:
                up.scripts = [script]
                router.state.tiers["b"].replicas[0].breaker.succeeded()
                router.state.tiers["a"].replicas[0].breaker.succeeded()
                await router.ask(post(chat(True)))
            account = router.state.purse.account
            assert account is not None
            assert account.spent == sum(record.cost for record in router.records)


async def test_a_server_that_is_not_there_has_not_worked_and_costs_nothing() -> None:
    hour = Tariff(replica_hour=Decimal(3600))
    async with upstream() as gone:
        dead = gone.url
    async with upstream(default=[COMPLETION]) as up:
        tiers = RouteTier("a", "m", urls=(dead,), tariff=hour), tier("b", up)
        async with running(route(*tiers)) as router:
            got = await router.ask(post(chat()))
            assert (got.status, got.headers["x-tierwise-tier"]) == (200, "b")
            (record,) = router.records
            assert record.attempts == 2
            assert [charge.tier for charge in record.charges] == ["b"]
            assert router.state.ledger.cost.keys() == {"b"}


async def test_a_client_that_goes_before_a_server_is_reached_pays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def hangs(_: Pool) -> Connection:
        asked.set()
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(Pool, "connect", hangs)
    served = RouteTier("a", "m", urls=("http://127.0.0.1:9",), tariff=Tariff(replica_hour=Decimal(3600)))
    async with running(route(served)) as router:
        async with router.client() as client:
            client.say(post(chat()))
            await asked.wait()
            await asyncio.sleep(0.02)
        await until(lambda: len(router.records) == 1)
        assert (router.records[0].outcome, router.records[0].charges) == ("client_gone", [])


async def test_case_24_with_no_replica_ready_the_router_is_and_the_demand_is_counted() -> None:
    sleeping = RouteTier("a", "m", service="a")
    async with running(route(sleeping, queue=QueueLimits(10, 1.0, 0.05))) as router:
        got = await asyncio.gather(*(router.ask(post(chat())) for _ in range(3)))
        assert {(one.status, one.code, one.headers["retry-after"]) for one in got} == {(503, "no_replica_ready", "30")}
        assert (await router.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        assert router.state.tiers["a"].counts.wanted == 3
        assert {why: count for why, count in router.state.tiers["a"].counts.refused.items() if count} == {
            "queue_timeout": 3
        }


@pytest.mark.parametrize("limits", [QueueLimits(10, 1.0, 0.05), QueueLimits(0, 1.0, 0.05)])
async def test_case_24_who_finds_no_replica_is_told_how_long_one_takes_to_start(limits: QueueLimits) -> None:
    sleeping = RouteTier("a", "m", service="a", startup_seconds=95)
    async with running(route(sleeping, queue=limits)) as router:
        got = await router.ask(post(chat()))
        assert (got.status, got.headers["retry-after"]) in ((503, "95"), (429, "95"))


async def test_case_24_those_that_wait_for_a_start_are_all_answered_by_it() -> None:
    sleeping = RouteTier("a", "m", service="a", concurrency=64)
    async with (
        upstream(default=[answer(COMPLETION)]) as up,
        running(route(sleeping, queue=QueueLimits(100, 0.05, 5.0))) as router,
    ):
        asked = [asyncio.create_task(router.ask(post(chat()))) for _ in range(21)]
        await until(lambda: router.state.tiers["a"].waiting == 21)
        router.state.tiers["a"].set_replicas({"a-0": up.url}, started=True)
        assert [one.status for one in await asyncio.gather(*asked)] == [200] * 21


async def test_case_24_with_an_overflow_tier_nobody_waits_and_the_demand_is_counted() -> None:
    sleeping = RouteTier("a", "m", service="a")
    async with (
        upstream(default=[answer(COMPLETION)]) as up,
        running(route(sleeping, tier("b", up, provider=True, use=Use.OVERFLOW))) as router,
    ):
        got = [await router.ask(post(chat())) for _ in range(3)]
        assert {(one.status, one.headers["x-tierwise-tier"], one.headers["x-tierwise-reason"]) for one in got} == {
            (200, "b", "Spill")
        }
        counts = router.state.tiers["a"].counts
        assert (counts.wanted, counts.refused["spilled"]) == (3, 3)
        assert (router.state.tiers["b"].counts.wanted, router.state.tiers["b"].counts.refused["spilled"]) == (0, 0)


async def test_case_40_keys_change_under_load_and_no_request_fails_and_none_is_written_down() -> None:
    going = asyncio.Event()
    raw = post(chat(), extra="Authorization: Bearer client-secret\r\n")
    async with upstream(default=[going, COMPLETION]) as up:
        served = route(tier("a", up, provider=True))
        async with running(served, keys={"key": "sk-old-secret"}) as router:
            asking = asyncio.gather(*(router.ask(raw) for _ in range(20)))
            await until(lambda: len(up.seen) == 20)
            router.state.replace(served, {"key": "sk-new-secret"})
            going.set()
            also = await asyncio.gather(*(router.ask(raw) for _ in range(20)))
            assert {one.status for one in [*await asking, *also]} == {200}
            keys = [seen.headers["authorization"] for seen in up.seen]
            assert keys == ["Bearer sk-old-secret"] * 20 + ["Bearer sk-new-secret"] * 20
            assert len(router.lines) == 40
            assert "secret" not in "".join(router.lines)


async def test_a_change_of_how_long_connections_are_kept_counts_for_those_that_there_are() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        for _ in range(2):
            assert (await router.ask(post(chat()))).status == 200
        router.state.replace(route(tier("a", up, keep_alive_seconds=0.0)), {})
        for _ in range(2):
            assert (await router.ask(post(chat()))).status == 200
        assert [seen.connection for seen in up.seen] == [0, 0, 1, 2]


async def test_a_tier_that_goes_while_another_is_tried_is_no_fault() -> None:
    going = asyncio.Event()
    async with upstream(default=[going, Do.RESET]) as up, upstream(default=[COMPLETION]) as other:
        both = tier("a", up), tier("b", other)
        async with running(route(*both)) as router:
            asking = asyncio.create_task(router.ask(post(chat())))
            await up.asked.wait()
            router.state.replace(route(both[0]), {})
            going.set()
            got = await asking
            assert (got.status, got.code) == (502, "upstream_reset")
            assert other.seen == []


async def test_a_tier_that_goes_while_the_budget_is_spent_is_no_fault() -> None:
    going = asyncio.Event()
    budget = Budget(Decimal("0.0035"), when_spent=WhenSpent.CHEAPER_TIER)
    async with upstream(default=[going, Do.RESET]) as up, upstream(default=[COMPLETION]) as other:
        cheap, dear = tier("a", other), tier("b", up)
        third = tier("c", other, tariff=Tariff(PRICES_TIMES_TEN))
        async with running(route(cheap, dear, third, default_tier="b", budget=budget)) as router:
            asking = asyncio.create_task(router.ask(post(chat())))
            await up.asked.wait()
            router.state.replace(route(cheap, third, budget=budget), {})
            going.set()
            assert (await asking).status in (200, 502)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_stream_is_work_ahead_until_its_first_token_an_answer_in_one_piece_until_it_ends(
    streamed: bool,
) -> None:
    first, last = asyncio.Event(), asyncio.Event()
    stream: Script = [STREAM_HEAD, first, chunk(word("a")), last, chunk(word("b")), chunk(DONE), b"0\r\n\r\n"]
    async with (
        upstream(default=stream if streamed else [first, COMPLETION[:20], last, COMPLETION[20:]]) as up,
        running(route(tier("a", up))) as router,
    ):
        (replica,) = router.state.tiers["a"].replicas
        asking = asyncio.create_task(router.ask(post(chat(streamed))))
        await up.asked.wait()
        assert replica.work == 64
        first.set()
        await until(lambda: replica.work == (0 if streamed else 64))
        assert not asking.done()
        last.set()
        assert (await asking).whole
        await router.until_quiet()
        assert replica.work == 0


@pytest.mark.parametrize(
    ("script", "deadlines", "code"),
    [
        ([Do.HOLD], Deadlines(10.0, 0.05, 5.0), "upstream_timeout"),
        ([STREAM_HEAD, *PINGS], Deadlines(10.0, 0.1, 5.0), "upstream_timeout"),
        ([Do.HOLD], Deadlines(0.05, 5.0, 5.0), "upstream_deadline"),
    ],
    ids=["first token", "comments are no token", "deadline"],
)
async def test_a_server_that_says_nothing_is_given_up(script: Script, deadlines: Deadlines, code: str) -> None:
    async with (
        upstream(default=script) as up,
        running(route(tier("a", up), deadlines=deadlines), sweep_seconds=0.01) as router,
    ):
        got = await router.ask(post(chat(True)))
        assert (got.status, got.code) == (504, code)
        await until(lambda: up.open == 0)


async def test_comments_do_not_stretch_the_pause_between_tokens() -> None:
    script: Script = [STREAM_HEAD, chunk(word("a")), *PINGS]
    deadlines = Deadlines(10.0, 5.0, 0.1)
    async with (
        upstream(default=script) as up,
        running(route(tier("a", up), deadlines=deadlines), sweep_seconds=0.01) as router,
    ):
        got = await router.ask(post(chat(True)))
        assert not got.whole
        assert got.body.startswith(word("a") + b": ping\n\n")
        assert b"no token in time" in got.body
        assert got.body.count(b": ping") < 50


@pytest.mark.parametrize(
    "bad",
    [
        answer(b"\x1f\x8b", extra="content-encoding: gzip\r\n"),
        answer(b"", 302, extra="location: http://evil/\r\n"),
        answer(b'{"error":{"message":"m","code":502}}'),
        answer(b"", 101),
    ],
    ids=["compressed", "redirect", "an error under 200", "another protocol"],
)
async def test_an_answer_that_is_none_goes_to_the_next_tier(bad: bytes) -> None:
    async with (
        upstream(default=[bad]) as one,
        upstream(default=[COMPLETION]) as two,
        running(route(tier("a", one), tier("b", two))) as router,
    ):
        got = await router.ask(post(chat()))
        assert (got.status, got.headers["x-tierwise-tier"]) == (200, "b")


async def test_an_error_that_is_compressed_is_said_in_words_that_can_be_read() -> None:
    bad = answer(b"\x1f\x8b", 400, extra="content-encoding: gzip\r\n")
    async with upstream(default=[bad]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat()))
        assert got.status == 400
        assert "compressed" in got.json["error"]["message"]
        assert "content-encoding" not in got.headers


async def test_a_stream_that_is_asked_for_and_comes_whole_is_passed_on_whole() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat(True)))
        assert (got.status, got.json["id"], got.headers["content-type"]) == (200, "c1", "application/json")


async def test_a_failure_of_ours_gives_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*anything: Any) -> bytes:
        raise KeyError("x")

    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up), budget=Budget(Decimal(1)))) as router:
        monkeypatch.setattr("tierwise_router.tier_attempts.request_bytes", broken)
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (500, "internal_error")
        assert [(record.outcome, record.status) for record in router.records] == [("internal_error", 500)]
