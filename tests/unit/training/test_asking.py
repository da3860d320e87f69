"""Checks how a tier is asked: the rate, what is waited for, what ends a run; against a server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tierwise.errors import Invalid, Refused, Transient
from tierwise.routing.route import TokenRates
from tierwise_training import asking
from tierwise_training.asking import Limits, Router, read_key, retry_after
from tierwise_training.questions import Question

RATES = {"small": TokenRates(Decimal(1), Decimal(1), Decimal(1), Decimal(2))}
QUESTION = Question("k", "small", "small", {"model": "small", "messages": [{"role": "user", "content": "canary"}]})
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
Script = Callable[[int], tuple[int, dict[str, str], Any]]


def chat(text: str | None = "hello", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, **message}
    return {"model": "small-7b", "choices": [{"message": said, "finish_reason": "stop"}], "usage": USAGE}


OK: tuple[int, dict[str, str], Any] = (200, {"x-tierwise-tier": "small"}, chat())


def error(code: str = "", message: str = "canary") -> dict[str, Any]:
    return {"error": {"message": message, "code": code}}


class Served:
    """What a scripted server has seen. `at` are the times of its requests."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.open = 0
        self.most_open = 0
        self.url = ""


@contextlib.asynccontextmanager
async def serving(script: Script, seconds: float = 0) -> AsyncIterator[Served]:
    """A server that answers its n-th request by the script, after some seconds."""
    served = Served()

    async def handle(request: web.Request) -> web.Response:
        served.at.append(time.monotonic())
        served.open += 1
        served.most_open = max(served.most_open, served.open)
        await request.read()
        await asyncio.sleep(seconds)
        served.open -= 1
        status, headers, body = script(len(served.at) - 1)
        return web.json_response(body, status=status, headers=headers)

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", handle), web.get("/v1/models", handle)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()


def router(
    served: Served, rate: float = 1000, concurrency: int = 8, key: str | None = None, slash: str = "/v1"
) -> Router:
    return Router(served.url + slash, key, RATES, Limits(rate, concurrency, 10))


async def test_an_answer_has_its_text_tokens_and_exact_cost() -> None:
    async with serving(lambda _: OK) as served, router(served) as asked:
        found = await asked.ask(QUESTION)
    assert (found.text, found.input_tokens, found.output_tokens, found.reasoning_tokens) == ("hello", 10, 5, 2)
    assert (found.finish_reason, found.model, found.cost) == ("stop", "small-7b", "0.00002")


async def test_calls_of_tools_are_what_an_answer_says() -> None:
    call = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    async with serving(lambda _: (200, {}, chat(None, tool_calls=[call]))) as served, router(served) as asked:
        found = await asked.ask(QUESTION)
    assert "weather" in found.text
    assert "Oslo" in found.text


async def test_retry_after_is_waited_for_by_everybody_who_asks_that_tier() -> None:
    def script(number: int) -> tuple[int, dict[str, str], Any]:
        return (429, {"Retry-After": "1"}, error("queue_full")) if number == 0 else OK

    async with serving(script) as served, router(served, concurrency=1) as asked:
        await asyncio.gather(*(asked.ask(QUESTION) for _ in range(3)))
    assert len(served.at) == 4
    assert all(at - served.at[0] >= 0.99 for at in served.at[1:])


async def test_a_failure_without_a_word_is_tried_again_later() -> None:
    answers = [(500, {}, None), (200, {}, {"choices": []}), OK]
    async with serving(lambda number: answers[number]) as served, router(served) as asked:
        assert (await asked.ask(QUESTION)).text == "hello"
    assert served.at[1] - served.at[0] >= 0.99
    assert served.at[2] - served.at[1] >= 1.99


