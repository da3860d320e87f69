"""Says how long one engine step takes: the seam between the scheduler and what is known about a GPU.

The scheduler (`engine`) decides what runs in a step and asks a `StepTime` how long that lasts. There are three:
kernels measured on the GPU (`kernels`, an optional package), a roofline whose efficiencies were fitted to measured
engines (`fitted`), and a plain roofline (`roofline`), which knows nothing but the data sheet. `step_source` chooses
the best one that there is for an engine, and says which it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol


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


@dataclass(frozen=True, slots=True)
class Overheads:
    """What an engine spends beside its kernels, in seconds.

    `step`: between two steps, unless the next is scheduled while one runs; `sequence`: for every request that decodes
    in a step (scheduling, taking its token); `prompt`: for every prompt in a step; `request`: before a request reaches
    the scheduler (HTTP, tokenizer).
    """

    step: float = 0.0
    sequence: float = 0.0
    prompt: float = 0.0
    request: float = 0.0

    def exposed(self, async_scheduling: bool) -> Overheads:
        """What is left of them: asynchronous scheduling hides what passes between two steps behind the GPU's work."""
        return replace(self, step=0.0) if async_scheduling else self


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


@dataclass(frozen=True)
class WithOverheads:
    """Another model's step times, with an engine's overheads added; `speed` compresses those as well."""

    inner: StepTime
    overheads: Overheads
    speed: float = 1.0

    @property
    def request_seconds(self) -> float:
        """What the other model says, and the overhead of a request."""
        return self.inner.request_seconds + self.overheads.request / self.speed

    def seconds(self, batch: Batch) -> float:
        """Duration of one step."""
        more = self.overheads
        added = more.step + more.sequence * batch.decodes + more.prompt * batch.prefills
        return self.inner.seconds(batch) + added / self.speed

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context."""
        inner = self.inner.decode_seconds(decodes)
        added = (self.overheads.step + self.overheads.sequence * decodes) / self.speed
        return lambda context: inner(context) + added


Source = Literal["calibrated", "kernels", "fitted", "roofline"]


@dataclass(frozen=True, slots=True)
class StepSource:
    """A step-time model, the word that says where it comes from, and a sentence with the details."""

    step_time: StepTime
    source: Source
    detail: str
