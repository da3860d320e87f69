"""Checks that the checking clients of the fault tests notice every way in which an answer can be wrong."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.faults import verdict
from tests.faults.asking import Clients, Order, Told
from tests.faults.verdict import BROKEN, CUT, REFUSED, RESET, SILENCE, WHOLE, Asked, Stream, of_stream, said_by

TOKENS = 6
ASKED = Asked("what?", TOKENS, {"small": (1, 2), "large": (3,)})
ONE, TWO = said_by(1, "what?", TOKENS), said_by(2, "what?", TOKENS)
ERROR = {"message": "it broke", "type": "server_error", "param": None, "code": "upstream_error"}
USAGE = {"choices": [], "id": "a", "usage": {"completion_tokens": TOKENS}}
DONE = b"data: [DONE]\n\n"


def event(values: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(values).encode() + b"\n\n"


def piece(text: str, finish: str | None = None, name: str = "a", **delta: str) -> bytes:
    return event({"id": name, "choices": [{"delta": {"content": text, **delta}, "finish_reason": finish}]})


def judged(*parts: bytes, tier: str = "small", ended: str = "") -> str:
    seen = Stream()
    for part in parts:
        seen.take(part)
    return of_stream(ASKED, tier, seen, ended)


def test_engines_with_other_seeds_answer_otherwise() -> None:
    assert ONE != TWO
    assert said_by(1, "what?", TOKENS) == ONE


def test_a_stream_with_all_of_one_engine_is_whole() -> None:
    assert judged(piece("", role="assistant"), piece(ONE[:5]), piece(ONE[5:], "length"), event(USAGE), DONE) == WHOLE


@pytest.mark.parametrize("size", [1, 7])
def test_it_does_not_matter_where_the_pieces_are_cut(size: int) -> None:
    data = piece(ONE, "length") + event(USAGE) + DONE
    assert judged(*(data[at : at + size] for at in range(0, len(data), size))) == WHOLE


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ([piece(ONE[:9] + TWO[9:], "length"), DONE], "spliced"),
        ([piece(ONE[:9]), piece(ONE, "length"), DONE], "spliced"),
        ([piece(said_by(3, "what?", TOKENS), "length"), DONE], "spliced"),
        ([piece(ONE, "length"), DONE, piece("", "length"), DONE], "two answers"),
        ([piece(ONE, "length"), DONE, DONE], "two answers"),
        ([piece(ONE[:9]), piece(ONE[9:], "length", name="b"), DONE], "two answers"),
        ([piece("", role="assistant"), piece("", role="assistant"), piece(ONE, "length"), DONE], "two answers"),
        ([piece(ONE[:9], "length"), DONE], "incomplete"),
        ([piece(ONE), DONE], "incomplete"),
        ([piece(ONE, "length")], "incomplete"),
        ([piece(ONE, "length"), event({**USAGE, "usage": {"completion_tokens": 5}}), DONE], "5 tokens"),
        ([piece(ONE[:9]), event({"error": "gone"})], "not OpenAI's"),
    ],
)
def test_a_stream_that_no_engine_gave_is_wrong(parts: list[bytes], word: str) -> None:
    found = judged(*parts)
    assert word in found
    assert found not in verdict.RIGHT


def test_an_error_after_the_first_byte_is_no_wrong_but_only_after_what_an_engine_said() -> None:
    assert judged(piece(ONE[:9]), event({"error": ERROR}), ended=CUT) == BROKEN
    assert "spliced" in judged(piece("nonsense"), event({"error": ERROR}), ended=CUT)


@pytest.mark.parametrize("ended", [CUT, SILENCE])
def test_an_end_without_a_word_is_wrong(ended: str) -> None:
    assert judged(piece(ONE[:9]), ended=ended) == ended


def test_a_refusal_needs_openais_error_and_says_when_to_come_again() -> None:
    body = json.dumps({"error": ERROR}).encode()
    assert verdict.of_refusal(502, {}, body) == REFUSED
    assert verdict.of_refusal(429, {"retry-after": "3"}, body) == REFUSED
    assert "without Retry-After" in verdict.of_refusal(429, {}, body)
    assert "without OpenAI's error" in verdict.of_refusal(502, {}, b"<html>")
    assert "not OpenAI's" in verdict.of_refusal(502, {}, b'{"error": {"message": "no"}}')


def answer(text: str, tokens: int = TOKENS) -> bytes:
    values = {"choices": [{"message": {"content": text}}], "usage": {"completion_tokens": tokens}}
    return json.dumps(values).encode()


def test_an_answer_in_one_piece_is_compared_as_well() -> None:
    assert verdict.of_whole(ASKED, "small", answer(TWO)) == WHOLE
    assert "spliced" in verdict.of_whole(ASKED, "large", answer(TWO))
    assert "5 tokens" in verdict.of_whole(ASKED, "small", answer(TWO, 5))


# --- the clients ----------------------------------------------------------------------------------------------------


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nX-Tierwise-Tier: small"
    return head + b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


@asynccontextmanager
async def server(*answers: bytes | None) -> AsyncIterator[str]:
    """Says these bytes, one after another, to whatever it is asked; None: nothing more. Then it ends."""
    left, writers = list(answers), list[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while left:
            if not await reader.read(65536):
                break
            said = left.pop(0)
            if said is None:
                return
            writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as made:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def told(*answers: bytes | None, times: int = 1) -> list[Told]:
    """What clients report of a server that says this."""
    async with server(*answers) as url:
        order = Order(url, "chat", "", "", {"small": (1,)}, TOKENS, silence_seconds=0.2)
        clients = Clients(order, io.StringIO())
        found = [await clients.ask("user", TOKENS) for _ in range(times)]
        for wire in clients.idle:
            wire.close()
        return found


def good(number: int) -> bytes:
    """The answer to the client's request of this number."""
    return piece(said_by(1, verdict.prompt(f"user-{number}"), TOKENS), "length") + DONE


async def test_a_client_keeps_its_connection_and_every_answer_is_its_own() -> None:
    seen = await told(chunked(good(1)), chunked(good(2)), times=2)
    assert [each.verdict for each in seen] == [WHOLE, WHOLE]
    assert all(each.opened <= each.first <= each.ended for each in seen)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (chunked(good(2)), "spliced"),
        (chunked(good(1)) + chunked(good(1)), "more than one answer"),
        (chunked(good(1), end=b""), CUT),
        (chunked(end=b""), CUT),
        (b"", RESET),
        (None, SILENCE),
        (b"HTTP/1.1 200", RESET),
        (b"nonsense\r\n\r\n", "unreadable"),
    ],
)
async def test_a_client_notices_what_is_wrong(said: bytes | None, found: str) -> None:
    (seen,) = await told(said)
    assert found in seen.verdict
    assert not seen.right


async def test_an_answer_that_comes_after_the_end_of_another_is_noticed_with_the_next_request() -> None:
    late = chunked(good(1)) + b"HTTP/1.1 200 OK\r\n\r\n"
    seen = await told(late, times=1)
    assert "more than one answer" in seen[0].verdict
