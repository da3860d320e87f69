"""Checks what of a request a classifier reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.question import question_of
from tierwise.routing.text_features import TextFacts

SYSTEM = {"role": "system", "content": "Be brief."}


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("body", "text", "facts"),
    [
        ({"messages": [SYSTEM, user("hello")]}, b"hello", TextFacts(system=b"Be brief.")),
        (
            {"messages": [user("a"), {"role": "assistant", "content": "an answer"}, user("b")]},
            b"a\nb",
            TextFacts(turns=2),
        ),
        ({"messages": [{"role": "developer", "content": "d"}, user("q")]}, b"q", TextFacts(system=b"d")),
        (
            {"messages": [user([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {}}])]},
            b"see",
            TextFacts(),
        ),
        ({"messages": [user("q"), {"role": "tool", "content": "42"}], "tools": [{}]}, b"q", TextFacts(tools=True)),
        ({"prompt": "once"}, b"once", TextFacts()),
        ({"prompt": ["a", "b"]}, b"a\nb", TextFacts(turns=2)),
        ({"prompt": [1, 2, 3]}, b"", TextFacts()),
        ({"input": "r", "instructions": "i"}, b"r", TextFacts(system=b"i")),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "r"}]}]}, b"r", TextFacts()),
        ({"messages": "no list"}, b"no list", TextFacts()),
        ({}, b"", TextFacts()),
    ],
)
def test_the_question_of_a_body(body: dict[str, Any], text: bytes, facts: TextFacts) -> None:
    assert question_of(body) == (text, facts)


def test_a_lone_surrogate_is_no_error() -> None:
    assert question_of({"prompt": "\ud800"})[0] == b"\xed\xa0\x80"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "type"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["messages", "input", "prompt", "instructions", "tools"]), values, max_size=5))
def test_no_body_makes_it_fail(body: dict[str, Any]) -> None:
    text, facts = question_of(body)
    assert isinstance(text, bytes)
    assert facts.turns >= 1
