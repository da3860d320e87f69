"""Reads prompts.jsonl: what is asked, and perhaps its group and its gold answer.

One JSON object a line: `{"messages": [...]}` as in a chat, or `{"prompt": "..."}`, which is one message of the user;
optional `id`, `group`, `gold`, and `request` with further fields for the request (tools, response_format, ...). The
same prompt twice is one prompt: asked once, labelled once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tierwise.errors import Invalid

OURS = frozenset({"model", "messages", "stream", "stream_options", "n"})
_KNOWN = frozenset({"id", "messages", "prompt", "group", "gold", "request"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt. `digest` is the SHA-256 of its messages and tools, keyed with the salt where there is one."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    digest: str
    group: str | None = None
    gold: object | None = None
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The texts of all messages, one after the other: for a judge, a person, or an estimate of tokens."""
        if len(self.messages) == 1:
            return text_of(self.messages[0])
        return "\n\n".join(f"[{message.get('role')}]\n{text_of(message)}" for message in self.messages)


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message; parts that are not text (an image) are left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and "text" in part)


def digest(messages: Sequence[Mapping[str, Any]], tools: object, salt: bytes = b"") -> str:
    """Names a prompt without telling it: without a salt a short one could be guessed."""
    said = json.dumps([list(messages), tools], ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
    return (hmac.new(salt, said, hashlib.sha256) if salt else hashlib.sha256(said)).hexdigest()


def parse(text: str, source: str, salt: bytes = b"") -> list[Prompt]:
    """The prompts of a file's text, in its order, each once. Raises Invalid, which names the line and never quotes
    it."""
    found: dict[str, Prompt] = {}
    ids: set[str] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        prompt = _prompt(line, f"line {number} of {source}", salt)
        if prompt.digest in found:
            continue
        if prompt.id in ids:
            raise Invalid(f"line {number} of {source} has an id that stands before, for another prompt")
        ids.add(prompt.id)
        found[prompt.digest] = prompt
    if not found:
        raise Invalid(f"there is no prompt in {source}")
    return list(found.values())


def _prompt(line: str, where: str, salt: bytes) -> Prompt:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where} is not JSON; each line holds one prompt") from error
    if not isinstance(given, dict):
        raise Invalid(f"{where} is no object with messages or prompt")
    if unknown := sorted(set(given) - _KNOWN):
        raise Invalid(f"{where} has the unknown field {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    messages = _messages(given, where)
    request = given.get("request", {})
    if not isinstance(request, dict) or OURS & set(request):
        raise Invalid(f"{where}: request holds further fields, and none of {', '.join(sorted(OURS))}")
    group = given.get("group")
    name = digest(messages, request.get("tools"), salt)
    return Prompt(
        id=str(given.get("id", name[:16])),
        messages=tuple(messages),
        digest=name,
        group=None if group is None else str(group),
        gold=given.get("gold"),
        request=request,
    )


def _messages(given: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    if ("messages" in given) == ("prompt" in given):
        raise Invalid(f"{where} needs exactly one of messages and prompt")
    if "prompt" in given:
        if not isinstance(given["prompt"], str) or not given["prompt"]:
            raise Invalid(f"{where}: prompt is a text that is not empty")
        return [{"role": "user", "content": given["prompt"]}]
    messages = given["messages"]
    if not isinstance(messages, list) or not messages:
        raise Invalid(f"{where}: messages is a list that is not empty")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Invalid(f"{where}: each message is an object with a role")
    return messages


def read(path: Path, salt: bytes = b"") -> list[Prompt]:
    """The prompts of a file. Raises Invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the prompts in {path} cannot be read: {type(error).__name__}") from error
    return parse(text, str(path), salt)


def read_salt(path: Path) -> bytes:
    """A salt, at least 16 bytes without its white space. Raises Invalid, which does not say it."""
    try:
        salt = path.read_bytes().strip()
    except OSError as error:
        raise Invalid(f"the salt file {path} cannot be read: {type(error).__name__}") from error
    if len(salt) < 16:
        raise Invalid(f"the salt in {path} is shorter than 16 bytes; make one: openssl rand -hex 32 > {path}")
    return salt
