"""Holds what choosing may look at: the facts of one request, never its words.

No prompt is in it, so that a choice can be logged, counted and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierwise.routing.route import Priority


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One request. `prompt_tokens` is an estimate; `max_tokens` is None where the client set no limit.

    `blocks` are the chained hashes of its prompt (`tierwise.routing.prefix.block_hashes`). `headers` holds only those
    that a rule asks for."""

    model: str
    prompt_tokens: int = 0
    max_tokens: int | None = None
    tools: bool = False
    images: bool = False
    response_format: str = ""
    stream: bool = False
    priority: Priority = Priority.INTERACTIVE
    headers: Mapping[str, str] = field(default_factory=dict)
    blocks: tuple[int, ...] = ()
