"""Cascades on real sockets: when a held answer is released, when a dearer tier answers, and what happens to both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.unit.router.logprob_texts import chat_event, completion_event, entry, event
from tests.unit.router.running_router import Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    DONE,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Script,
    Upstream,
    answer,
    chunk,
    stream,
    upstream,
)
from tierwise.routing.route import Budget, Cascade, Deadlines, Overflow, QueueLimits, Tariff, TokenRates
from tierwise_router import cascade as cascade_module
from tierwise_router.logprobs import COMPLETIONS

DEAR = TokenRates(Decimal(10), Decimal(10), Decimal(10), Decimal(20))
RULE = Cascade(hold_tokens=4, min_mean_log_probability=-0.5, max_escalated_percent=100)
SURE, UNSURE = -0.1, -2.0
STOP = chat_event("", None, "stop")
LARGE = stream(ROLE, chat_event("large", None), STOP, USAGE, DONE)
LARGE_TEXT = ROLE + chat_event("large", None) + STOP + DONE


def small(*values: float, tail: Sequence[bytes] = (STOP, USAGE, DONE)) -> list[bytes]:
    """A streamed answer of one token per event."""
    return [ROLE, *(chat_event(f"s{number} ", [value]) for number, value in enumerate(values)), *tail]


def plain(*values: float) -> bytes:
    """What a client gets of it that has asked for no log-probabilities and no usage."""
    return ROLE + b"".join(chat_event(f"s{number} ", None) for number in range(len(values))) + STOP + DONE


@contextlib.asynccontextmanager
async def cascade(
    cheap: Script, *, dear: Script = LARGE, rule: Cascade = RULE, sweep: float | None = None, **changes: Any
) -> AsyncIterator[tuple[Router, Upstream, Upstream]]:
    async with upstream(default=cheap) as one, upstream(default=dear) as two:
        served = route(tier("small", one), tier("large", two, tariff=Tariff(DEAR)), cascade=rule, **changes)
        async with running(served, sweep_seconds=sweep) as router:
            yield router, one, two


def decided(router: Router) -> dict[str, int]:
    return {f"{decision} {mode}": count for (decision, mode), count in router.state.ledger.cascades.items()}


# --- released and escalated -----------------------------------------------------------------------------------------


async def test_a_sure_answer_is_released_as_one_stream_without_what_was_asked_for_it() -> None:
    async with cascade(stream(*small(*[SURE] * 9))) as (router, one, two):
        got = await router.ask(post(chat(stream=True)))
    assert (got.status, got.whole, got.body) == (200, True, plain(*[SURE] * 9))
    assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("small", "Cascade")
    sent = orjson.loads(one.seen[0].body)
    assert (sent["logprobs"], sent["top_logprobs"], sent["stream_options"]) == (True, 2, {"include_usage": True})
    assert two.seen == []
    assert decided(router) == {"released act": 1}
    assert router.state.ledger.discarded == {}
    line = orjson.loads(router.lines[0])
    assert line["cascade"] == {
        "decision": "released",
        "shadow": False,
        "tokens": 4,
        "meanLogProbability": SURE,
        "leastLogProbability": SURE,
        "lowTenthLogProbability": SURE,
        "lowestWindowLogProbability": SURE,
        "firstMargin": 1.0,
    }


async def test_an_unsure_answer_is_cancelled_and_the_dearer_tier_answers_alone() -> None:
    cheap: Script = [STREAM_HEAD, *(chunk(event) for event in small(*[UNSURE] * 4, tail=())), Do.HOLD]
    async with cascade(cheap) as (router, one, two):
        got = await router.ask(post(chat(stream=True)))
        await until(lambda: one.open == 0)
    assert (got.status, got.whole, got.body) == (200, True, LARGE_TEXT)
    assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("large", "Escalated")
    assert "logprobs" not in orjson.loads(two.seen[0].body)
    assert decided(router) == {"escalated act": 1}
    assert router.state.ledger.discarded == {"small": 4}
    (record,) = router.records
    assert [(charge.tier, charge.usage.output, charge.usage.estimated) for charge in record.charges] == [
        ("small", 4, True),
        ("large", 2, False),
    ]
    assert record.charges[0].cost > 0
    assert (record.outcome, record.attempts, router.state.ledger.retries) == ("ok", 2, 0)
    assert record.cost == sum((charge.cost for charge in record.charges), Decimal(0))


async def test_a_replica_whose_answer_is_dropped_has_done_well() -> None:
    async with cascade(stream(*small(*[UNSURE] * 4))) as (router, _, _):
        breaker = router.state.tiers["small"].replicas[0].breaker
        for _ in range(3):
            breaker.failed(router.state.monotonic())
            breaker.failed(router.state.monotonic())
            assert (await router.ask(post(chat(stream=True)))).headers["x-tierwise-reason"] == "Escalated"
        assert not breaker.is_open(router.state.monotonic())


async def test_the_token_that_completes_the_held_ones_is_the_last_that_is_waited_for() -> None:
    heard = asyncio.Event()
    events = small(*[SURE] * 9)
    cheap: Script = [STREAM_HEAD, *map(chunk, events[:5]), heard, *map(chunk, events[5:]), LAST_CHUNK]
    async with cascade(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True)))
        begun = await client.reader.readuntil(b"s3 ")
        assert b"s0 " in begun
        heard.set()
        await client.reader.readuntil(b"[DONE]")


async def test_nothing_is_seen_of_what_is_held() -> None:
    more = asyncio.Event()
    events = small(*[SURE] * 9)
    cheap: Script = [STREAM_HEAD, *map(chunk, events[:4]), more, *map(chunk, events[4:]), LAST_CHUNK]
    async with cascade(cheap) as (router, one, _), router.client() as client:
        client.say(post(chat(stream=True)))
        await asyncio.wait_for(one.asked.wait(), 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.reader.read(1)
        more.set()
        got = await client.answer()
    assert got.body == plain(*[SURE] * 9)


@pytest.mark.parametrize(("value", "tier_name"), [(SURE, "small"), (UNSURE, "large")])
@pytest.mark.parametrize("tail", [(STOP, USAGE, DONE), (STOP, DONE), (DONE,), (STOP,)])
async def test_an_answer_of_fewer_tokens_is_decided_at_its_end(
    value: float, tier_name: str, tail: tuple[bytes, ...]
) -> None:
    async with cascade(stream(*small(value, value, tail=tail))) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.whole) == (tier_name, True)


async def test_tokens_that_come_in_one_piece_are_decided_as_those_that_come_alone() -> None:
    """Four sure ones, then doubts: only the four are looked at, however many an event holds."""
    together = stream(ROLE, chat_event("a b c d e f", [SURE] * 4 + [-9.0] * 4), STOP, DONE)
    async with cascade(together) as (router, _, _):
        assert (await router.ask(post(chat(stream=True)))).headers["x-tierwise-tier"] == "small"


@pytest.mark.parametrize(("value", "tier_name"), [(SURE, "small"), (UNSURE, "large")])
async def test_completions_are_cascaded_too(value: float, tier_name: str) -> None:
    cheap = stream(*(completion_event("a", [value]) for _ in range(6)), completion_event("", None, "stop"), DONE)
    dear = stream(completion_event("large", None), completion_event("", None, "stop"), DONE)
    async with cascade(cheap, dear=dear) as (router, one, _):
        got = await router.ask(post({"model": "auto", "prompt": "a", "stream": True}, COMPLETIONS))
    assert got.headers["x-tierwise-tier"] == tier_name
    assert orjson.loads(one.seen[0].body)["logprobs"] == 2
    assert b"token_logprobs" not in got.body


# --- in one piece ---------------------------------------------------------------------------------------------------


def whole(value: float | None, text: str = "hi", **message: Any) -> bytes:
    logprobs = None if value is None else {"content": [entry(text, value)] * 3}
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": said, "logprobs": logprobs, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    return orjson.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})


async def test_an_answer_in_one_piece_is_decided_by_all_its_tokens() -> None:
    dear = [answer(whole(None, "large"))]
    async with cascade([answer(whole(SURE))], dear=dear) as (router, one, two):
        got = await router.ask(post(chat()))
        assert (got.body, got.headers["x-tierwise-reason"]) == (whole(None), "Cascade")
        one.default = [answer(whole(UNSURE))]
        got = await router.ask(post(chat()))
        assert (got.body, got.headers["x-tierwise-reason"]) == (whole(None, "large"), "Escalated")
        assert (len(one.seen), len(two.seen)) == (2, 1)
        assert one.connections == 1, "an answer that came whole leaves its connection"
    assert [(charge.tier, charge.usage.output) for charge in router.records[1].charges] == [("small", 3), ("large", 3)]
    assert router.state.ledger.discarded == {"small": 3}


async def test_who_asks_for_log_probabilities_gets_them() -> None:
    events = small(*[SURE] * 6)
    async with cascade(stream(*events)) as (router, one, _):
        got = await router.ask(post(chat(stream=True, logprobs=True)))
        assert got.body == b"".join(event for event in events if event is not USAGE)
        one.default = [answer(whole(SURE))]
        assert (await router.ask(post(chat(logprobs=True)))).body == whole(SURE)
    assert decided(router) == {"released act": 2}


# --- when it is no cascade, or none that escalates ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}, "Default"),
        ({"n": 2}, "Default"),
        ({"model": "small"}, "Direct"),
        ({"top_logprobs": 3}, "Default"),
    ],
)
async def test_tool_loops_several_answers_and_names_are_asked_for_as_they_are(
    fields: dict[str, Any], reason: str
) -> None:
    async with cascade([answer(whole(None))]) as (router, one, _):
        got = await router.ask(post(chat(**fields)))
    assert (got.status, got.headers["x-tierwise-reason"]) == (200, reason)
    assert "logprobs" not in orjson.loads(one.seen[0].body)
    assert decided(router) == {}


async def test_a_call_of_a_tool_is_released_at_once_however_unsure() -> None:
    heard = asyncio.Event()
    call = chat_event("", [UNSURE], tool_calls=[{"index": 0, "function": {"name": "f"}}])
    cheap: Script = [STREAM_HEAD, chunk(ROLE), chunk(call), heard, *map(chunk, (STOP, DONE)), LAST_CHUNK]
    async with cascade(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True, tools=[{"type": "function"}])))
        await client.reader.readuntil(b"tool_calls")
        heard.set()
        await client.reader.readuntil(b"[DONE]")
    assert decided(router) == {"tool_call act": 1}
    called = [answer(whole(UNSURE, tool_calls=[{"id": "1"}]))]
    async with cascade(called) as (router, _, two):
        assert (await router.ask(post(chat()))).headers["x-tierwise-tier"] == "small"
        assert two.seen == []


async def test_an_engine_that_says_none_is_not_waited_for() -> None:
    silent = stream(ROLE, *(chat_event("a", None) for _ in range(9)), STOP, DONE)
    async with cascade(silent) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert got.body.count(b'"content":"a"') == 9
    assert decided(router) == {"no_signal act": 1}


async def test_an_engine_that_says_none_is_released_with_its_first_content() -> None:
    heard = asyncio.Event()
    cheap: Script = [
        STREAM_HEAD,
        chunk(ROLE),
        chunk(chat_event("a", None)),
        heard,
        *map(chunk, (STOP, DONE)),
        LAST_CHUNK,
    ]
    async with cascade(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True)))
        await client.reader.readuntil(b'"a"')
        heard.set()
        await client.reader.readuntil(b"[DONE]")


async def test_an_engine_that_refuses_them_is_asked_as_the_client_wrote_it_and_left_alone_for_a_while() -> None:
    def cheap(seen: Any) -> Script:
        asked = "logprobs" in orjson.loads(seen.body)
        return [answer(b'{"error":{"message":"no logprobs here"}}', 400) if asked else answer(whole(None))]

    async with cascade(()) as (router, one, _):
        one.choose = cheap
        for _ in range(3):
            assert (await router.ask(post(chat()))).body == whole(None)
        assert ["logprobs" in orjson.loads(seen.body) for seen in one.seen] == [True, False, False, False]
        assert (router.state.ledger.retries, router.records[0].attempts) == (0, 2)
    assert decided(router) == {"no_signal act": 1}


async def test_a_clients_own_mistake_is_its_own_and_says_nothing_of_the_engine() -> None:
    async with cascade([answer(b'{"error":{"message":"bad"}}', 400)]) as (router, one, two):
        got = await router.ask(post(chat()))
        assert (got.status, got.json["error"]["message"]) == (400, "bad")
        assert len(one.seen) == 2
        one.default = [answer(whole(SURE))]
        await router.ask(post(chat()))
        assert "logprobs" in orjson.loads(one.seen[2].body)
        assert two.seen == []


async def test_escalations_end_at_their_percent() -> None:
    half = Cascade(4, -0.5, 50)
    async with cascade(stream(*small(*[UNSURE] * 4)), rule=half) as (router, _, _):
        tiers = [(await router.ask(post(chat(stream=True)))).headers["x-tierwise-tier"] for _ in range(8)]
    assert tiers == ["small", "large"] * 4
    assert decided(router) == {"over_budget act": 4, "escalated act": 4}


@pytest.mark.parametrize("how", ["full", "broken", "gone", "paid up"])
async def test_while_the_dearer_tier_takes_nothing_an_unsure_answer_is_released(how: str) -> None:
    changes: dict[str, Any] = {"budget": Budget(Decimal("0.0001"))} if how == "paid up" else {}
    async with cascade(stream(*small(*[UNSURE] * 4)), **changes) as (router, _, two):
        dearer = router.state.tiers["large"]
        if how == "full":
            router.state.route = route(*router.state.route.tiers, cascade=RULE, overflow=Overflow(1, 1))
            dearer.replicas[0].waiting = 9
        elif how == "broken":
            for _ in range(3):
                dearer.replicas[0].breaker.failed(router.state.monotonic())
        elif how == "gone":
            dearer.set_replicas({})
        # 41 millionths of a dollar for the cheap answer, 410 for a dear one.
        got = await router.ask(post(chat(stream=True, max_tokens=20)))
        assert (got.headers["x-tierwise-tier"], got.body) == ("small", plain(*[UNSURE] * 4))
        assert two.seen == []
    assert decided(router) == {"tier_full act": 1}


async def test_in_the_shadow_it_is_decided_and_counted_and_nothing_is_held() -> None:
    heard = asyncio.Event()
    shadow = Cascade(4, -0.5, 100, shadow=True)
    events = small(*[UNSURE] * 9)
    cheap: Script = [STREAM_HEAD, *map(chunk, events[:2]), heard, *map(chunk, events[2:]), LAST_CHUNK]
    async with cascade(cheap, rule=shadow) as (router, one, two):
        async with router.client() as client:
            client.say(post(chat(stream=True)))
            await client.reader.readuntil(b"s0 ")
            heard.set()
            await client.reader.readuntil(b"[DONE]")
        one.default = [answer(whole(UNSURE))]
        got = await router.ask(post(chat()))
        assert (got.body, got.headers["x-tierwise-reason"]) == (whole(None), "Default")
        one.default = stream(*small(*[SURE] * 2))
        assert (await router.ask(post(chat(stream=True)))).body == plain(*[SURE] * 2)
        assert two.seen == []
    assert decided(router) == {"escalated shadow": 2, "released shadow": 1}
    assert router.state.ledger.discarded == {}


# --- faults ---------------------------------------------------------------------------------------------------------


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
    async with cascade(cheap) as (router, _, two):
        got = await router.ask(post(chat(stream=True)))
        assert two.seen == []
    assert not got.whole
    assert b"s4 " in got.body
    assert b'"error"' in got.body
    assert router.records[0].outcome == "broken"


async def test_a_stream_that_ends_too_early_while_held_goes_elsewhere_too() -> None:
    async with cascade(stream(*small(UNSURE, UNSURE, tail=()))) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
        assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("large", "Fallback")
        assert got.body == LARGE_TEXT
    assert decided(router) == {}


@pytest.mark.parametrize("refusal", [503, 500, 429])
async def test_where_the_dearer_tier_refuses_after_all_the_cheap_one_answers(refusal: int) -> None:
    async with cascade(stream(*small(*[UNSURE] * 4)), dear=[answer(b"{}", refusal)]) as (router, one, two):
        got = await router.ask(post(chat(stream=True)))
        assert (got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]) == ("small", "Default")
        assert got.body == b"".join(e for e in small(*[UNSURE] * 4) if e is not USAGE), "as the engine has said it"
        assert ["logprobs" in orjson.loads(seen.body) for seen in one.seen] == [True, False]
        assert len(two.seen) == 1
    assert [charge.tier for charge in router.records[0].charges] == ["small", "small"]


async def test_a_client_that_goes_away_while_it_is_held_ends_it_upstream() -> None:
    cheap: Script = [STREAM_HEAD, *map(chunk, small(SURE, SURE, tail=())), Do.HOLD]
    async with cascade(cheap) as (router, one, two):
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
    async with cascade(still, sweep=0.01) as (router, one, _):
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
    async with cascade(slow, rule=rule, sweep=0.01) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.whole) == (tier_name, True)
    assert 1 <= orjson.loads(router.lines[0])["cascade"]["tokens"] < 30


async def test_the_first_token_deadline_ends_the_holding_of_a_slow_answer() -> None:
    pieces: list[Any] = [STREAM_HEAD, chunk(ROLE)]
    for number in range(40):
        pieces += [chunk(chat_event(f"s{number}", [SURE])), 0.03]
    slow = [*pieces, *map(chunk, (STOP, DONE)), LAST_CHUNK]
    limits: dict[str, Any] = {"deadlines": Deadlines(10.0, 0.3, 5.0), "queue": QueueLimits(100, 1.0, 0.2)}
    async with cascade(slow, rule=Cascade(100, -0.5, 100), sweep=0.01, **limits) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.whole) == ("small", True)
    assert orjson.loads(router.lines[0])["cascade"]["tokens"] < 40


async def test_what_is_held_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_module, "MOST_HELD_BYTES", 4_000)
    heard = asyncio.Event()
    big = event({"index": 0, "delta": {"content": "x" * 5_000}, "logprobs": {"content": [entry("x", SURE)]}})
    cheap: Script = [STREAM_HEAD, chunk(ROLE), chunk(big), heard, *map(chunk, (STOP, DONE)), LAST_CHUNK]
    async with cascade(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True)))
        await client.reader.readuntil(b"xxxx")
        heard.set()
        await client.reader.readuntil(b"[DONE]")


async def test_an_error_in_the_stream_while_held_goes_elsewhere() -> None:
    error = b'data: {"error":{"message":"out of memory"}}\n\n'
    async with cascade(stream(*small(SURE, SURE, tail=(error, DONE)))) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.body) == ("large", LARGE_TEXT)
