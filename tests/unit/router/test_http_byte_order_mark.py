"""A byte order mark before an answer: events behind it are read like any other, and clients are spared it."""

from __future__ import annotations

import pytest

from tests.unit.router.running_router import chat, post, route, running, tier
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    ROLE,
    USAGE,
    Step,
    answer,
    chunk,
    stream,
    upstream,
    word,
)
from tierwise_router.answer import StreamReader

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("first", [word("Hel"), ROLE, word("Hel").replace(b"\n", b"\r\n")])
async def test_a_byte_order_mark_before_the_first_event_hides_nothing_of_it(first: bytes) -> None:
    script = stream(BOM + first, word("lo"), FINISH, USAGE, DONE)
    async with upstream(default=script) as up, running(route(tier("a", up))) as router:
        answered = await router.ask(post(chat(stream=True)))
        assert answered.body == first + word("lo") + FINISH + DONE
        (record,) = router.records
        assert record.outcome == "ok"
        assert record.charges[0].usage.output == 2


@pytest.mark.parametrize("cut", [1, 2, 3, 10])
async def test_a_byte_order_mark_may_be_cut_in_two(cut: int) -> None:
    first = BOM + word("Hel")
    head, *rest = stream(word("lo"), FINISH, USAGE, DONE)
    script: list[Step] = [head, chunk(first[:cut]), 0.02, chunk(first[cut:]), *rest]
    async with upstream(default=script) as up, running(route(tier("a", up))) as router:
        answered = await router.ask(post(chat(stream=True)))
        assert answered.body == word("Hel") + word("lo") + FINISH + DONE


def test_the_only_event_after_a_byte_order_mark_counts() -> None:
    reader = StreamReader(False)
    reader.feed(BOM + word("Hel"))
    assert (reader.committed, reader.output_events) == (True, 1)
    later = StreamReader(False)
    later.feed(word("a") + BOM + word("b"))
    assert later.output_events == 1, "further on it is no mark: the event has no data"


async def test_a_byte_order_mark_before_an_answer_in_one_piece_hides_no_usage() -> None:
    _, _, body = COMPLETION.partition(b"\r\n\r\n")
    script = [answer(BOM + body)]
    async with upstream(default=script) as up, running(route(tier("a", up))) as router:
        answered = await router.ask(post(chat()))
        assert answered.body == BOM + body
        assert router.records[0].charges[0].usage.prompt == 10
        assert not router.records[0].charges[0].usage.estimated
