"""Checks that a request is understood as by vLLM, and that the answer is cut where it must be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim import openai_api as api
from tierwise_sim.settings import EngineSettings
from tierwise_sim.speculation import Speculation

ANSWERING = api.Answering(EngineSettings(max_model_len=100), ("chat", "alias"), mean_output_tokens=20, seed=0)
HELLO = [{"role": "user", "content": "hello there"}]


def call(body: dict[str, Any], chat: bool = True, answering: api.Answering = ANSWERING) -> api.Call:
    return api.parse_call(body, chat, answering)


@given(st.integers(1, 95), st.booleans())
def test_max_tokens_bounds_the_answer_and_names_the_reason(limit: int, ignore_eos: bool) -> None:
    understood = call({"messages": HELLO, "max_tokens": limit, "ignore_eos": ignore_eos})
    assert len(understood.answer) <= limit
    if ignore_eos:
        assert (len(understood.answer), understood.finish) == (limit, "length")
    elif len(understood.answer) < limit:
        assert understood.finish == "stop"


def test_the_same_prompt_gets_the_same_answer_and_another_does_not() -> None:
    first, again = (call({"messages": HELLO}).answer for _ in range(2))
    assert first == again
    assert first != call({"messages": [{"role": "user", "content": "hello world"}]}).answer


def test_an_answer_never_exceeds_the_model_length() -> None:
    understood = call({"messages": HELLO, "ignore_eos": True})
    assert len(understood.prompt) + len(understood.answer) == 100


def test_a_stop_string_ends_the_answer_before_itself() -> None:
    body = {"messages": HELLO, "max_tokens": 60, "ignore_eos": True}
    whole = "".join(call(body).answer)
    stop = whole[20:31]
    cut = call({**body, "stop": ["never in there", stop]})
    assert (cut.finish, cut.stop_reason) == ("stop", stop)
    assert cut.text_between(0, len(cut.answer)) == whole[: whole.index(stop)]
    assert stop in "".join(cut.answer)
    pieces = [cut.text_between(i, i + 1) for i in range(len(cut.answer))]
    assert "".join(pieces).startswith(whole[: whole.index(stop)])


def test_completions_default_to_sixteen_tokens_and_take_text() -> None:
    understood = call({"prompt": "one two", "ignore_eos": True}, chat=False)
    assert len(understood.answer) == 16
    assert len(understood.prompt) == 3


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"messages": HELLO, "model": "other"}, 404, "The model `other` does not exist."),
        ({"messages": []}, 400, "body.messages"),
        ({"messages": ["hello"]}, 400, "body.messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "text parts"),
        ({"messages": HELLO, "max_tokens": 0}, 400, "max_tokens must be at least 1, got 0."),
        ({"messages": HELLO, "max_tokens": 101}, 400, "max_tokens=101 cannot be greater than max_model_len=100"),
        ({"messages": HELLO, "max_tokens": "ten"}, 400, "valid integer"),
        ({"messages": HELLO, "stop": [""]}, 400, "empty string"),
        ({"messages": HELLO, "n": 2}, 400, "n > 1 is not simulated"),
        (
            {"messages": [{"role": "user", "content": "word " * 200}]},
            400,
            "This model's maximum context length is 100 tokens. However, your prompt contains",
        ),
    ],
)
def test_refusals_have_vllms_status_and_words(body: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(api.ApiError) as refused:
        call(body)
    error = refused.value.body["error"]
    assert (refused.value.status, error["code"]) == (status, status)
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [{"prompt": ""}, {"prompt": ["a", "b"]}, {"prompt": 5}, {}])
def test_prompts_that_are_not_one_text_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(api.ApiError, match=r"body\.prompt"):
        call(body, chat=False)


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(api.ApiError, match="valid dictionary"):
        api.parse_call([], True, ANSWERING)


@pytest.mark.parametrize("field", [{"min_p": 0.1}, {"logit_bias": {"1": 5.0}}])
def test_sampling_that_speculation_forbids_is_refused_only_with_speculation(field: dict[str, Any]) -> None:
    body = {"messages": HELLO, "max_tokens": 5, **field}
    assert len(call(body).answer) <= 5
    speculating = api.Answering(
        EngineSettings(max_model_len=100, speculation=Speculation("ngram", 3, 0.3)), ("chat",), 20, 0
    )
    with pytest.raises(api.ApiError, match="not yet supported with speculative decoding"):
        call(body, answering=speculating)


def test_models_list_every_served_name() -> None:
    cards = api.model_list(ANSWERING, 7)["data"]
    assert [(card["id"], card["max_model_len"]) for card in cards] == [("chat", 100), ("alias", 100)]
