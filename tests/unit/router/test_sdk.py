"""Checks with the official client that asking through the router is asking the engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pydantic
import pytest
import requests
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from tests.same_answers import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    SCHEMA,
    TOOLS,
    USER,
    chat_fields,
    merged,
    merged_response,
    refused,
    response_fields,
    same,
)
from tests.unit.router.router_process import COMES_SECONDS, RouterProcess, router
from tests.unit.simulator.processes import Vllm, free_port, vllm


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Vllm, Vllm]]:
    with (
        vllm("--enable-prompt-tokens-details", VLLM_ENABLE_RESPONSES_API_STORE="1") as small,
        vllm("--max-model-len=4096") as large,
    ):
        yield small, large


@pytest.fixture(scope="module")
def embedding() -> Iterator[Vllm]:
    with vllm("--runner=pooling") as started:
        yield started


@pytest.fixture(scope="module")
def route(
    engines: tuple[Vllm, Vllm], embedding: Vllm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RouterProcess]:
    small, large = engines
    tiers = [
        {"name": "small", "model": "chat", "servers": [small.url], "replicaHour": "2.49"},
        {"name": "large", "model": "chat", "servers": [large.url], "prices": {"input": "1", "output": "8"}},
        {"name": "vectors", "model": "chat", "servers": [embedding.url], "use": "Overflow"},
    ]
    rules = [{"name": "header", "match": {"header": {"name": "x-size", "value": "large"}}, "tier": "large"}]
    spec = {"modelNames": ["mixed", "org/mixed:1"], "tiers": tiers, "policy": {"rules": rules}}
    with router(spec, tmp_path_factory.mktemp("route")) as started:
        yield started


@pytest.fixture
def direct(engines: tuple[Vllm, Vllm]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engines[0].url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def routed(route: RouterProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{route.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def told(value: Any) -> Any:
    """What an answer says, but for `prompt_tokens_details`: the second asking finds the prompt cached."""
    if isinstance(value, dict):
        return {name: told(each) for name, each in value.items() if name != "prompt_tokens_details"}
    return [told(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CHAT)
def test_a_chat_is_the_same_field_by_field(direct: openai.OpenAI, routed: openai.OpenAI, name: str) -> None:
    asked = chat_fields(CHAT[name])
    plain = direct.chat.completions.create(model="chat", **asked)
    through = routed.chat.completions.create(model="mixed", **asked)
    assert told(same(through)) == told(same(plain))
    assert through.usage is not None
    assert through.usage.completion_tokens > 0


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("name", CHAT)
def test_a_streamed_chat_is_the_same_but_for_how_it_is_cut(
    direct: openai.OpenAI, routed: openai.OpenAI, name: str, usage: bool
) -> None:
    asked = chat_fields(CHAT[name]) | {"stream": True}
    if usage:
        asked["stream_options"] = {"include_usage": True}
    plain = list(direct.chat.completions.create(model="chat", **asked))
    through = list(routed.chat.completions.create(model="mixed", **asked))
    assert told(merged(through)) == told(merged(plain))
    assert bool(through[-1].usage) is usage


def test_a_tool_is_called_and_an_object_follows_its_schema(routed: openai.OpenAI) -> None:
    called = routed.chat.completions.create(model="mixed", **chat_fields(CHAT["tools, one is required"])).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls is not None
    (call,) = called.message.tool_calls
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    by_schema = routed.chat.completions.create(model="mixed", **chat_fields(CHAT["an object by a schema"])).choices[0]
    for text in (call.function.arguments, by_schema.message.content or ""):
        value = json.loads(text)
        assert (set(value), value["city"] in ("Bonn", "Oslo")) == (set(SCHEMA["properties"]), True)


class Weather(pydantic.BaseModel):
    """What the client makes a schema of, and reads the answer as."""

    city: Literal["Bonn", "Oslo"]
    days: list[int]
    inner: Wind | None


class Wind(pydantic.BaseModel):
    """A part of it, which its schema refers to."""

    speed: float


def test_the_client_parses_what_a_class_asks_for(direct: openai.OpenAI, routed: openai.OpenAI) -> None:
    asked: Any = {"messages": USER, "response_format": Weather}
    plain = direct.chat.completions.parse(model="chat", **asked).choices[0].message.parsed
    through = routed.chat.completions.parse(model="mixed", **asked).choices[0].message.parsed
    assert isinstance(through, Weather)
    assert through == plain
    with routed.chat.completions.stream(model="mixed", **asked) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == plain
    response = routed.responses.parse(model="mixed", input="What do you say?", text_format=Weather)
    assert isinstance(response.output_parsed, Weather)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_completion_is_the_same(direct: openai.OpenAI, routed: openai.OpenAI, name: str, stream: bool) -> None:
    asked: Any = {**COMPLETIONS[name], "stream": stream}
    plain: Any = direct.completions.create(model="chat", **asked)
    through: Any = routed.completions.create(model="mixed", **asked)
    said = merged if stream else same
    assert told(said(through)) == told(said(plain))


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_the_same_field_by_field(direct: openai.OpenAI, routed: openai.OpenAI, name: str) -> None:
    asked = response_fields(RESPONSES[name])
    plain = direct.responses.create(model="chat", **asked)
    through = routed.responses.create(model="mixed", **asked)
    assert warm(same(through)) == warm(same(plain))
    assert through.usage is not None
    assert through.usage.output_tokens > 0


@pytest.mark.parametrize("name", RESPONSES)
def test_a_streamed_response_says_the_same(direct: openai.OpenAI, routed: openai.OpenAI, name: str) -> None:
    asked = response_fields(RESPONSES[name]) | {"stream": True}
    plain = merged_response(direct.responses.create(model="chat", **asked))
    through = merged_response(routed.responses.create(model="mixed", **asked))
    assert warm(through) == warm(plain)
    assert through[-1]["type"] in ("response.completed", "response.incomplete")


def test_a_response_goes_on_from_the_one_before(direct: openai.OpenAI, routed: openai.OpenAI) -> None:
    def ask(client: openai.OpenAI, model: str) -> list[Any]:
        first = client.responses.create(model=model, input="Hello", max_output_tokens=6)
        second = client.responses.create(model=model, input="And?", max_output_tokens=6, previous_response_id=first.id)
        assert second.previous_response_id == first.id
        assert second.usage is not None
        assert first.usage is not None
        assert second.usage.input_tokens > first.usage.input_tokens + 6
        return [same(first), same(second)]

    assert warm(ask(routed, "mixed")) == warm(ask(direct, "chat"))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_the_same_to_the_last_bit(embedding: Vllm, routed: openai.OpenAI, name: str) -> None:
    with openai.OpenAI(base_url=f"{embedding.url}/v1", api_key="none", max_retries=0) as direct:
        plain = direct.embeddings.create(model="chat", **EMBEDDINGS[name])
    through = routed.embeddings.create(model="vectors", **EMBEDDINGS[name])
    assert same(through) == same(plain)
    assert through.usage.prompt_tokens > 0
    assert {len(one.embedding) for one in through.data} == {64}


def warm(value: Any) -> Any:
    """The same of a response: how many tokens were cached depends on who asked first."""
    if isinstance(value, dict):
        return {name: warm(each) for name, each in value.items() if name != "input_tokens_details"}
    return [warm(each) for each in value] if isinstance(value, list) else value


REFUSED: dict[str, dict[str, Any]] = {
    "several answers": {"n": 2},
    "no messages": {"messages": []},
    "too many tokens": {"max_tokens": 500_000},
    "a tool that is not there": {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "none"}}},
    "no tools": {"tools": []},
    "a schema that is none": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 5}}},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_the_engine_reaches_the_client_as_its_own(
    direct: openai.OpenAI, routed: openai.OpenAI, name: str, stream: bool
) -> None:
    asked = chat_fields(REFUSED[name]) | {"stream": stream}
    plain = refused(lambda: direct.chat.completions.create(model="chat", **asked))
    assert refused(lambda: routed.chat.completions.create(model="mixed", **asked)) == plain
    assert plain[:2] == ("BadRequestError", 400)


def test_a_response_that_nobody_has_made_is_not_found(direct: openai.OpenAI, routed: openai.OpenAI) -> None:
    asked: Any = {"input": "And?", "previous_response_id": "resp_none"}
    plain = refused(lambda: direct.responses.create(model="chat", **asked))
    assert refused(lambda: routed.responses.create(model="mixed", **asked)) == plain
    assert plain[0] == "NotFoundError"


def test_a_model_that_nobody_has_is_not_found(routed: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'gpt' does not exist on this route"):
        routed.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])


def test_models_are_the_routes_names_and_its_tiers(routed: openai.OpenAI) -> None:
    assert [model.id for model in routed.models.list()] == ["mixed", "org/mixed:1", "small", "large", "vectors"]
    assert routed.models.retrieve("large").id == "large"
    assert routed.models.retrieve("org/mixed:1").id == "org/mixed:1"  # the client writes / as %2F
    with pytest.raises(openai.NotFoundError):
        routed.models.retrieve("none")


def test_a_rule_and_a_tiers_own_name_choose_the_tier_and_the_answer_says_so(routed: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "a"}]
    create = routed.chat.completions.with_raw_response.create
    ruled = create(model="mixed", messages=messages, max_tokens=2, extra_headers={"X-Size": "large"})
    named = create(model="large", messages=messages, max_tokens=2)
    plain = create(model="mixed", messages=messages, max_tokens=2)
    said = [(one.headers["x-tierwise-tier"], one.headers["x-tierwise-reason"]) for one in (ruled, named, plain)]
    assert said == [("large", "Rule"), ("large", "Direct"), ("small", "Default")]
    assert plain.headers["x-tierwise-request-id"] == plain.headers["x-request-id"]


async def test_the_asynchronous_client_runs_many_streams_at_once(route: RouterProcess) -> None:
    async with openai.AsyncOpenAI(base_url=f"{route.url}/v1", api_key="none", max_retries=0) as client:

        async def one(number: int) -> tuple[str, str | None]:
            words, end = [], None
            stream = await client.chat.completions.create(
                model="mixed", messages=[{"role": "user", "content": f"tell {number}"}], max_tokens=16, stream=True
            )
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content or "")
                end = chunk.choices[0].finish_reason
            return "".join(words), end

        answers = await asyncio.gather(*(one(number) for number in range(40)))
    assert all(text and end in ("stop", "length") for text, end in answers)


def test_a_client_that_gives_up_frees_the_engine(engines: tuple[Vllm, Vllm], routed: openai.OpenAI) -> None:
    asked: Any = {"messages": USER, "max_tokens": 30_000, "extra_body": {"ignore_eos": True}}
    to_the_end = 'vllm:request_success_total{model_name="chat",engine="0",finished_reason="length"}'
    before = engines[0].metric(to_the_end)
    with pytest.raises(openai.APITimeoutError):
        routed.with_options(timeout=0.5).chat.completions.create(model="mixed", **asked)
    deadline = time.monotonic() + COMES_SECONDS
    while engines[0].metric('vllm:num_requests_running{model_name="chat",engine="0"}'):
        assert time.monotonic() < deadline, "it works on for nobody"
        time.sleep(0.05)
    assert engines[0].metric(to_the_end) == before, "it has worked for nobody to the end"


def test_the_router_says_who_it_is_to_probes(route: RouterProcess) -> None:
    for path in ("/healthz", "/readyz"):
        assert requests.get(route.url + path, timeout=5).status_code == 200
        assert requests.get(route.metrics_url + path, timeout=5).status_code == 200


def test_the_client_asks_again_after_a_failure_and_not_when_the_budget_is_spent(
    engines: tuple[Vllm, Vllm], tmp_path: Path
) -> None:
    prices = {"input": "1000", "output": "1000"}
    tiers = [
        {"name": "dear", "model": "chat", "servers": [engines[0].url], "prices": prices},
        {"name": "away", "model": "chat", "servers": [f"http://127.0.0.1:{free_port()}"]},
    ]
    spec = {"modelNames": ["mixed"], "tiers": tiers, "budget": {"amount": "0.000001", "period": "Day"}}
    asked: Any = {"messages": USER, "max_tokens": 2}
    with (
        router(spec, tmp_path) as route,
        openai.OpenAI(base_url=f"{route.url}/v1", api_key="none", max_retries=1) as client,
    ):
        with pytest.raises(openai.RateLimitError) as spent:
            client.chat.completions.create(model="dear", **asked)
        with pytest.raises(openai.InternalServerError) as away:
            client.chat.completions.create(model="away", **asked)
        route.log_of(spent.value.response.headers["x-request-id"], away.value.response.headers["x-request-id"])
        assert [line["tier"] for line in route.log()] == ["dear", "away", "away"]
    assert (spent.value.code, spent.value.response.headers["x-should-retry"]) == ("budget_spent", "false")
    assert away.value.code == "upstream_connect"
