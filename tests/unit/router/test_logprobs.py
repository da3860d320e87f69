"""Checks that log-probabilities are asked for, read and taken out again, and that not one other byte changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import cut, fuzz
from tests.unit.router.logprob_texts import chat_event, completion_event, entry, event
from tests.unit.router.scripted_upstream import DONE, ROLE, USAGE
from tierwise.routing.cascade import Token
from tierwise_router import sse
from tierwise_router.logprobs import CHAT, COMPLETIONS, Asking, LogprobReader, asking
from tierwise_router.request_body import read

STRIPPED = {True: Asking(chat=True, strip=True), False: Asking(chat=False, strip=True)}


def streamed(data: bytes, asked: Asking, places: Sequence[int] = ()) -> tuple[bytes, LogprobReader]:
    reader = LogprobReader(asked)
    out = b"".join(reader.feed(piece) for piece in cut(data, places))
    return out + reader.end(), reader


# --- asking ---------------------------------------------------------------------------------------------------------


def upstream(body: bytes, path: str = CHAT, force_usage: bool = False) -> Any:
    given = read(body)
    asked = asking(path, body, given.values)
    assert asked is not None
    return orjson.loads(given.upstream("m", force_usage, None, asked)), asked


@pytest.mark.parametrize("spaces", [b"", b" ", b"\n\t"])
@pytest.mark.parametrize(
    "said", [b"", b',"logprobs":false', b',"logprobs":null', b',"top_logprobs":0,"logprobs":false']
)
def test_a_chat_is_asked_for_them_whatever_it_says_of_not_wanting_them(spaces: bytes, said: bytes) -> None:
    body = b"{" + spaces + b'"model":"m"' + said + b',"stream":true}'
    for force in (False, True):
        values, asked = upstream(body, force_usage=force)
        assert (values["logprobs"], values["top_logprobs"], asked.strip) == (True, 2, True)
        assert values.get("stream_options") == ({"include_usage": True} if force else None)
        assert values["stream"] is True


def test_a_completion_is_asked_for_two_alternatives() -> None:
    assert upstream(b'{"model":"m","prompt":"a"}', COMPLETIONS)[0]["logprobs"] == 2
    assert upstream(b'{"model":"m","logprobs":null}', COMPLETIONS)[0]["logprobs"] == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, b'{"model":"m","logprobs":true,"top_logprobs":5}'), (COMPLETIONS, b'{"model":"m","logprobs":0}')],
)
def test_who_asks_for_them_is_asked_for_as_it_is_and_gets_them(path: str, body: bytes) -> None:
    given = read(body)
    asked = asking(path, body, given.values)
    assert asked == Asking(chat=path == CHAT)
    assert given.upstream("m", False, None, asked) == body


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b'{"model":"m","top_logprobs":3}'),
        (CHAT, b'{"model":"m","logprobs":"yes"}'),
        (CHAT, b'{"model":"m","logprobs":false,"logprobs":false}'),
        (COMPLETIONS, b'{"model":"m","logprobs":true}'),
        (COMPLETIONS, b'{"model":"m","logprobs":"2"}'),
        ("/v1/responses", b'{"model":"m"}'),
        ("/v1/embeddings", b'{"model":"m"}'),
    ],
)
def test_what_is_not_understood_is_left_to_the_engine(path: str, body: bytes) -> None:
    assert asking(path, body, read(body).values) is None


# --- reading --------------------------------------------------------------------------------------------------------


def test_tokens_are_read_of_chats_and_completions() -> None:
    _, reader = streamed(ROLE + chat_event("Hel", [-0.1, -0.3]) + chat_event("lo", [-0.5]), STRIPPED[True])
    assert [token.log_probability for token in reader.tokens] == [-0.1, -0.3, -0.5]
    assert [token.margin for token in reader.tokens] == [pytest.approx(1)] * 3
    _, reader = streamed(completion_event("Hel", [-0.1, -0.3]), STRIPPED[False])
    assert [token.log_probability for token in reader.tokens] == [-0.1, -0.3]


def test_reasoning_and_calls_of_tools_are_known() -> None:
    _, reader = streamed(chat_event("", [-1], reasoning="hm") + chat_event("a", [-2]), STRIPPED[True])
    assert [token.content for token in reader.tokens] == [False, True]
    assert not reader.tool_call
    _, reader = streamed(chat_event("", [-1], tool_calls=[{"index": 0}]), STRIPPED[True])
    assert reader.tool_call


@pytest.mark.parametrize(
    "logprobs",
    [
        *(None, [], "x", 1, {}, {"content": None}, {"content": "x"}, {"content": [None, 1]}, {"content": [{}]}),
        *({"content": [{"logprob": None}]}, {"content": [{"logprob": True}]}, {"content": [{"logprob": "-1"}]}),
        *({"token_logprobs": [None]}, {"token_logprobs": "x"}, {"token_logprobs": [None], "top_logprobs": [None]}),
    ],
)
@pytest.mark.parametrize("chat", [True, False])
def test_log_probabilities_of_no_form_are_none(logprobs: Any, chat: bool) -> None:
    data = event({"index": 0, "delta": {"content": "x"}, "logprobs": logprobs})
    out, reader = streamed(data, STRIPPED[chat])
    assert reader.tokens == []
    assert orjson.loads(out[6:])["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    ("tops", "margin"),
    [([], None), (None, None), ([{"logprob": -1}], None), ([{"logprob": -3}, {"logprob": -1}, {"logprob": -9}], 2.0)],
)
def test_the_margin_is_between_the_two_most_probable(tops: Any, margin: float | None) -> None:
    said = {"content": [{"token": "a", "logprob": -3, "top_logprobs": tops}]}
    _, reader = streamed(event({"index": 0, "delta": {"content": "x"}, "logprobs": said}), STRIPPED[True])
    assert reader.tokens == [Token(-3, margin)]


# --- taking out -----------------------------------------------------------------------------------------------------

# Texts that look like what is searched for, in every place where an answer can have them.
TEXTS = st.sampled_from(
    [
        '"logprobs":{',
        "logprobs",
        'choices":[{"logprobs":1}]',
        "é\u2028\U0001f600",
        "\\",
        '"',
        "",
        "data: [DONE]\n\n",
        "}]",
    ]
)
VALUES = st.lists(st.floats(-20, 0), min_size=1, max_size=3)
EVENTS: dict[bool, Callable[..., bytes]] = {True: chat_event, False: completion_event}


@fuzz(80)
@given(st.booleans(), st.lists(st.tuples(TEXTS, VALUES), max_size=6), st.lists(st.integers(0, 9999), max_size=12))
def test_a_stream_is_byte_for_byte_what_it_is_without_them(
    chat: bool, said: list[tuple[str, list[float]]], places: list[int]
) -> None:
    made = EVENTS[chat]
    asked = b"".join(made(text, values) for text, values in said) + made("", None, "stop") + USAGE + DONE
    plain = b"".join(made(text, None) for text, _ in said) + made("", None, "stop") + USAGE + DONE
    out, reader = streamed(asked, STRIPPED[chat], places)
    assert out == plain
    assert [token.log_probability for token in reader.tokens] == [value for _, values in said for value in values]


@fuzz(40)
@given(st.lists(st.tuples(TEXTS, VALUES), max_size=6), st.lists(st.integers(0, 9999), max_size=12), st.booleans())
def test_who_has_asked_for_them_gets_every_byte(
    said: list[tuple[str, list[float]]], places: list[int], deaf: bool
) -> None:
    data = ROLE + b"".join(chat_event(text, values) for text, values in said) + DONE
    reader = LogprobReader(Asking(chat=True))
    out = b""
    for piece in cut(data, places):
        out += reader.feed(piece)
        reader.listens = reader.listens and not deaf
    assert out + reader.end() == data


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_end_of_line_and_a_mark_at_the_beginning(end: bytes, mark: bytes) -> None:
    asked = mark + (chat_event("a", [-1]) + b": ping\n\n" + b"event: m\n" + chat_event("b", [-1])).replace(b"\n", end)
    plain = mark + (chat_event("a", None) + b": ping\n\n" + b"event: m\n" + chat_event("b", None)).replace(b"\n", end)
    for places in ([], [3, 50], range(0, len(asked), 3)):
        assert streamed(asked, STRIPPED[True], places)[0] == plain


def test_data_of_several_lines_keeps_its_meaning() -> None:
    data = chat_event("a", [-1])[6:-2]
    several = b"data: " + data.replace(b',"logprobs"', b',\ndata: "logprobs"') + b"\n\n"
    out, reader = streamed(several, STRIPPED[True])
    assert len(reader.tokens) == 1
    found = sse.data_of(out)
    assert found is not None
    assert orjson.loads(found) == orjson.loads(chat_event("a", None)[6:])


def test_a_chunk_that_was_only_sent_for_them_is_left_out() -> None:
    only = event({"index": 0, "delta": {}, "logprobs": {"content": [entry("<", -1)]}, "finish_reason": None})
    last = event({"index": 0, "delta": {}, "logprobs": {"content": [entry("<", -1)]}, "finish_reason": "stop"})
    out, reader = streamed(only + last, STRIPPED[True])
    assert len(reader.tokens) == 2
    assert out == event({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    assert streamed(only, Asking(chat=True))[0] == only


def test_an_event_that_is_too_long_is_passed_on_and_what_follows_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_EVENT_BYTES", 300)
    huge = chat_event("x" * 900, [-1])
    out, reader = streamed(huge + chat_event("b", [-2]), STRIPPED[True], range(0, 1200, 100))
    assert out == huge + chat_event("b", None)
    assert [token.log_probability for token in reader.tokens] == [-2]


@pytest.mark.parametrize("text", ["hi", '"logprobs":[', "é"])
@pytest.mark.parametrize("indent", [False, True])
def test_a_whole_answer_is_byte_for_byte_what_it_is_without_them(text: str, indent: bool) -> None:
    def whole(logprobs: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "logprobs": 7}
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
        return {"id": "c", "logprobs": {"a": 1}, "choices": [choice], "usage": {"prompt_tokens": 1}}

    option = orjson.OPT_INDENT_2 if indent else 0
    asked = orjson.dumps(whole({"content": [entry(text, -0.5)] * 5000}), option=option)
    reader = LogprobReader(STRIPPED[True])
    assert reader.whole(asked, orjson.loads(asked)) == orjson.dumps(whole(None), option=option)
    assert len(reader.tokens) == 5000
    assert LogprobReader(Asking(chat=True)).whole(asked, orjson.loads(asked)) == asked


@pytest.mark.parametrize(
    "data",
    [
        *(b"not json", b"[1]", b"{}", b'{"choices":null}', b'{"choices":{}}', b'{"choices":[1,"x",null]}'),
        *(b'{"choices":[]}', b'{"choices":[{}]}', b'{"choices":[{"delta":7,"logprobs":3}]}', b'{"choices" : [ { } ] }'),
        b'{"choices":' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
def test_what_has_another_form_is_passed_on(data: bytes) -> None:
    out, _ = streamed(b"data: " + data + b"\n\n", STRIPPED[True])
    assert out == b"data: " + data.replace(b'"logprobs":3', b'"logprobs":null') + b"\n\n"
