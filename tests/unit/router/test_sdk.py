"""Checks with the official client that asking through the router is asking the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm

# What differs between two askings of the same thing, whoever is asked.
ANEW = {"id", "created", "request_id"}


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Vllm, Vllm]]:
    with vllm("--enable-prompt-tokens-details") as small, vllm("--max-model-len=4096") as large:
        yield small, large


@pytest.fixture(scope="module")
def route(engines: tuple[Vllm, Vllm], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    small, large = engines
    tiers = [
        {"name": "small", "model": "chat", "servers": [small.url], "replicaHour": "2.49"},
        {"name": "large", "model": "chat", "servers": [large.url], "prices": {"input": "1", "output": "8"}},
    ]
    rules = [{"name": "tools", "match": {"tools": True}, "tier": "large"}]
    spec = {"modelNames": ["mixed"], "tiers": tiers, "policy": {"rules": rules}}
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


def same(value: Any) -> Any:
    """A value without what is new in every answer. `cached_tokens` too: the second asking finds the prompt cached."""
    if isinstance(value, dict):
        return {name: same(each) for name, each in value.items() if name not in ANEW | {"prompt_tokens_details"}}
    return [same(each) for each in value] if isinstance(value, list) else value


def merged(chunks: list[Any]) -> dict[str, Any]:
    """A stream without how it was cut: a fast engine puts several tokens into one event."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return {
        "role": [one.delta.role for one in choices if one.delta.role],
        "text": "".join(one.delta.content or "" for one in choices),
        "logprobs": [token.model_dump() for one in choices if one.logprobs for token in one.logprobs.content],
        "end": [one.finish_reason for one in choices if one.finish_reason],
        "usage": [same(chunk.usage.model_dump()) for chunk in chunks if chunk.usage],
        "models": {chunk.model for chunk in chunks},
        "without choices": [len(chunks) - place for place, chunk in enumerate(chunks) if not chunk.choices],
    }


CHAT: list[dict[str, Any]] = [
    {"max_tokens": 20},
    {"max_tokens": 8, "logprobs": True, "top_logprobs": 2},
    {"max_tokens": 8, "stop": ["."], "temperature": 0.3, "seed": 7, "user": "somebody"},
    {"max_tokens": 8, "extra_body": {"ignore_eos": True, "a_field_that_nobody_knows": {"model": "inner"}}},
]


@pytest.mark.parametrize("fields", CHAT)
def test_a_chat_is_the_same_field_by_field(
    direct: openai.OpenAI, routed: openai.OpenAI, fields: dict[str, Any]
) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "tell me"}], **fields}
    plain = direct.chat.completions.create(model="chat", **asked)
    through = routed.chat.completions.create(model="mixed", **asked)
    assert same(through.model_dump()) == same(plain.model_dump())
    assert through.usage is not None


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("fields", CHAT)
def test_a_streamed_chat_is_the_same_but_for_how_it_is_cut(
    direct: openai.OpenAI, routed: openai.OpenAI, fields: dict[str, Any], usage: bool
) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "tell me"}], "stream": True, **fields}
    if usage:
        asked["stream_options"] = {"include_usage": True}
    plain = list(direct.chat.completions.create(model="chat", **asked))
    through = list(routed.chat.completions.create(model="mixed", **asked))
    assert merged(through) == merged(plain)
    assert bool(through[-1].usage) is usage


def test_completions_are_the_same_streamed_or_not(direct: openai.OpenAI, routed: openai.OpenAI) -> None:
    plain = direct.completions.create(model="chat", prompt="one two", max_tokens=9)
    through = routed.completions.create(model="mixed", prompt="one two", max_tokens=9)
    assert same(through.model_dump()) == same(plain.model_dump())
    streamed = routed.completions.create(model="mixed", prompt="one two", max_tokens=9, stream=True)
    assert "".join(one.choices[0].text for one in streamed) == plain.choices[0].text


def test_an_error_of_the_engine_reaches_the_client_as_its_own(direct: openai.OpenAI, routed: openai.OpenAI) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "a"}], "n": 2}
    with pytest.raises(openai.BadRequestError) as plain:
        direct.chat.completions.create(model="chat", **asked)
    with pytest.raises(openai.BadRequestError) as through:
        routed.chat.completions.create(model="mixed", **asked)
    assert through.value.body == plain.value.body


def test_a_model_that_nobody_has_is_not_found(routed: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'gpt' does not exist on this route"):
        routed.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])


def test_models_are_the_routes_names_and_its_tiers(routed: openai.OpenAI) -> None:
    assert [model.id for model in routed.models.list()] == ["mixed", "small", "large"]
    assert routed.models.retrieve("large").id == "large"
    with pytest.raises(openai.NotFoundError):
        routed.models.retrieve("none")


def test_a_rule_and_a_tiers_own_name_choose_the_tier_and_the_answer_says_so(routed: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    messages: Any = [{"role": "user", "content": "a"}]
    create = routed.chat.completions.with_raw_response.create
    ruled = create(model="mixed", messages=messages, max_tokens=2, tools=[tool])
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


def test_a_client_that_gives_up_frees_the_engine(engines: tuple[Vllm, Vllm], route: RouterProcess) -> None:
    body = {"model": "mixed", "messages": [{"role": "user", "content": "a"}], "max_tokens": 30000, "ignore_eos": True}
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{route.url}/v1/chat/completions", json=body, timeout=0.5)
    running = 'vllm:num_requests_running{model_name="chat",engine="0"}'
    for _ in range(40):
        if engines[0].metric(running) == 0:
            break
        time.sleep(0.05)
    assert engines[0].metric(running) == 0


def test_the_router_says_who_it_is_to_probes(route: RouterProcess) -> None:
    for path in ("/healthz", "/readyz"):
        assert requests.get(route.url + path, timeout=5).status_code == 200
        assert requests.get(route.metrics_url + path, timeout=5).status_code == 200
