"""Says how long one engine step takes: the seam between the scheduler and what is known about a GPU.

The scheduler (`engine`) decides what runs in a step and asks a `StepTime` how long that lasts. There are three:
kernels measured on the GPU (`kernels`, an optional package), a roofline whose efficiencies were fitted to measured
engines (`fitted`), and a plain roofline (`roofline`), which knows nothing but the data sheet. `step_source` chooses
the best one that there is for an engine, and says which it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step processes.

    `decodes` sequences with `decode_context` tokens of KV between them, each verifying `drafted` extra
    tokens; `prefill` prompt tokens, whose attention reads `prefill_context` tokens of KV (each chunk's end)
    and multiplies `prefill_pairs` query-key pairs; `loaded` tokens fetched from host memory; `prefills` prompts
    that the prompt tokens belong to.
    """

    decodes: int = 0
    decode_context: int = 0
    drafted: int = 0
    prefill: int = 0
    prefill_context: int = 0
    prefill_pairs: float = 0.0
    loaded: int = 0
    prefills: int = 0


class StepTime(Protocol):
    """Durations of one engine's steps, in seconds of the compressed clock (`EngineSettings.speed`)."""

    @property
    def request_seconds(self) -> float:
        """Between a request's arrival and the first step that may compute it: HTTP, tokenizer, hand-over."""
        ...

    def seconds(self, batch: Batch) -> float:
        """Duration of one step."""
        ...

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context: for runs of steps."""
        ...
