"""Finds in a request what a classifier reads: the text of the questions, the system prompt, tools, turns.

The router and the training read requests through this one function: weights are worth nothing where the text is
another. The text is what the user has said, all turns of it. Answers are left out, because the tier that made them
would decide which tier goes on; the system prompt is left out, because it is the same for a whole application and would
drown the question. It is known by its hash instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tierwise.routing.text_features import TextFacts

MOST_PARTS = 100_000
_SYSTEM = ("system", "developer")


def question_of(body: Mapping[str, Any]) -> tuple[bytes, TextFacts]:
    """The question and its facts of a body of chat completions, completions or responses.

    A body that is none of them gives an empty text: it is no error here, the engine will say what is wrong."""
    said: list[str] = []
    system: list[str] = []
    turns = 0
    if isinstance(instructions := body.get("instructions"), str):
        system.append(instructions)
    asked = body.get("messages", body.get("input", body.get("prompt")))
    if isinstance(asked, str):
        said.append(asked)
        turns = 1
    elif isinstance(asked, list):
        for item in asked[:MOST_PARTS]:
            if isinstance(item, str):  # several prompts of /v1/completions; token ids are no text
                said.append(item)
                turns += 1
            elif not isinstance(item, dict):
                continue
            elif item.get("role") in _SYSTEM:
                system.extend(_texts(item.get("content")))
            elif item.get("role") == "user":
                said.extend(_texts(item.get("content")))
                turns += 1
    tools = bool(body.get("tools") or body.get("functions"))
    return _joined(said), TextFacts(tools=tools, turns=max(1, turns), system=_joined(system))


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content[:MOST_PARTS]:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                yield text


def _joined(texts: list[str]) -> bytes:
    # Lone surrogates are legal in JSON; the router must not fail on them.
    return "\n".join(texts).encode("utf-8", "surrogatepass")
