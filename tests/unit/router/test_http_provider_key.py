"""A provider that repeats our key in its error: no client sees it, in one piece or within a stream."""

from __future__ import annotations

import pytest

from tests.unit.router.running_router import chat, post, route, running, tier
from tests.unit.router.scripted_upstream import STREAM_HEAD, Do, Step, answer, chunk, upstream, word

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
