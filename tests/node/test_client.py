"""Checks with the official Node client that asking through the router is asking the engine.

The questions and the comparison are those of the Python client; one process of Node asks the engine, one the router.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.node.client import Client, asked_of_both
from tests.node.environment import HERE
from tests.same_answers import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    USER,
    chat_fields,
    merged,
    merged_response,
    response_fields,
    same,
)
from tests.unit.router.router_process import COMES_SECONDS, RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm

RUNNING = 'vllm:num_requests_running{model_name="chat",engine="0"}'
TO_THE_END = 'vllm:request_success_total{model_name="chat",engine="0",finished_reason="length"}'
LONG: dict[str, Any] = {"messages": USER, "max_tokens": 30_000, "ignore_eos": True}


@pytest.fixture(scope="module")
def engine() -> Iterator[Vllm]:
    with vllm(VLLM_ENABLE_RESPONSES_API_STORE="1") as started:
        yield started


@pytest.fixture(scope="module")
def embedding() -> Iterator[Vllm]:
    with vllm("--runner=pooling") as started:
        yield started


@pytest.fixture(scope="module")
def route(engine: Vllm, embedding: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    tiers = [
        {"name": "chat", "model": "chat", "servers": [engine.url]},
        {"name": "vectors", "model": "chat", "servers": [embedding.url], "use": "Overflow"},
    ]
    spec = {"modelNames": ["mixed"], "tiers": tiers}
    with router(spec, tmp_path_factory.mktemp("node")) as started:
        yield started


@pytest.fixture(scope="module")
def direct(engine: Vllm) -> Iterator[Client]:
    client = Client(engine.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def routed(route: RouterProcess) -> Iterator[Client]:
    client = Client(route.url)
    yield client
    client.close()


def both(direct: Client, routed: Client, method: str, body: dict[str, Any], **how: Any) -> tuple[Any, Any]:
    """What the engine says, and what the router says; no error."""
    return asked_of_both((direct, "chat"), (routed, "mixed"), method, body, **how)


def test_the_lock_names_a_hash_for_every_package_and_no_registry() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert all(each.get("integrity", "").startswith("sha512-") for name, each in packages.items() if name)
    assert not any("resolved" in each for each in packages.values())


@pytest.mark.parametrize("name", CHAT)
def test_a_chat_is_the_same(direct: Client, routed: Client, name: str) -> None:
    plain, through = both(direct, routed, "chat", chat_fields(CHAT[name]))
    assert same(through) == same(plain)
    assert through["answer"]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("name", CHAT)
def test_a_streamed_chat_says_the_same(direct: Client, routed: Client, name: str, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    plain, through = both(direct, routed, "chat", {**chat_fields(CHAT[name]), "stream": True, **options})
    assert merged(through["chunks"]) == merged(plain["chunks"])
    assert bool(through["chunks"][-1].get("usage")) is usage


@pytest.mark.parametrize("name", ["tools, one is required", "an object by a schema", "plain"])
def test_what_the_client_puts_together_of_a_stream_is_the_same(direct: Client, routed: Client, name: str) -> None:
    plain, through = both(direct, routed, "chat helper", chat_fields(CHAT[name]))
    assert same(through) == same(plain)
    if name == "tools, one is required":
        assert through["answer"]["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_completion_is_the_same(direct: Client, routed: Client, name: str, stream: bool) -> None:
    plain, through = both(direct, routed, "completions", {**COMPLETIONS[name], "stream": stream})
    if stream:
        assert merged(through["chunks"]) == merged(plain["chunks"])
    else:
        assert same(through) == same(plain)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_the_same(direct: Client, routed: Client, name: str) -> None:
    asked = response_fields(RESPONSES[name])
    plain, through = both(direct, routed, "responses", asked)
    assert same(through) == same(plain)
    plain, through = both(direct, routed, "responses", {**asked, "stream": True})
    assert merged_response(through["chunks"]) == merged_response(plain["chunks"])
    plain, through = both(direct, routed, "responses helper", asked)
    assert same(through) == same(plain)
    assert through["answer"]["output"]


def test_a_response_goes_on_from_the_one_before(routed: Client) -> None:
    first = routed.ask("responses", {"model": "mixed", "input": "Hello", "max_output_tokens": 6})["answer"]
    then = {"model": "mixed", "input": "And?", "max_output_tokens": 6, "previous_response_id": first["id"]}
    second = routed.ask("responses", then)["answer"]
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] + 6


@pytest.fixture(scope="module")
def embedder(embedding: Vllm) -> Iterator[Client]:
    client = Client(embedding.url)
    yield client
    client.close()


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_the_same(embedder: Client, routed: Client, name: str) -> None:
    plain = embedder.ask("embeddings", {**EMBEDDINGS[name], "model": "chat"})
    through = routed.ask("embeddings", {**EMBEDDINGS[name], "model": "vectors"})
    assert same(through) == same(plain)
    assert {len(one["embedding"]) for one in through["answer"]["data"]} == {64}


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_the_clients_own(direct: Client, routed: Client, stream: bool) -> None:
    asked = {**chat_fields({"n": 2}), "stream": stream}
    plain = direct.ask("chat", {**asked, "model": "chat"})
    assert routed.ask("chat", {**asked, "model": "mixed"}) == plain
    assert (plain["error"], plain["status"]) == ("BadRequestError", 400)


def test_an_error_of_the_router_is_the_clients_own(routed: Client) -> None:
    found = routed.ask("chat", chat_fields({"model": "gpt"}))
    assert (found["error"], found["status"]) == ("NotFoundError", 404)
    assert found["said"]["code"] == "model_not_found"


def test_models_are_listed(routed: Client) -> None:
    found = routed.ask("models")["answer"]
    assert [model["id"] for model in found["data"]] == ["mixed", "chat", "vectors"]


@pytest.mark.parametrize("how", [{"stream": True, "stopAfterChunks": 3}, {"abortAfterMs": 500}])
def test_an_abort_frees_the_engine(engine: Vllm, routed: Client, how: dict[str, Any]) -> None:
    before = engine.metric(TO_THE_END)
    body = {**LONG, "model": "mixed", "stream": bool(how.get("stream"))}
    found = routed.ask("chat", body, **{name: value for name, value in how.items() if name != "stream"})
    assert len(found["chunks"]) >= 3 if "chunks" in found else found["error"] == "APIUserAbortError", found
    deadline = time.monotonic() + COMES_SECONDS
    while engine.metric(RUNNING):
        assert time.monotonic() < deadline, "it works on for nobody"
        time.sleep(0.05)
    assert engine.metric(TO_THE_END) == before, "it has worked for nobody to the end"
