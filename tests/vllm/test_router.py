"""Checks with the official client that asking the real engine through the router is asking the engine.

Every question of tests/same_answers.py is put to both, and what they say must be equal field by field.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from tests.same_answers import (
    CHAT,
    COMPLETIONS,
    RESPONSES,
    SCHEMA,
    SEEDED,
    TOOLS,
    USER,
    chat_fields,
    merged,
    merged_response,
    refused,
    response_fields,
    same,
)
from tests.unit.simulator.processes import vllm
from tests.vllm.routed import Served, served
from tests.vllm.tiers import ANSWER_SECONDS, cycle

pytestmark = pytest.mark.vllm
GENERATES = (
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
    "--enable-prompt-tokens-details",
    '--structured-outputs-config={"backend":"xgrammar","disable_any_whitespace":true}',
)
LONG = 3500
LONG_CHAT: dict[str, Any] = {"messages": USER, "max_tokens": LONG, "temperature": 0, "extra_body": {"ignore_eos": True}}
# What the simulated engine does not have.
ONLY_REAL: dict[str, dict[str, Any]] = {
    "two answers": {**SEEDED, "n": 2, "max_tokens": 6, "logprobs": True},
    "token ids": {"max_tokens": 4, "extra_body": {"return_token_ids": True}},
    "a long prompt, cached": {"max_tokens": 4, "messages": [{"role": "user", "content": "tell me more " * 60}]},
}
PROMPTS: dict[str, dict[str, Any]] = {
    "two prompts": {"prompt": ["one two", "three"], "max_tokens": 9},
    "echo": {"prompt": "one two", "max_tokens": 5, "echo": True},
}
COMPLETED = {**COMPLETIONS, **PROMPTS}
CHATS = {**CHAT, **ONLY_REAL}
CALLS = {"tools, one is required", "tools, this one"}


@pytest.fixture(scope="module")
def serving(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(models / "plain", tmp_path_factory.mktemp("routed"), *GENERATES) as found:
        yield found


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_is_the_same_field_by_field(serving: Served, name: str) -> None:
    asked = chat_fields(CHATS[name])
    serving.direct.chat.completions.create(model="m", **asked)  # what is cached now is cached for both
    plain, through = serving.both(lambda client, model: client.chat.completions.create(model=model, **asked))
    assert same(through) == same(plain)
    assert through.usage.completion_tokens > 0
    if name in CALLS:
        calls = through.choices[0].message.tool_calls
        assert len({call.id for call in calls}) == len(calls) > 0
        assert {frozenset(json.loads(call.function.arguments)) for call in calls} == {frozenset(SCHEMA["properties"])}
    if name == "an object by a schema":
        assert set(json.loads(through.choices[0].message.content)) == set(SCHEMA["properties"])
    if name == "a long prompt, cached":
        assert through.usage.prompt_tokens_details.cached_tokens > 0


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("name", CHATS)
def test_a_streamed_chat_says_the_same(serving: Served, name: str, usage: bool) -> None:
    asked = chat_fields(CHATS[name]) | {"stream": True}
    if usage:
        asked["stream_options"] = {"include_usage": True}
    serving.direct.chat.completions.create(model="m", **chat_fields(CHATS[name]))
    plain, through = serving.both(lambda client, model: list(client.chat.completions.create(model=model, **asked)))
    assert merged(through) == merged(plain)
    assert bool(through[-1].usage) is usage


def test_usage_of_every_chunk_comes_only_where_usage_was_asked_for(serving: Served) -> None:
    def counts(client: openai.OpenAI, model: str, usage: bool) -> list[int]:
        options: Any = {"include_usage": usage, "continuous_usage_stats": True}
        asked = chat_fields({"max_tokens": 6}) | {"stream": True, "stream_options": options}
        chunks = client.chat.completions.create(model=model, **asked)
        return [chunk.usage.completion_tokens for chunk in chunks if chunk.usage]

    plain, through = serving.both(lambda client, model: counts(client, model, False))
    assert through == plain == []
    plain, through = serving.both(lambda client, model: counts(client, model, True))
    assert through[-1] == plain[-1] == 6
    assert len(through) > 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", COMPLETED)
def test_a_completion_is_the_same(serving: Served, name: str, stream: bool) -> None:
    asked = {"temperature": 0, **COMPLETED[name], "stream": stream}
    plain, through = serving.both(lambda client, model: client.completions.create(model=model, **asked))
    if stream:
        assert merged(through) == merged(plain)
    else:
        assert same(through) == same(plain)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_the_same_field_by_field(serving: Served, name: str) -> None:
    asked = response_fields(RESPONSES[name])
    plain, through = serving.both(lambda client, model: client.responses.create(model=model, **asked))
    assert same(through) == same(plain)
    assert through.usage.output_tokens > 0


@pytest.mark.parametrize("name", RESPONSES)
def test_a_streamed_response_says_the_same(serving: Served, name: str) -> None:
    asked = response_fields(RESPONSES[name]) | {"stream": True}
    plain, through = serving.both(lambda client, model: list(client.responses.create(model=model, **asked)))
    assert merged_response(through) == merged_response(plain)
    assert through[-1].type in ("response.completed", "response.incomplete")


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_goes_on_from_the_one_before(serving: Served, stream: bool) -> None:
    requests_made = []

    def ask(client: openai.OpenAI, model: str) -> list[Any]:
        first = client.responses.create(model=model, input="Hello", max_output_tokens=6, temperature=0)
        then: Any = {"model": model, "input": "And?", "max_output_tokens": 6, "temperature": 0}
        raw = client.responses.with_raw_response.create(**then, previous_response_id=first.id, stream=stream)
        requests_made.append(raw.headers.get("x-request-id", ""))
        second = raw.parse()
        if not isinstance(second, openai.Stream):
            assert second.previous_response_id == first.id
            return [same(first), same(second)]
        return [same(first), merged_response(second)]

    plain, through = serving.both(ask)
    assert through == plain
    usage = through[1][-1]["response"]["usage"] if stream else through[1]["usage"]
    assert usage["input_tokens"] > through[0]["usage"]["input_tokens"], "it goes on from nothing"
    (line,) = serving.route.log_of(requests_made[-1])
    assert line["reason"] == "PreviousResponse"


REFUSED: dict[str, dict[str, Any]] = {
    "no messages": {"messages": []},
    "too many tokens": {"max_tokens": 50_000},
    "a number that is none": {"temperature": "hot"},
    "several greedy answers": {"n": 2},
    "a schema that is none": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 5}}},
    "a tool that is not there": {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "none"}}},
    "a prompt that is too long": {"messages": [{"role": "user", "content": "a" * 5000}]},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_the_engine_is_the_clients_own(serving: Served, name: str, stream: bool) -> None:
    asked = chat_fields(REFUSED[name]) | {"stream": stream}
    plain, through = serving.both(
        lambda client, model: refused(lambda: client.chat.completions.create(model=model, **asked))
    )
    assert through == plain


def test_a_response_that_nobody_has_made_is_not_found(serving: Served) -> None:
    plain, through = serving.both(
        lambda client, model: refused(
            lambda: client.responses.create(model=model, input="And?", previous_response_id="resp_none")
        )
    )
    assert through == plain
    assert through[0] == "NotFoundError"


def test_what_the_router_counts_is_what_the_engine_says(serving: Served) -> None:
    asked = chat_fields({"max_tokens": 17})
    chats, responses = serving.routed.chat.completions.with_raw_response, serving.routed.responses.with_raw_response
    whole = chats.create(model="mixed", **asked)
    stream = chats.create(model="mixed", stream=True, **asked)
    list(stream.parse())
    response = responses.create(model="mixed", input="Hello", max_output_tokens=17, temperature=0)
    used, used_by_response = whole.parse().usage, response.parse().usage
    assert used is not None
    assert used_by_response is not None
    said = [used.prompt_tokens] * 2 + [used_by_response.input_tokens]
    lines = serving.route.log_of(*(raw.headers["x-request-id"] for raw in (whole, stream, response)))
    charges = [charge for line in lines for charge in line["charges"]]
    prompt = ("inputTokens", "cachedInputTokens", "cacheWriteTokens")
    counted = [(sum(one[name] for name in prompt), one["outputTokens"], one["estimated"]) for one in charges]
    assert counted == [(tokens, 17, False) for tokens in said]


async def test_many_streams_of_the_asynchronous_client_at_once(serving: Served) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{serving.route.url}/v1", api_key="none", max_retries=0, timeout=ANSWER_SECONDS
    ) as client:

        async def one() -> dict[str, Any]:
            stream = await client.chat.completions.create(
                model="mixed", messages=USER, max_tokens=40, temperature=0, stream=True
            )
            return merged([chunk async for chunk in stream])

        answers = await asyncio.gather(*(one() for _ in range(16)))
    assert {answer["choices"][0]["content"] for answer in answers} == {cycle(40)}
    assert {answer["choices"][0]["end"][0] for answer in answers} == {("length", None)}


def _until_it_rests(serving: Served, since: float) -> float:
    """The tokens that it has made after it stopped working."""
    deadline = time.monotonic() + 5
    while serving.metric("vllm:num_requests_running"):
        assert time.monotonic() < deadline, "it works on for nobody"
        time.sleep(0.05)
    return serving.metric("vllm:generation_tokens_total") - since


def test_a_client_that_stops_reading_its_stream_frees_the_engine(serving: Served) -> None:
    made = serving.metric("vllm:generation_tokens_total")
    stream = serving.routed.chat.completions.create(model="mixed", stream=True, **LONG_CHAT)
    for _ in zip(range(5), stream, strict=False):
        pass
    assert serving.metric("vllm:num_requests_running") == 1
    stream.close()
    assert _until_it_rests(serving, made) < LONG


def test_a_client_that_gives_up_frees_the_engine(serving: Served) -> None:
    made = serving.metric("vllm:generation_tokens_total")
    client = serving.routed.with_options(timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="mixed", **LONG_CHAT)
    assert _until_it_rests(serving, made) < LONG
    with pytest.raises(openai.APITimeoutError):
        client.responses.create(model="mixed", input="a", max_output_tokens=LONG, extra_body={"ignore_eos": True})
    assert _until_it_rests(serving, made) < 2 * LONG


def fields(value: Any, path: str = "") -> set[str]:
    """The names of all fields, with where they are; what a client sent itself is left out."""
    if isinstance(value, dict):
        below = (fields(each, f"{path}.{name}") for name, each in value.items() if name not in ("tools", "text"))
        return {f"{path}.{name}" for name in value}.union(*below)
    return set().union(*(fields(each, f"{path}[]") for each in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("name", ["plain", "tools, one is required", "an object by a schema"])
def test_the_simulated_engine_has_the_shapes_of_the_real_one(serving: Served, name: str) -> None:
    chat, response = chat_fields(CHAT[name]), response_fields(RESPONSES[name])

    def ask(url: str, model: str) -> tuple[set[str], set[str], list[str]]:
        def post(path: str, body: dict[str, Any]) -> requests.Response:
            sent = {**body, **body.get("extra_body", {}), "model": model}
            sent.pop("extra_body", None)
            return requests.post(f"{url}/v1/{path}", json=sent, timeout=ANSWER_SECONDS)

        lines = post("responses", {**response, "stream": True}).text.splitlines()
        events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        kinds = list(dict.fromkeys(events))  # a real model may call a tool several times
        return fields(post("chat/completions", chat).json()), fields(post("responses", response).json()), kinds

    with vllm(VERSION="0.32.0", wait_seconds=120) as simulated:
        chat_of_it, response_of_it, events_of_it = ask(simulated.url, "chat")
    chat_of_real, response_of_real, events_of_real = ask(serving.url, "m")
    assert chat_of_it - chat_of_real == set()
    assert response_of_it - response_of_real == set()
    assert events_of_it == events_of_real


def test_the_body_is_the_engines_byte_for_byte(serving: Served) -> None:
    def said(url: str, model: str) -> tuple[int, str, bytes]:
        body = {"model": model, "messages": USER, "max_tokens": 9, "temperature": 0, "logprobs": True}
        answer = requests.post(f"{url}/v1/chat/completions", json=body, timeout=ANSWER_SECONDS)
        values = answer.json()
        told = answer.content.replace(values["id"].encode(), b"ID").replace(b"%d" % values["created"], b"TIME")
        return answer.status_code, answer.headers["content-type"], told

    assert said(serving.route.url, "mixed") == said(serving.url, "m")
