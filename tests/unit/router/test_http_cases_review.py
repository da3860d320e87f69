"""What a reader of the router feared, case by case, over real sockets."""

from __future__ import annotations

import asyncio

from tests.unit.router.running_router import chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    GOOD_STREAM,
    ROLE,
    STREAM_HEAD,
    Do,
    answer,
    chunk,
    upstream,
    word,
)
from tierwise.routing.route import Deadlines, QueueLimits

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_request_whose_time_is_over_is_sent_to_no_further_tier_and_blames_nobody() -> None:
    deadlines = Deadlines(0.1, 5.0, 5.0)
    async with (
        upstream(default=[Do.HOLD]) as one,
        upstream(default=[COMPLETION]) as two,
        running(route(tier("a", one), tier("b", two), deadlines=deadlines), sweep_seconds=0.01) as router,
    ):
        for _ in range(4):
            got = await router.ask(post(chat()))
            assert (got.status, got.code) == (504, "upstream_deadline")
        assert len(two.seen) == 0
        (replica,) = router.state.tiers["a"].replicas
        assert replica.breaker.allows(router.state.monotonic())


async def test_a_failed_request_waits_for_the_other_replica_instead_of_failing() -> None:
    going = asyncio.Event()
    async with (
        upstream(default=[Do.RESET]) as broken,
        upstream(default=[going, COMPLETION]) as busy,
        running(route(tier("a", broken, busy, concurrency=1), queue=QueueLimits(10, 5.0, 5.0))) as router,
    ):
        asked = [asyncio.create_task(router.ask(post(chat()))) for _ in range(2)]
        await until(lambda: busy.seen)
        await asyncio.sleep(0.05)
        going.set()
        assert [(await one).status for one in asked] == [200, 200]


async def test_a_failed_request_that_waits_for_the_other_replica_holds_nobody_up() -> None:
    going = asyncio.Event()
    async with (
        upstream(default=[going, COMPLETION]) as busy,
        upstream([busy.asked, answer(b"{}", 503)], default=[COMPLETION]) as free,
        running(route(tier("a", busy, free, concurrency=1), queue=QueueLimits(10, 5.0, 5.0))) as router,
    ):
        asked = [asyncio.create_task(router.ask(post(chat()))) for _ in range(2)]
        await until(lambda: busy.seen and router.state.tiers["a"].waiting)
        async with asyncio.timeout(2):
            assert (await router.ask(post(chat()))).status == 200
        going.set()
        assert [(await one).status for one in asked] == [200, 200]


async def test_a_request_whose_kept_connection_a_draining_replica_closes_goes_to_another_replica() -> None:
    going = asyncio.Event()
    async with (
        upstream([COMPLETION], [going, Do.CLOSE]) as old,
        upstream(default=[COMPLETION]) as new,
        running(route(tier("a", old), queue=QueueLimits(10, 5.0, 5.0))) as router,
    ):
        assert (await router.ask(post(chat()))).status == 200
        asked = asyncio.create_task(router.ask(post(chat())))
        await until(lambda: len(old.seen) == 2)
        router.state.tiers["a"].set_replicas({old.url: old.url, new.url: new.url}, draining={old.url}, started=True)
        going.set()
        async with asyncio.timeout(2):
            assert (await asked).status == 200
        assert len(new.seen) == 1


async def test_no_client_takes_a_provider_away_from_the_others_by_asking_for_what_it_has_not() -> None:
    async with (
        upstream(*[[NOT_FOUND]] * 4, default=[COMPLETION]) as up,
        running(route(tier("a", up, provider=True))) as router,
    ):
        for _ in range(4):
            assert (await router.ask(post(chat()))).status == 502
        assert (await router.ask(post(chat()))).status == 200


async def test_a_provider_whose_streams_all_break_after_their_first_content_is_left_alone() -> None:
    async with (
        upstream(default=[STREAM_HEAD, chunk(ROLE), chunk(word("Hel")), 0.02, Do.CLOSE]) as one,
        upstream(default=GOOD_STREAM) as two,
        running(route(tier("a", one, provider=True), tier("b", two))) as router,
    ):
        got = [await router.ask(post(chat(True))) for _ in range(5)]
        assert [each.whole for each in got] == [False, False, False, True, True]
        assert [each.headers["x-tierwise-tier"] for each in got] == ["a", "a", "a", "b", "b"]


async def test_a_model_of_any_length_is_not_echoed_or_written_down() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(b'{"model": "' + b"secret" * 1000 + b'", "messages": []}'))
        assert (got.status, got.code) == (400, "invalid_model")
        assert b"secret" not in got.body
