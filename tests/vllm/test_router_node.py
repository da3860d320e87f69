"""Checks with the official Node client that asking the real engine through the router is asking the engine.

The questions and the comparison are those of the Python client (test_router.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.client import Client, asked_of_both
from tests.same_answers import CHAT, COMPLETIONS, RESPONSES, chat_fields, merged, merged_response, response_fields, same
from tests.vllm.routed import Served, served
from tests.vllm.test_router import CALLS, GENERATES, LONG, LONG_CHAT, REFUSED

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def serving(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(models / "plain", tmp_path_factory.mktemp("node"), *GENERATES) as found:
        yield found


@pytest.fixture(scope="module")
def direct(serving: Served) -> Iterator[Client]:
    client = Client(serving.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def routed(serving: Served) -> Iterator[Client]:
    client = Client(serving.route.url)
    yield client
    client.close()


def both(direct: Client, routed: Client, method: str, body: dict[str, Any]) -> tuple[Any, Any]:
    """What the engine says, and what the router says; what is cached now is cached for both."""
    direct.ask(method, {**body, "model": "m"})
    return asked_of_both((direct, "m"), (routed, "mixed"), method, body)


@pytest.mark.parametrize("name", CHAT)
def test_a_chat_is_the_same_field_by_field(direct: Client, routed: Client, name: str) -> None:
    plain, through = both(direct, routed, "chat", chat_fields(CHAT[name]))
    assert same(through) == same(plain)
    assert through["answer"]["usage"]["completion_tokens"] > 0
    if name in CALLS:
        assert through["answer"]["choices"][0]["message"]["tool_calls"]


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
    # vLLM says it in the last chunk, or in that of usage: the router asks for the latter, and takes it out again.
    assert plain["answer"].pop("system_fingerprint").startswith("vllm-0.32")
    assert same(through) == same(plain)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_completion_is_the_same(direct: Client, routed: Client, name: str, stream: bool) -> None:
    plain, through = both(direct, routed, "completions", {"temperature": 0, **COMPLETIONS[name], "stream": stream})
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
    assert through["chunks"][-1]["type"] in ("response.completed", "response.incomplete")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_the_engine_is_the_clients_own(direct: Client, routed: Client, name: str, stream: bool) -> None:
    asked = chat_fields(REFUSED[name]) | {"stream": stream}
    plain = direct.ask("chat", {**asked, "model": "m"})
    assert routed.ask("chat", {**asked, "model": "mixed"}) == plain
    assert plain["error"] == "BadRequestError"


@pytest.mark.parametrize("how", [{"stopAfterChunks": 3}, {"abortAfterMs": 500}])
def test_an_abort_frees_the_engine(serving: Served, routed: Client, how: dict[str, Any]) -> None:
    made = serving.metric("vllm:generation_tokens_total")
    found = routed.ask("chat", {**LONG_CHAT, "model": "mixed", "stream": "stopAfterChunks" in how}, **how)
    assert len(found["chunks"]) >= 3 if "chunks" in found else found["error"] == "APIUserAbortError", found
    deadline = time.monotonic() + 5
    while serving.metric("vllm:num_requests_running"):
        assert time.monotonic() < deadline, "it works on for nobody"
        time.sleep(0.05)
    assert serving.metric("vllm:generation_tokens_total") - made < LONG
