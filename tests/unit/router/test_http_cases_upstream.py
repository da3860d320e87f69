"""Clients that go away and servers that fail, at every moment of a request: what the other side sees, and what is left.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

import tierwise_router.upstream
from tests.unit.router.running_router import Client, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    GOOD_STREAM,
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
    word,
)
from tests.unit.router.tls import contexts
from tierwise_router.client_connection import Timeouts

BEGUN = [STREAM_HEAD, chunk(ROLE), chunk(word("Hel"))]
ERROR = b'data: {"error":{"message":"out of memory","type":"InternalServerError","code":500}}\n\n'


async def _gone(client: Client, how: str) -> float:
    if how == "reset":
        client.vanish()
    elif how == "half-close":
        client.half_close()
    else:
        client.writer.close()
    return time.monotonic()


async def _until_gone_upstream(router: Router, up: Upstream, at: float) -> None:
    await until(up.ended.is_set)
    # A client that is not noticed is ended by the time for reading, 30 s; a busy machine takes some to notice one.
    assert up.ended_at[0] - at < 5
    await until(lambda: router.records)
    assert [record.outcome for record in router.records] == ["client_gone"]


@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize(
    ("streamed", "script"),
    [
        (True, [Do.HOLD]),
        (True, [STREAM_HEAD, Do.HOLD]),
        (True, [*BEGUN[:2], Do.HOLD]),
        (True, [*BEGUN, Do.HOLD]),
        (False, [Do.HOLD]),
        (False, [COMPLETION[:-10], Do.HOLD]),
    ],
    ids=["no head", "head", "role", "content", "whole, no head", "whole, half of it"],
)
async def test_case_05_a_client_that_goes_away_ends_the_work_upstream(how: str, streamed: bool, script: Script) -> None:
    async with upstream(script) as up, running(route(tier("a", up))) as router, router.client() as client:
        client.say(post(chat(streamed)))
        await up.asked.wait()
        has_content = script[-2:] == [BEGUN[-1], Do.HOLD]
        await until(lambda: not has_content or any(attempt.committed for attempt in router.state.attempts))
        await asyncio.sleep(0.01)
        at = await _gone(client, how)
        await _until_gone_upstream(router, up, at)
        (record,) = router.records
        (charge,) = record.charges
        assert charge.usage.estimated
        assert charge.usage.output == (1 if has_content else 0)


async def test_case_05_a_client_that_goes_away_while_it_is_connected_for_leaves_nothing() -> None:
    async with upstream() as up, running(route(tier("a", up))) as router:
        client_context = router.client()
        client = await client_context.__aenter__()
        client.say(post(chat()))
        await until(lambda: router.state.tiers["a"].replicas[0].in_flight == 1)
        client.vanish()
        await until(lambda: router.records)
        await client_context.__aexit__(None, None, None)
        # What has gone out may be billed, though a busy upstream has not read it yet.
        assert not router.records[0].charges or up.connections


BIG = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)


async def _stall(client: Client, router: Router, up: Upstream) -> int:
    """Read nothing until upstream cannot send any more; how much it has sent by then."""
    client.read_nothing()
    client.say(post(chat(True)))
    await up.asked.wait()
    await until(lambda: router.only.paused)
    sent, quiet = up.sent_bytes, 0
    while quiet < 50:  # turns of the loop, not a time: on a busy machine one turn may take all of it
        await asyncio.sleep(0.003)
        quiet = quiet + 1 if up.sent_bytes == sent else 0
        sent = up.sent_bytes
    return sent


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_case_06_a_client_that_goes_away_while_upstream_is_paused_is_noticed(
    secured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, trusting = contexts(tmp_path)
    monkeypatch.setattr(tierwise_router.upstream, "default_tls", lambda: trusting)
    script: Script = [*BEGUN, *[chunk(BIG)] * 400, Do.HOLD]
    async with (
        upstream(script, tls=server if secured else None) as up,
        running(route(tier("a", up))) as router,
        router.client() as client,
    ):
        sent = await _stall(client, router, up)
        assert sent < 20 << 20, "nothing holds upstream back"
        assert router.only.paused
        client.vanish()
        at = time.monotonic()
        await _until_gone_upstream(router, up, at)


async def test_case_06_over_tls_an_answer_comes_and_the_connection_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, trusting = contexts(tmp_path)
    monkeypatch.setattr(tierwise_router.upstream, "default_tls", lambda: trusting)
    async with upstream(default=[COMPLETION], tls=server) as up, running(route(tier("a", up))) as router:
        for _ in range(3):
            assert (await router.ask(post(chat()))).status == 200
        assert up.connections == 1


async def test_a_server_with_a_certificate_that_nobody_vouches_for_is_no_server(tmp_path: Path) -> None:
    server, _ = contexts(tmp_path)
    async with upstream(default=[COMPLETION], tls=server) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (502, "upstream_connect")
        assert up.seen == []


async def test_case_06_a_slow_client_gets_everything_and_loses_nothing() -> None:
    script = stream(ROLE, *[BIG] * 100, FINISH, USAGE, DONE)
    async with upstream(script) as up, running(route(tier("a", up)), timeouts=Timeouts(write=100.0)) as router:
        async with router.client() as client:
            await _stall(client, router, up)
            assert router.only.paused
            router.later(80.0)  # it has stalled for some time already: on a busy machine for seconds
            client.read_again()
            got = await client.answer()
            assert got.whole
            assert got.body == ROLE + BIG * 100 + FINISH + DONE
        assert [record.outcome for record in router.records] == ["ok"]


@pytest.mark.parametrize("end", [Do.RESET, Do.CLOSE])
@pytest.mark.parametrize("streamed", [True, False])
async def test_case_07_a_kept_connection_that_is_reset_is_retried_once_on_a_new_one(end: Do, streamed: bool) -> None:
    good: Script = GOOD_STREAM if streamed else [COMPLETION]
    async with upstream([COMPLETION], [end], default=good) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(chat()))).status == 200
        got = await router.ask(post(chat(streamed)))
        assert (got.status, got.whole) == (200, True)
        assert [seen.connection for seen in up.seen] == [0, 0, 1]
        assert router.records[1].attempts == 2
        assert router.state.ledger.failures["a", "reset_idle"] == 1


async def test_case_07_a_second_reset_is_not_retried_for_ever() -> None:
    async with upstream([COMPLETION], default=[Do.RESET]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(chat()))).status == 200
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (502, "upstream_reset")
        assert len(up.seen) == 3


async def test_case_07_the_retry_goes_to_a_new_connection_even_of_another_replica() -> None:
    async with (
        upstream([COMPLETION], default=[Do.RESET]) as one,
        upstream([COMPLETION], default=[Do.RESET]) as two,
        running(route(tier("a", one, two))) as router,
    ):
        tier_a = router.state.tiers["a"]
        while len([pool for pool in tier_a._pools.values() if pool._idle]) < 2:
            assert (await router.ask(post(chat()))).status == 200
        kept = {0}
        got = await router.ask(post(chat()))
        assert got.status == 502
        resets = [seen.connection for up in (one, two) for seen in up.seen[1:]]
        assert len([number for number in resets if number in kept]) <= 1


async def test_case_07_a_kept_connection_that_ends_while_it_is_answered_was_no_idle_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tierwise_router.upstream, "STALE_SECONDS", 0.1)
    async with (
        upstream([COMPLETION], [0.2, Do.RESET], default=[COMPLETION]) as up,
        running(route(tier("a", up, provider=True))) as router,
    ):
        assert (await router.ask(post(chat()))).status == 200
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (502, "upstream_reset")
        assert len(up.seen) == 2  # the provider may have worked on it, and is not asked for it a second time
        assert [charge.usage.estimated for charge in router.records[1].charges] == [True]


@pytest.mark.parametrize("end", [Do.RESET, Do.CLOSE])
async def test_case_07_after_the_first_byte_nothing_is_retried_on_the_same_replica(end: Do) -> None:
    async with (
        upstream([COMPLETION], [COMPLETION[:9], end], default=[COMPLETION]) as up,
        running(route(tier("a", up))) as router,
    ):
        assert (await router.ask(post(chat()))).status == 200
        got = await router.ask(post(chat()))
        assert (got.status, got.code) == (502, "upstream_reset")
        assert len(up.seen) == 2


@pytest.mark.parametrize("end", [Do.RESET, Do.CLOSE, b"zz\r\n"])
@pytest.mark.parametrize("partial", [b"", b"7\r\ndata: {", chunk(b'data: {"choices":[')])
async def test_case_08_a_server_that_dies_after_content_is_passed_on_as_an_error(
    end: Do | bytes, partial: bytes
) -> None:
    async with (
        upstream([*BEGUN, 0.02, partial, 0.02, end]) as up,
        upstream(default=GOOD_STREAM) as other,
        running(route(tier("a", up), tier("b", other))) as router,
    ):
        got = await router.ask(post(chat(True)))
        assert not got.whole
        events = got.body.split(b"\n\n")
        assert got.body.startswith(ROLE + word("Hel"))
        assert events[2].startswith(b'data: {"error":{')
        assert events[3:] == [b""]
        assert b"[DONE]" not in got.body
        assert other.seen == []
        assert [record.outcome for record in router.records] == ["broken"]
        assert router.records[0].charges[0].usage.output == 1


async def test_case_08_a_server_that_dies_before_content_is_replaced_and_nobody_notices() -> None:
    async with (
        upstream([*BEGUN[:2], 0.01, Do.RESET]) as up,
        upstream(default=GOOD_STREAM) as other,
        running(route(tier("a", up), tier("b", other))) as router,
    ):
        got = await router.ask(post(chat(True)))
        assert got.whole
        assert got.headers["x-tierwise-tier"] == "b"
        assert got.body.count(ROLE) == 1


async def test_case_08_a_server_that_resets_after_done_has_said_everything() -> None:
    async with upstream([*GOOD_STREAM[:-1], 0.02, Do.RESET]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat(True)))
        assert got.whole
        assert got.body.endswith(DONE)
        assert [record.outcome for record in router.records] == ["ok"]


async def test_case_09_an_error_within_a_stream_is_a_failure_though_done_follows() -> None:
    async with upstream(stream(ROLE, word("Hel"), ERROR, DONE)) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat(True)))
        assert got.body == ROLE + word("Hel") + ERROR + DONE
        assert got.whole  # upstream has ended it so
        assert [record.outcome for record in router.records] == ["broken"]
        assert router.state.ledger.failures["a", "stream_error"] == 1


async def test_case_09_an_error_in_place_of_a_stream_goes_to_the_next_tier() -> None:
    async with (
        upstream(stream(ERROR, DONE)) as up,
        upstream(default=GOOD_STREAM) as other,
        running(route(tier("a", up), tier("b", other))) as router,
    ):
        got = await router.ask(post(chat(True)))
        assert (got.status, got.headers["x-tierwise-tier"]) == (200, "b")
        assert b"out of memory" not in got.body


@pytest.mark.parametrize("end", [[LAST_CHUNK], [Do.CLOSE]])
async def test_case_10_a_stream_that_ends_without_a_reason_has_failed(end: Script) -> None:
    async with upstream([*BEGUN, chunk(word("lo")), 0.01, *end]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(chat(True)))
        assert not got.whole
        assert b'"code":"upstream_error"' in got.body
        (record,) = router.records
        assert record.outcome == "broken"
        assert (record.charges[0].usage.output, record.charges[0].usage.estimated) == (2, True)


async def test_case_10_one_of_two_choices_that_never_ends_is_a_failure() -> None:
    second = word("x").replace(b'"index":0', b'"index":1')
    async with upstream(stream(word("x"), second, FINISH)) as up, running(route(tier("a", up))) as router:
        assert not (await router.ask(post(chat(True, n=2)))).whole
    async with (
        upstream(stream(word("x"), second, FINISH, FINISH.replace(b'"index":0', b'"index":1'))) as up,
        running(route(tier("a", up))) as router,
    ):
        assert (await router.ask(post(chat(True, n=2)))).whole


BY_EOF = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([BY_EOF, b'{"id":"c"', b',"choices":[]}', Do.CLOSE], 200),
        ([BY_EOF, b'{"id":"c"', Do.CLOSE], 502),
        ([BY_EOF, b'{"id":"c","choices":[]}', 0.02, Do.RESET], 502),
        ([BY_EOF, b'{"id":"c"}', Do.HALF_CLOSE], 200),
        ([answer(b"{}")[:-1], Do.CLOSE], 502),
    ],
)
async def test_case_10_an_answer_without_a_length_ends_only_with_an_orderly_end(script: Script, status: int) -> None:
    async with upstream(script) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(chat()))).status == status


async def test_what_an_engine_says_of_vectors_in_bytes_is_passed_on() -> None:
    """vLLM's `encoding_format: bytes` says in a header what the bytes are; without it nobody can read them."""
    told = '{"data":[{"index":0,"start":0,"end":4}],"usage":{"prompt_tokens":3}}'
    script = [
        answer(b"\x00\xff\n\r", content_type="application/octet-stream", extra=f"metadata: {told}\r\nother: x\r\n")
    ]
    async with upstream(default=script) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post({"model": "auto", "input": "a", "encoding_format": "bytes"}, "/v1/embeddings"))
    assert (got.status, got.body) == (200, b"\x00\xff\n\r")
    assert (got.headers["content-type"], got.headers["metadata"]) == ("application/octet-stream", told)
    assert "other" not in got.headers
