"""What single events say, and answers in one piece: content, errors, ends and usage of servers as they really are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import fuzz
from tests.unit.router.processor_time import processor_seconds
from tierwise.routing.cost import Usage
from tierwise_router.answer import StreamReader, output_tokens, read_whole


def _after(*values: Any) -> StreamReader:
    reader = StreamReader(drop_usage=True)
    for one in values:
        reader.feed(b"data: " + (one if isinstance(one, bytes) else orjson.dumps(one)) + b"\n\n")
    return reader


def _delta(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"refusal": "no"},
        {"tool_calls": [{"function": {"name": "f"}}]},
        {"role": "assistant", "content": "x"},
    ],
)
def test_whatever_a_person_or_a_program_reads_commits(delta: dict[str, Any]) -> None:
    assert _after(_delta(**delta)).committed


@pytest.mark.parametrize(
    "values",
    [
        _delta(role="assistant"),
        _delta(role="assistant", content="", refusal=None, tool_calls=[]),
        {"choices": []},
        {"choices": [], "prompt_filter_results": [{}]},
        {"choices": [{"index": 0, "text": ""}]},
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added"},
        {"type": "response.content_part.added"},
    ],
)
def test_a_role_an_empty_delta_and_a_frame_do_not_commit(values: dict[str, Any]) -> None:
    reader = _after(values)
    assert not reader.committed
    assert reader.output_events == 0


@pytest.mark.parametrize("data", [b"not json", b"[1]", b'"x"', b"1", b'{"choices":"x"}', b'{"choices":[1]}', b"{}"])
def test_what_nobody_knows_is_content_and_passed_on(data: bytes) -> None:
    assert _after(data).committed


@pytest.mark.parametrize(
    "values",
    [
        {"error": {"message": "x"}},
        {"error": "x"},
        {"type": "error", "code": "server_error", "message": "x"},
        {"type": "error", "error": {"message": "x"}},
        {"error": {"code": 502}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]},
    ],
)
def test_an_error_is_an_error_in_every_dialect(values: dict[str, Any]) -> None:
    reader = _after(values, b"[DONE]")
    assert reader.error
    assert not reader.well_ended


def test_a_response_ends_with_its_own_event_and_says_its_usage() -> None:
    response = {"id": "r1", "usage": {"input_tokens": 5, "output_tokens": 3}}
    reader = _after(
        {"type": "response.created", "response": {"id": "r1"}},
        {"type": "response.output_text.delta", "delta": "x"},
        {"type": "response.output_text.done", "text": "x"},
        {"type": "response.completed", "response": response},
    )
    assert (reader.response_id, reader.usage, reader.well_ended) == ("r1", Usage(input=5, output=3), True)
    assert reader.output_events == 1


def test_a_response_that_failed_has_ended_badly() -> None:
    reader = _after({"type": "response.failed", "response": {"error": {"code": "server_error"}}})
    assert (reader.error, reader.well_ended) == ({"code": "server_error"}, False)


def test_every_choice_that_has_begun_must_have_ended() -> None:
    def choice(index: int, **more: Any) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": "x"}, **more}]}

    assert not _after(choice(0), choice(1), choice(0, finish_reason="stop")).finished
    assert _after(choice(0), choice(1), choice(1, finish_reason="stop"), choice(0, finish_reason="length")).finished
    assert _after(choice(0), choice(1), choice(0, finish_reason="stop"), b"[DONE]").well_ended
    assert not _after().well_ended


def test_only_comments_tell_nothing() -> None:
    reader = StreamReader(drop_usage=False)
    assert reader.feed(b": OPENROUTER PROCESSING\n\n") == b": OPENROUTER PROCESSING\n\n"
    assert (reader.told_events, reader.committed) == (0, False)
    reader.feed(b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n')
    assert reader.told_events == 1


KINDS = ["", "stop", "error", "response.x", "response.failed", "x"]
KEYS = [
    *("choices", "delta", "index", "finish_reason", "usage", "error", "type", "response", "id", "prompt_tokens"),
    *("prompt_tokens_details", "cached_tokens", "message", "content", "service_tier"),
]
LEAVES = [st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.sampled_from(KINDS)]
JSON = st.recursive(
    st.one_of(LEAVES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=12,
)


@fuzz(60)
@given(JSON, st.binary(max_size=20))
def test_whatever_an_event_holds_it_is_read_without_a_fault(values: Any, junk: bytes) -> None:
    reader = _after(values, junk)
    assert reader.told_events <= 2 + junk.count(b"\n") + junk.count(b"\r")
    usage, read = read_whole(orjson.dumps(values))
    assert usage is None or usage.prompt >= 0
    assert output_tokens(read) >= 0
    assert read_whole(junk)[0] is None


def test_an_answer_without_usage_is_guessed_by_its_texts() -> None:
    message = {"role": "assistant", "content": "12345678", "tool_calls": None}
    assert output_tokens({"choices": [{"message": message}]}) == 5
    assert output_tokens({"choices": [{"text": "1234"}, {"text": "5"}]}) == 2
    assert output_tokens({"data": [{"embedding": [0.1]}]}) == 0


VECTORS = [
    b'"embedding":[' + b"-0.012345678901234567," * 1024 + b"0.1]",
    b'"embedding" :\n [\n' + b"  -0.012345678901234567,\n" * 1024 + b"  1e-9\n]",
]


@pytest.mark.parametrize("vector", VECTORS)
def test_many_vectors_keep_nobody_waiting(vector: bytes) -> None:
    one = b'{"object":"embedding","index":0,' + vector + b"}"
    body = b'{"object":"list","data":[' + b",".join([one] * 2048) + b'],"usage":{"prompt_tokens":7,"total_tokens":7}}'
    usage, values = read_whole(body)
    # 5 to 50 ms, where reading every number takes 800.
    took = processor_seconds(lambda: read_whole(body))
    assert took < processor_seconds(lambda: orjson.loads(body), rounds=1) / 3
    assert usage == Usage(7)
    assert len(values["data"]) == 2048


@pytest.mark.parametrize(
    "other",
    [
        b'"embedding":[[0.5,0.25],[1]]',
        b'"embedding":["a]b",1]',
        b'"embedding":"AAAA"',
        b'"embedding":{"values":[1]}',
        b'"text":"say \\"embedding\\":[1,2]"',
        b'"embedding":[]',
        b'"embedding"',
        b'"embedding":[1,2',
    ],
)
def test_what_is_no_vector_of_numbers_is_read_as_it_is(other: bytes) -> None:
    body = (
        b'{"data":[{' + other + b'},{"object":"embedding"}],"usage":{"prompt_tokens":7},"x":"' + b"y" * 70_000 + b'"}'
    )
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        assert read_whole(body) == (None, {})
    else:
        assert read_whole(body) == (Usage(7), values)
