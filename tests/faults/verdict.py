"""Judges one answer: whole, refused, ended by an error that says so, or wrong, and how.

Simulated engines answer a prompt always alike, and engines with another seed otherwise. So it is known beforehand what
each of them would say, and an answer that was put together from two, or said twice, is no engine's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tierwise_sim import tokens

WHOLE, REFUSED, BROKEN = "whole", "refused", "broken"
RIGHT = frozenset({WHOLE, REFUSED, BROKEN})
"""What may become of a request: answered, refused by an OpenAI error, ended by an error after the first byte."""
RESET, CUT, SILENCE = "reset", "cut", "silence"
"""No answer at all; an end within the answer without a word; nothing more for too long."""
MEAN_TOKENS = 200  # how long an engine talks by itself: it decides nothing here, but draws from the same numbers


def prompt(name: str) -> str:
    """A prompt that is no other's."""
    return f"request {name} of a client who knows its answer"


def said_by(seed: int, asked: str, count: int) -> str:
    """What an engine with this seed answers in so many tokens."""
    rng = tokens.request_rng(tokens.chat_tokens([{"role": "user", "content": asked}]), seed)
    tokens.natural_length(MEAN_TOKENS, rng)
    return "".join(tokens.answer_tokens(count, rng))


@dataclass(slots=True)
class Stream:
    """The events of a streamed answer, as they come."""

    text: str = ""
    finishes: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    roles: int = 0
    tokens: int | None = None
    error: Any = None
    done: int = 0
    late: bool = False
    rest: bytes = b""

    def take(self, data: bytes) -> bool:
        """Some bytes; whether there was content in them."""
        before = len(self.text)
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    self._event(line[6:])
        return len(self.text) > before

    def _event(self, data: bytes) -> None:
        self.late = self.late or bool(self.done)
        if data == b"[DONE]":
            self.done += 1
            return
        event = json.loads(data)
        if "error" in event:
            self.error = event["error"]
            return
        self.ids.add(str(event.get("id")))
        for choice in event.get("choices", []):
            delta = choice.get("delta", {})
            self.roles += "role" in delta
            self.text += delta.get("content") or ""
            self.finishes += [choice["finish_reason"]] if choice.get("finish_reason") else []
        if event.get("usage"):
            self.tokens = event["usage"]["completion_tokens"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its prompt and the tokens of its answer; `seeds` of the engines that each tier has."""

    prompt: str
    tokens: int
    seeds: Mapping[str, Sequence[int]]


def of_stream(asked: Asked, tier: str, seen: Stream, ended: str) -> str:
    """The verdict on a stream with status 200. `ended`: how its message ended, "" for well, CUT or SILENCE."""
    answers = [said_by(seed, asked.prompt, asked.tokens) for seed in asked.seeds.get(tier, ())]
    if not any(answer.startswith(seen.text) for answer in answers):
        return f"spliced: no engine of {tier or 'any tier'} says {seen.text[:60]!r}"
    if seen.roles > 1 or len(seen.ids) > 1 or len(seen.finishes) > 1 or seen.done > 1 or seen.late:
        return "two answers in one stream"
    if seen.error is not None:
        return _error(seen.error) or BROKEN
    if ended:
        return ended
    if seen.text not in answers or seen.finishes != ["length"] or not seen.done or seen.rest:
        return f"incomplete: {len(seen.text)} characters, {seen.finishes}, {seen.done} [DONE]"
    if seen.tokens not in (None, asked.tokens):
        return f"{seen.tokens} tokens instead of {asked.tokens}"
    return WHOLE


def of_whole(asked: Asked, tier: str, body: bytes) -> str:
    """The verdict on an answer in one piece with status 200."""
    answer = json.loads(body)
    (choice,) = answer["choices"]
    text = choice["message"]["content"]
    if text not in [said_by(seed, asked.prompt, asked.tokens) for seed in asked.seeds.get(tier, ())]:
        return f"spliced: no engine of {tier or 'any tier'} says {text[:60]!r}"
    used = answer["usage"]["completion_tokens"]
    return WHOLE if used == asked.tokens else f"{used} tokens instead of {asked.tokens}"


def of_refusal(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The verdict on an answer with an error status."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return f"status {status} without OpenAI's error: {body[:60]!r}"
    if status in (429, 503) and not headers.get("retry-after", "").isdigit():
        return f"status {status} without Retry-After"
    return _error(error) or REFUSED


def _error(error: Any) -> str:
    """What is wrong with an error object, or ""."""
    if isinstance(error, dict) and {"message", "type", "code", "param"} <= error.keys() and error["message"]:
        return ""
    return f"an error that is not OpenAI's: {str(error)[:60]}"
