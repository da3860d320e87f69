"""Holds what one simulation found: money, service level and replicas, for each tier and for all of them.

One frozen value that the table, the JSON output and every report read, so that no two of them can differ. Times are
seconds since the start of the trace, money is US dollars as decimals, and shares are fractions from 0 to 1; a figure
that nothing was measured for is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

FORMAT = 1
"""Of the JSON form. It changes when a field changes its meaning or goes away."""
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Targets:
    """The service level that requests are held against. `ttft`: seconds until the first token, since the request came
    to the router; `inter_token`: mean seconds between the tokens of one answer."""

    ttft: float
    inter_token: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds over `count` requests, by nearest rank."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    largest: float


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of the requests. `arrived` = `answered` + refused ones + `open`.

    `refused` counts those that got no answer, by reason; `open` had none yet when the simulation ended. `met`: answered
    within both targets. `judged` are those that count for the service level: all but the open ones that may still meet
    it. `spilled` were answered by another tier than the policy had chosen, and count where they were answered."""

    arrived: int = 0
    answered: int = 0
    open: int = 0
    met: int = 0
    met_ttft: int = 0
    met_inter_token: int = 0
    judged: int = 0
    spilled: int = 0
    retried: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def refused_total(self) -> int:
        """Requests that got no answer."""
        return sum(self.refused.values())

    @property
    def attainment(self) -> float | None:
        """Share of the judged requests that met both targets."""
        return self.met / self.judged if self.judged else None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of the answered requests. `cached` is the part of `prompt` that was found in a prefix cache."""

    prompt: int = 0
    cached: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A tier from this moment on: replicas asked for, receiving requests, starting, draining; and what the engines and
    routers had: requests that wait (in both), requests that run, mean KV-cache use (0 to 1) of the ready replicas."""

    at: float
    desired: int
    ready: int
    starting: int
    draining: int
    waiting: int
    running: int
    kv: float

    @property
    def replicas(self) -> int:
        """Replicas that are paid for."""
        return self.ready + self.starting + self.draining


@dataclass(frozen=True, slots=True)
class GpuSeconds:
    """What a tier has occupied, by what its replicas did: a replica of n GPUs counts n a second."""

    ready: float = 0.0
    starting: float = 0.0
    draining: float = 0.0

    @property
    def total(self) -> float:
        """What is paid for."""
        return self.ready + self.starting + self.draining


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of the replicas that were asked for. A reversal is a change in the other direction than the one before it
    within `REVERSAL_SECONDS`: money or service level that was given up for nothing."""

    ups: int = 0
    downs: int = 0
    reversals: int = 0
    per_hour: float = 0.0
    reversals_per_hour: float = 0.0


REVERSAL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class TierResult:
    """One tier. `share` is its part of all answered requests.

    `seconds_at_maximum`: how long as many replicas were asked for as the tier may have; `seconds_at_budget`: how long
    it had fewer than its load asked for because the GPUs were given to others. `gpu`, `gpus_per_replica` and `gpu_hour`
    are empty, 0 and None for an external tier, which has no replicas and no timeline."""

    name: str
    external: bool
    gpu: str
    gpus_per_replica: int
    gpu_hour: Decimal | None
    startup_seconds: float
    requests: Requests
    share: float
    tokens: TokenCounts
    ttft: Distribution | None
    inter_token: Distribution | None
    dollars: Decimal
    gpu_seconds: GpuSeconds = GpuSeconds()
    replicas_mean: float = 0.0
    replicas_peak: int = 0
    changes: Changes = Changes()
    seconds_at_maximum: float = 0.0
    seconds_at_budget: float = 0.0
    limited_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each reason held the replicas away from what the load asked for, as the operator says it (limitedBy)."""
    timeline: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class SavingsResult:
    """Against the reference tier, as `tierwise savings` computes it, on the usage basis (what was busy).

    `paid_percent` is on the basis of what is paid, GPUs that wait included, and only there where the reference is an
    external API: its list price is what would have been paid."""

    reference: str
    baseline: Decimal
    lower_baseline: Decimal
    actual: Decimal
    saved_percent: Decimal | None
    lower_bound_percent: Decimal | None
    parts: Mapping[str, Decimal]
    paid_percent: Decimal | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """What was simulated, as far as it is not in the manifests: enough to repeat it."""

    trace: str
    seconds: float
    arrivals: int
    seed: int
    autoscaler: str
    targets: Targets
    startup_seconds: float | None
    scrape_seconds: float
    decide_seconds: float
    routers: int
    route: str
    faults: tuple[str, ...] = ()
    what_if: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Total:
    """All tiers. `dollars` on the allocation basis: GPU time that was paid for, and metered tokens.

    `worst_tier` has the lowest attainment of those that were asked; `refused` is by reason."""

    dollars: Decimal
    dollars_per_hour: Decimal
    dollars_per_million_tokens: Decimal | None
    gpu_seconds: GpuSeconds
    requests: Requests
    tokens: TokenCounts
    ttft: Distribution | None
    inter_token: Distribution | None
    attainment: float | None
    worst_tier: str
    worst_attainment: float | None
    share: Mapping[str, float]
    changes: Changes


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """One simulation. `tiers` are in the order of the route, cheapest first. `savings` is None where nothing can be
    said, and `no_savings` says why. `notes` are sentences about what was assumed."""

    setup: Setup
    tiers: tuple[TierResult, ...]
    total: Total
    savings: SavingsResult | None = None
    no_savings: str = ""
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def tier(self, name: str) -> TierResult | None:
        """The tier of that name."""
        return next((each for each in self.tiers if each.name == name), None)
