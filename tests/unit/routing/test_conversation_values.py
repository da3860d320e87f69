"""Checks at its edges by what a conversation is known, and what a cached prefix is worth to the token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.test_conversation import CALL, LARGE, RESULT, SALT, key, priced, user
from tierwise.routing.conversation import CACHE_SECONDS, LastAnswer, switch_pays, turn_of
from tierwise.routing.request import RequestFacts

HALF, OTHER_HALF = "\ud83d", "\ud83e"
"""One half of a surrogate pair: JSON can carry it, and UTF-8 has no bytes for it."""


def asks(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    "body",
    [
        asks,
        lambda text: asks([{"type": "text", "text": text}]),
        lambda text: {"instructions": text, "input": [user()]},
        lambda text: {"prompt_cache_key": text, "messages": [user()]},
    ],
    ids=["a text", "a part", "instructions", "the client's key"],
)
def test_half_a_surrogate_pair_is_text_like_any_other(body: Any) -> None:
    assert key(body(HALF)) == key(body(HALF))
    assert len({key(body(text)) for text in (HALF, OTHER_HALF, "?", "")}) >= 3
    assert key(body(HALF)) != key(body(OTHER_HALF))


def test_half_a_surrogate_pair_can_be_in_the_name_of_a_tenant() -> None:
    assert key(asks("hi"), HALF) != key(asks("hi"), OTHER_HALF)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_question_in_parts_is_that_of_its_lines(texts: list[str]) -> None:
    parts = [{"type": "text", "text": text} for text in texts]
    assert key(asks(parts)) == key(asks(texts)) == key(asks("\n".join(texts)))


def test_questions_in_parts_are_told_apart_by_their_text_and_not_by_what_has_none() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    one, other = {"type": "text", "text": "one"}, {"type": "text", "text": "other"}
    assert key(asks([one])) != key(asks([other]))
    assert key(asks([one])) == key(asks([picture, one, None, 3, {"type": "text", "text": None}]))


@pytest.mark.parametrize("content", [None, 3, True, {"text": "hi"}])
def test_a_question_of_an_unknown_form_is_an_empty_one(content: Any) -> None:
    assert key(asks(content)) == key(asks("")) == key(asks([]))


@pytest.mark.parametrize(
    ("messages", "inside"),
    [
        ([user(), CALL, RESULT, None], True),
        ([user(), CALL, RESULT, "text", 3], True),
        ([RESULT, user(), None], False),
        ([], False),
        ([{"role": "assistant", "content": "Hello."}], False),
        ([None], False),
    ],
)
def test_what_is_no_message_is_passed_over_in_search_of_a_tool_loop(messages: list[Any], inside: bool) -> None:
    found = turn_of({"prompt_cache_key": "a", "messages": messages}, "", SALT)
    assert found is not None
    assert found.in_tool_loop is inside


# Large costs 2 a million tokens of prompt, .2 cached, and 8 of output: a cached token is worth 1.8.
NEARLY = priced("nearly", "1.9", ".1", "8")
HALF_OFF = priced("half", "1", ".1", "8")


def pays(wanted: Any, prompt: int, last: tuple[int, int], now: float = 0.0) -> bool:
    return switch_pays(LARGE, wanted, RequestFacts("chat", prompt), LastAnswer("large", *last, at=0.0), now)


def test_what_is_no_longer_cached_is_worth_not_even_one_token() -> None:
    assert pays(NEARLY, 1, (1, 1), now=CACHE_SECONDS + 1), "a tenth of a millionth of a dollar is saved"
    assert not pays(NEARLY, 1, (1, 1), now=CACHE_SECONDS)


def test_the_last_answer_is_part_of_the_cached_prefix() -> None:
    # 10000 tokens save 1 each; 5555 cached ones are worth 9999, one more 10000.8
    assert pays(HALF_OFF, 10_000, (5_000, 555))
    assert not pays(HALF_OFF, 10_000, (5_000, 556))
    assert not pays(HALF_OFF, 10_000, (1, 5_555))
