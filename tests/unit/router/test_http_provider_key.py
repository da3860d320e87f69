"""Our key goes to the provider that it belongs to, and no client sees it where the provider repeats it in an error."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.router.running_router import chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, STREAM_HEAD, Do, Step, answer, chunk, upstream, word
from tierwise_router.upstream import Connection

ECHO = b'{"error":{"message":"you sent authorization: Bearer sk-ours","code":"bad"}}'
HARMLESS = b'{"error":{"message":"temperature must be positive","code":"bad"}}'


@pytest.mark.parametrize(("said", "shown"), [(ECHO, False), (HARMLESS, True)])
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_error_that_repeats_the_key_is_not_shown(said: bytes, shown: bool, status: int) -> None:
    async with upstream(default=[answer(said, status)]) as up, running(route(tier("p", up, provider=True))) as router:
        answered = await router.ask(post(chat()))
        assert answered.status == status
        assert (answered.body == said) is shown
        assert b"sk-ours" not in answered.body
        assert answered.json["error"]["message"]


@pytest.mark.parametrize("ending", [Do.CLOSE, b"0\r\n\r\n"])
@pytest.mark.parametrize(("said", "shown"), [(ECHO, False), (HARMLESS, True)])
async def test_nor_is_one_within_a_stream(said: bytes, shown: bool, ending: Step) -> None:
    event = b"data: " + said + b"\n\n"
    script: list[Step] = [STREAM_HEAD, chunk(word("Hel")), chunk(event), ending]
    async with upstream(default=script) as up, running(route(tier("p", up, provider=True))) as router:
        answered = await router.ask(post(chat(stream=True)))
        assert answered.body.startswith(word("Hel"))
        assert (event in answered.body) is shown
        assert b"sk-ours" not in answered.body
        assert b'"error"' in answered.body
        assert router.records[0].outcome == "broken"


async def test_a_provider_that_is_replaced_while_it_is_connected_to_is_not_told_the_key_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connecting, replaced = asyncio.Event(), asyncio.Event()
    async with (
        upstream(default=[COMPLETION]) as one,
        upstream(default=[COMPLETION]) as two,
        running(route(tier("p", one, provider=True)), keys={"key": "sk-of-one"}) as router,
    ):
        pool = router.state.tiers["p"].pool(router.state.tiers["p"].replicas[0])
        connect = pool.connect

        async def slowly() -> Connection:
            connecting.set()
            await replaced.wait()
            return await connect()

        monkeypatch.setattr(pool, "connect", slowly)
        asked = asyncio.create_task(router.ask(post(chat())))
        await connecting.wait()
        router.state.replace(route(tier("p", two, provider=True, model="next")), {"key": "sk-of-two"})
        replaced.set()
        assert (await asked).status == 200
        assert (await router.ask(post(chat()))).status == 200
        assert [seen.headers["authorization"] for seen in (*one.seen, *two.seen)] == [
            "Bearer sk-of-one",
            "Bearer sk-of-two",
        ]
        assert b"p-model" in one.seen[0].body
