"""Cascades on real sockets: when a held answer is released, when a dearer tier answers, and what happens to both."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.unit.router.cascades import LARGE_TEXT, RULE, STOP, SURE, UNSURE, cascading, decided, plain, small, whole
from tests.unit.router.logprob_texts import chat_event, completion_event, entry, event
from tests.unit.router.running_router import chat, post, route, until
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
)
from tierwise.routing.route import Budget, Cascade, Overflow
from tierwise_router.logprobs import COMPLETIONS

# --- released and escalated -----------------------------------------------------------------------------------------


async def test_a_sure_answer_is_released_as_one_stream_without_what_was_asked_for_it() -> None:
    async with cascading(stream(*small(*[SURE] * 9))) as (router, one, two):
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
    async with cascading(cheap) as (router, one, two):
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
    async with cascading(stream(*small(*[UNSURE] * 4))) as (router, _, _):
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
    async with cascading(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True)))
        begun = await client.reader.readuntil(b"s3 ")
        assert b"s0 " in begun
        heard.set()
        await client.reader.readuntil(b"[DONE]")


async def test_nothing_is_seen_of_what_is_held() -> None:
    more = asyncio.Event()
    events = small(*[SURE] * 9)
    cheap: Script = [STREAM_HEAD, *map(chunk, events[:4]), more, *map(chunk, events[4:]), LAST_CHUNK]
    async with cascading(cheap) as (router, one, _), router.client() as client:
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
    async with cascading(stream(*small(value, value, tail=tail))) as (router, _, _):
        got = await router.ask(post(chat(stream=True)))
    assert (got.headers["x-tierwise-tier"], got.whole) == (tier_name, True)


async def test_tokens_that_come_in_one_piece_are_decided_as_those_that_come_alone() -> None:
    """Four sure ones, then doubts: only the four are looked at, however many an event holds."""
    together = stream(ROLE, chat_event("a b c d e f", [SURE] * 4 + [-9.0] * 4), STOP, DONE)
    async with cascading(together) as (router, _, _):
        assert (await router.ask(post(chat(stream=True)))).headers["x-tierwise-tier"] == "small"


@pytest.mark.parametrize(("value", "tier_name"), [(SURE, "small"), (UNSURE, "large")])
async def test_completions_are_cascaded_too(value: float, tier_name: str) -> None:
    cheap = stream(*(completion_event("a", [value]) for _ in range(6)), completion_event("", None, "stop"), DONE)
    dear = stream(completion_event("large", None), completion_event("", None, "stop"), DONE)
    async with cascading(cheap, dear=dear) as (router, one, _):
        got = await router.ask(post({"model": "auto", "prompt": "a", "stream": True}, COMPLETIONS))
    assert got.headers["x-tierwise-tier"] == tier_name
    assert orjson.loads(one.seen[0].body)["logprobs"] == 2
    assert b"token_logprobs" not in got.body


# --- in one piece ---------------------------------------------------------------------------------------------------


async def test_an_answer_in_one_piece_is_decided_by_all_its_tokens() -> None:
    dear = [answer(whole(None, "large"))]
    async with cascading([answer(whole(SURE))], dear=dear) as (router, one, two):
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
    async with cascading(stream(*events)) as (router, one, _):
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
    async with cascading([answer(whole(None))]) as (router, one, _):
        got = await router.ask(post(chat(**fields)))
    assert (got.status, got.headers["x-tierwise-reason"]) == (200, reason)
    assert "logprobs" not in orjson.loads(one.seen[0].body)
    assert decided(router) == {}


async def test_a_call_of_a_tool_is_released_at_once_however_unsure() -> None:
    heard = asyncio.Event()
    call = chat_event("", [UNSURE], tool_calls=[{"index": 0, "function": {"name": "f"}}])
    cheap: Script = [STREAM_HEAD, chunk(ROLE), chunk(call), heard, *map(chunk, (STOP, DONE)), LAST_CHUNK]
    async with cascading(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True, tools=[{"type": "function"}])))
        await client.reader.readuntil(b"tool_calls")
        heard.set()
        await client.reader.readuntil(b"[DONE]")
    assert decided(router) == {"tool_call act": 1}
    called = [answer(whole(UNSURE, tool_calls=[{"id": "1"}]))]
    async with cascading(called) as (router, _, two):
        assert (await router.ask(post(chat()))).headers["x-tierwise-tier"] == "small"
        assert two.seen == []


async def test_what_the_engine_keeps_back_may_be_a_call_and_is_released() -> None:
    """vLLM sends chunks with log-probabilities and nothing else until it knows."""
    unknown = event({"index": 0, "delta": {}, "logprobs": {"content": [entry("<", UNSURE)]}, "finish_reason": None})
    call = chat_event("", [UNSURE], tool_calls=[{"index": 0, "function": {"name": "f"}}])
    async with cascading(stream(ROLE, *[unknown] * 6, call, STOP, DONE)) as (router, _, two):
        got = await router.ask(post(chat(stream=True, tools=[{"type": "function"}])))
        assert (
            got.body == ROLE + chat_event("", None, tool_calls=[{"index": 0, "function": {"name": "f"}}]) + STOP + DONE
        )
        assert two.seen == []
    assert decided(router) == {"tool_call act": 1}


async def test_reasoning_that_is_not_shown_yet_can_be_escalated_before_anything_is_said() -> None:
    """Its tokens come with empty texts: nothing of them would ever commit the answer."""
    silent: Script = [STREAM_HEAD, chunk(ROLE), *[chunk(chat_event("", [UNSURE]))] * 4, Do.HOLD]
    async with cascading(silent) as (router, one, _):
        got = await router.ask(post(chat(stream=True)))
        await until(lambda: one.open == 0)
    assert (got.headers["x-tierwise-reason"], got.body) == ("Escalated", LARGE_TEXT)


async def test_an_engine_that_says_none_is_not_waited_for() -> None:
    silent = stream(ROLE, *(chat_event("a", None) for _ in range(9)), STOP, DONE)
    async with cascading(silent) as (router, _, _):
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
    async with cascading(cheap) as (router, _, _), router.client() as client:
        client.say(post(chat(stream=True)))
        early = await client.reader.readuntil(b'"a"')
        assert b"[DONE]" not in early, "the engine had said no more"
        heard.set()
        await client.reader.readuntil(b"[DONE]")


async def test_an_engine_that_refuses_them_is_asked_as_the_client_wrote_it_and_left_alone_for_a_while() -> None:
    def cheap(seen: Any) -> Script:
        asked = "logprobs" in orjson.loads(seen.body)
        return [answer(b'{"error":{"message":"no logprobs here"}}', 400) if asked else answer(whole(None))]

    async with cascading(()) as (router, one, _):
        one.choose = cheap
        for _ in range(3):
            assert (await router.ask(post(chat()))).body == whole(None)
        assert ["logprobs" in orjson.loads(seen.body) for seen in one.seen] == [True, False, False, False]
        assert (router.state.ledger.retries, router.records[0].attempts) == (0, 2)
    assert decided(router) == {"no_signal act": 1}


async def test_a_clients_own_mistake_is_its_own_and_says_nothing_of_the_engine() -> None:
    async with cascading([answer(b'{"error":{"message":"bad"}}', 400)]) as (router, one, two):
        got = await router.ask(post(chat()))
        assert (got.status, got.json["error"]["message"]) == (400, "bad")
        assert len(one.seen) == 2
        one.default = [answer(whole(SURE))]
        await router.ask(post(chat()))
        assert "logprobs" in orjson.loads(one.seen[2].body)
        assert two.seen == []


async def test_escalations_end_at_their_percent() -> None:
    half = Cascade(4, -0.5, 50)
    async with cascading(stream(*small(*[UNSURE] * 4)), rule=half) as (router, _, _):
        tiers = [(await router.ask(post(chat(stream=True)))).headers["x-tierwise-tier"] for _ in range(8)]
    assert tiers == ["small", "large"] * 4
    assert decided(router) == {"over_budget act": 4, "escalated act": 4}


@pytest.mark.parametrize("how", ["full", "broken", "gone", "paid up"])
async def test_while_the_dearer_tier_takes_nothing_an_unsure_answer_is_released(how: str) -> None:
    changes: dict[str, Any] = {"budget": Budget(Decimal("0.0001"))} if how == "paid up" else {}
    async with cascading(stream(*small(*[UNSURE] * 4)), **changes) as (router, _, two):
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
    async with cascading(cheap, rule=shadow) as (router, one, two):
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
