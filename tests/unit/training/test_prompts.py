"""Checks that a file of prompts is understood, each prompt once, and that mistakes are named and not quoted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tierwise.errors import Invalid
from tierwise_training import prompts

SALT = b"0123456789abcdef"


def test_messages_and_prompts_are_chats() -> None:
    lines = [
        {"prompt": "hello", "id": 7, "group": "g", "gold": 4},
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ]
        },
        {"prompt": "with tools", "request": {"tools": [{"type": "function"}]}},
    ]
    first, second, third = prompts.parse("\n\n".join(map(json.dumps, lines)), "f")
    assert (first.id, first.group, first.gold, first.text) == ("7", "g", 4, "hello")
    assert first.messages == ({"role": "user", "content": "hello"},)
    assert second.text == "[system]\nbe brief\n\n[user]\nhi"
    assert second.id == second.digest[:16]
    assert third.request == {"tools": [{"type": "function"}]}
    assert third.digest != prompts.parse('{"prompt": "with tools"}', "f")[0].digest


def test_a_prompt_that_stands_twice_is_one() -> None:
    both = '{"prompt": "hello"}\n{"messages": [{"role": "user", "content": "hello"}], "group": "other"}'
    (only,) = prompts.parse(both, "f")
    assert only.group is None


def test_a_salt_makes_other_names() -> None:
    plain, salted, other = (prompts.parse('{"prompt": "a"}', "f", salt)[0].digest for salt in (b"", SALT, SALT + b"x"))
    assert len({plain, salted, other}) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{secret", "line 1 of f is not JSON"),
        ('["secret"]', "no object"),
        ('{"secret": 1}', "exactly one|unknown field"),
        ('{"prompt": "secret", "messages": []}', "exactly one of messages and prompt"),
        ('{"prompt": ""}', "not empty"),
        ('{"messages": []}', "not empty"),
        ('{"messages": [{"content": "secret"}]}', "an object with a role"),
        ('{"prompt": "secret", "request": {"model": "x"}}', "request holds further fields"),
        ('{"prompt": "secret", "id": "1"}\n{"prompt": "other", "id": "1"}', "line 2 of f has an id that stands before"),
        ("\n", "there is no prompt in f"),
    ],
)
def test_a_mistake_is_named_and_not_quoted(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        prompts.parse(text, "f")
    assert "secret" not in caught.value.message.replace("'secret'; known", "")


def test_a_salt_is_long_enough_and_never_said(tmp_path: Path) -> None:
    (tmp_path / "salt").write_bytes(SALT + b"\n")
    assert prompts.read_salt(tmp_path / "salt") == SALT
    (tmp_path / "short").write_text("secret")
    with pytest.raises(Invalid, match="shorter than 16 bytes") as caught:
        prompts.read_salt(tmp_path / "short")
    assert "secret" not in caught.value.message
