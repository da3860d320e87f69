"""Describes a request, and tracks its progress in the engine.

A `Request` is decided when it arrives: the simulated model "knows" how long its answer will be, so that token
counts are exact and a run can be repeated. A `Sequence` is the engine's mutable record of one request; others
read it, only the engine writes it.
"""

from __future__ import annotations

from collections.abc import Sequence as ReadOnlySequence
from dataclasses import dataclass, field

from tierwise_sim.blocks import Holding


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its prompt length, the length its answer will have, and why the answer ends there.

    `block_hashes` are the prefix-cache hashes of the full blocks of prompt and answer, each covering
    everything before it; empty means the request neither finds nor leaves anything in the cache.
    """

    id: str
    prompt_tokens: int
    output_tokens: int
    finish: str = "length"
    max_tokens: int | None = None
    block_hashes: ReadOnlySequence[int] = ()

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError(
                f"request {self.id}: a prompt and an answer have at least one token each, "
                f"got {self.prompt_tokens} and {self.output_tokens}"
            )


@dataclass(slots=True, eq=False)
class Sequence:
    """One request inside the engine; times in seconds of the engine's clock.

    `computed` counts tokens whose KV is stored, `generated` the answer so far; `finish` is None while it runs.
    """

    request: Request
    arrival: float
    holding: Holding = field(default_factory=Holding)
    computed: int = 0
    generated: int = 0
    cached_tokens: int = 0
    host_tokens: int = 0
    published: int = 0
    preemptions: int = 0
    scheduled_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float = 0.0
    finished_at: float | None = None
    finish: str | None = None

    @property
    def tokens(self) -> int:
        """Prompt and answer so far."""
        return self.request.prompt_tokens + self.generated

    @property
    def remaining(self) -> int:
        """Answer tokens still to come."""
        return self.request.output_tokens - self.generated

    @property
    def decoding(self) -> bool:
        """Whether the answer has begun and only its last token is uncomputed."""
        return self.first_token_at is not None and self.tokens - self.computed == 1


@dataclass(frozen=True, slots=True)
class Rejection:
    """The engine did not admit a request: vLLM's reason label."""

    reason: str
