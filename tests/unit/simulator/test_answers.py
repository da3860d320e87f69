"""Checks that the pieces of a streamed answer say what the whole answer says, for every kind of answer."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim import openai_api as api
from tierwise_sim.chat_answer import Answer, ChatAnswer
from tierwise_sim.embeddings_api import answer, prompts
from tierwise_sim.responses_api import ResponseAnswer, as_chat
from tierwise_sim.settings import EngineSettings

ANSWERING = api.Answering(EngineSettings(max_model_len=400), ("chat",), mean_output_tokens=20, seed=0)
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Bonn"]}}}}
TOOLS = [{"type": "function", "function": TOOL}]
USED = api.usage(3, 4, None)
CUTS = st.lists(st.integers(1, 6))
BODIES: list[dict[str, Any]] = [
    {},
    {"tools": TOOLS, "tool_choice": "required"},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
]


def streamed(made: Answer, call: api.Call, cuts: list[int]) -> Iterator[dict[str, Any]]:
    yield from made.opening()
    place = 0
    for size in [*cuts, len(call.answer)]:
        end = min(place + size, len(call.answer))
        if end > place:
            yield from made.piece(call, place, end, call.finish if end == len(call.answer) else None)
        place = end
    yield from made.closing(call, USED)


def said(message: dict[str, Any]) -> tuple[str, str]:
    calls = message.get("tool_calls") or [{}]
    return message.get("content") or "", (calls[0].get("function") or {}).get("arguments") or ""


@given(st.sampled_from(BODIES), CUTS, st.integers(0, 9))
def test_the_pieces_of_a_chat_are_the_whole(body: dict[str, Any], cuts: list[int], number: int) -> None:
    messages = [{"role": "user", "content": f"hello {number}"}]
    call = api.parse_call({"messages": messages, **body}, True, ANSWERING)
    made = ChatAnswer("chatcmpl-1", 7, "chat", True, "call-1")
    (whole,) = made.whole(call, call.finish, USED)["choices"]
    chunks = [chunk["choices"][0] for chunk in streamed(made, call, cuts)]
    parts = [said(chunk["delta"]) for chunk in chunks]
    assert ("".join(text for text, _ in parts), "".join(called for _, called in parts)) == said(whole["message"])
    assert [chunk["finish_reason"] for chunk in chunks if chunk["finish_reason"]] == [whole["finish_reason"]]


@given(st.sampled_from(BODIES[:2]), CUTS, st.sampled_from([None, 3]))
def test_the_events_of_a_response_build_the_response(body: dict[str, Any], cuts: list[int], limit: int | None) -> None:
    asked: dict[str, Any] = {"input": "hello", "max_output_tokens": limit}
    if body:
        asked |= {"tools": [{"type": "function", **TOOL}], "tool_choice": "required"}
    call = api.parse_call(as_chat(asked, {}), True, ANSWERING)
    events = list(streamed(ResponseAnswer("resp_1", 7, "chat", asked, 9, "item_1"), call, cuts))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]["response"]
    assert last == ResponseAnswer("resp_1", 7, "chat", asked, 9, "item_1").whole(call, call.finish, USED)
    assert events[-1]["type"] == f"response.{last['status']}"
    assert last["status"] == ("incomplete" if call.finish == "length" else "completed")
    (item,) = last["output"]
    deltas = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
    assert deltas == (item["arguments"] if body else item["content"][0]["text"])
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == [item]


def test_a_response_goes_on_with_what_was_said_before() -> None:
    before = {"resp_1": [{"role": "system", "content": "old"}, {"role": "user", "content": "a"}]}
    asked = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "b"}]}], "instructions": "new"}
    messages = as_chat({**asked, "previous_response_id": "resp_1"}, before)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "user"]
    assert messages[0]["content"] == "new"
    with pytest.raises(api.ApiError, match="Response with id 'resp_2' not found"):
        as_chat({"input": "b", "previous_response_id": "resp_2"}, before)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "body.input"),
        ({"input": ["a"]}, "body.input"),
        ({"input": "a", "background": True}, "background responses are not simulated"),
        ({"input": [{"type": "reasoning"}]}, "items of type 'reasoning'"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools of type 'web_search'"),
    ],
)
def test_what_is_not_simulated_of_responses_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(api.ApiError, match=words):
        as_chat(body, {})


def test_a_vector_has_length_one_and_depends_on_its_text_alone() -> None:
    body = {"input": ["a b", "a b", "c"]}
    found = answer(body, prompts(body, ANSWERING), ANSWERING, {"id": "embd-1", "created": 7})
    first, again, other = (one["embedding"] for one in found["data"])
    assert first == again != other
    assert math.isclose(sum(number * number for number in first), 1, rel_tol=1e-5)
    assert found["usage"]["prompt_tokens"] == 8
    coded = answer({**body, "encoding_format": "base64"}, prompts(body, ANSWERING), ANSWERING, {})["data"][2]
    assert list(struct.unpack("<64f", base64.b64decode(coded["embedding"]))) == other


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "body.input"),
        ({"input": [""]}, "none empty"),
        ({"input": "a", "dimensions": 3}, "matryoshka"),
        ({"input": "a", "encoding_format": "bytes"}, "not simulated"),
        ({"input": "a", "model": "other"}, "does not exist"),
        ({"input": "a " * 500}, "maximum context length is 400 tokens"),
    ],
)
def test_what_cannot_be_embedded_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(api.ApiError, match=words):
        prompts(body, ANSWERING)