async def test_the_tries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_BACKOFF_SECONDS", 0.01)
    async with serving(lambda _: (502, {}, error("upstream_failed"))) as served, router(served) as asked:
        with pytest.raises(Transient, match=r"no answer in 6 tries: 502 upstream_failed") as caught:
            await asked.ask(QUESTION)
    assert len(served.at) == 6
    assert "canary" not in caught.value.message


async def test_nobody_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_BACKOFF_SECONDS", 0.01)
    async with serving(lambda _: OK) as served:
        pass
    async with router(served) as asked:
        with pytest.raises(Transient, match="no answer in 6 tries"):
            await asked.ask(QUESTION)
        with pytest.raises(Transient, match="cannot be reached"):
            await asked.models()


async def test_requests_keep_the_rate() -> None:
    async with serving(lambda _: OK) as served, router(served, rate=50) as asked:
        begun = time.monotonic()  # not the first arrival: a busy machine makes that one late, and the span short
        await asyncio.gather(*(asked.ask(QUESTION) for _ in range(16)))
    assert max(served.at) - begun >= 15 / 50


async def test_no_more_requests_are_open_than_wanted() -> None:
    async with serving(lambda _: OK, seconds=0.05) as served, router(served, concurrency=3) as asked:
        await asyncio.gather(*(asked.ask(QUESTION) for _ in range(12)))
    assert served.most_open == 3


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_that_no_retry_helps_is_an_answer_of_its_kind(status: int) -> None:
    async with serving(lambda _: (status, {}, error("context_length_exceeded"))) as served, router(served) as asked:
        found = await asked.ask(QUESTION)
    assert (found.text, found.refused) == ("", f"{status} context_length_exceeded")
    assert len(served.at) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((401, {}, error("invalid_api_key")), Invalid, "--api-key-file"),
        ((404, {}, error("model_not_found")), Invalid, "does not know the model 'small'"),
        ((307, {"Location": "http://127.0.0.1:1"}, None), Invalid, "redirects"),
        ((200, {"x-tierwise-tier": "large"}, chat()), Invalid, "'large' answered"),
        ((429, {"x-should-retry": "false"}, error("budget_spent")), Refused, "budget_spent"),
        ((503, {"Retry-After": "86400"}, error("x")), Refused, "asks to wait for 86400 s"),
    ],
)
async def test_what_would_go_wrong_for_every_prompt_ends_the_run(
    answer: Any, kind: type[Exception], words: str
) -> None:
    async with serving(lambda _: answer) as served, router(served, key="sk-secret") as asked:
        with pytest.raises(kind, match=words) as caught:
            await asked.ask(QUESTION)
    assert len(served.at) == 1
    assert "canary" not in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("slash", ["", "/", "/v1", "/v1/"])
async def test_the_models_that_are_served_are_known_with_any_form_of_the_address(slash: str) -> None:
    body = {"object": "list", "data": [{"id": "chat"}, {"id": "small"}]}
    async with serving(lambda _: (200, {}, body)) as served, router(served, slash=slash) as asked:
        assert await asked.models() == ["chat", "small"]


async def test_another_server_is_no_router() -> None:
    async with serving(lambda _: (200, {}, ["hello"])) as served, router(served) as asked:
        with pytest.raises(Invalid, match="does not answer as OpenAI's API does"):
            await asked.models()


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("3", 3.0), (" 2.5 ", 2.5), (format_datetime(NOW + timedelta(seconds=40), usegmt=True), 40.0),
     (format_datetime(NOW - timedelta(seconds=40), usegmt=True), 0.0), ("soon", None), ("-1", None), (None, None)],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(said: str | None, seconds: float | None) -> None:
    assert retry_after(said, NOW) == seconds


def test_a_key_file_holds_one_key_and_is_never_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-secret\n")
    assert read_key(tmp_path / "key") == "sk-secret"
    assert read_key(None) is None
    (tmp_path / "two").write_text("sk-secret sk-other")
    with pytest.raises(Invalid, match="one key") as caught:
        read_key(tmp_path / "two")
    assert "secret" not in caught.value.message
