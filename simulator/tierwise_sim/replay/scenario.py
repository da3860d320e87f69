"""Holds what is simulated: tiers with their engines, the route over them, the trace, and what goes wrong when.

Everything that a run depends on is in this one value, so that a run can be repeated, and varied in one field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modeltier import ModelTierSpec
from tierwise_sim.replay.result import Targets
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import StepSource
from tierwise_sim.traces.arrival import Trace

NAMESPACE = "default"
STARTUP_SECONDS = 120.0
"""From the creation of a replica to its readiness, where nobody says it: 98 to 135 s were measured for a 32B model on
an H100 with weights at hand (llm-d's workload autoscaling guides)."""
DEFAULT_TARGETS = Targets(ttft=2.5, inter_token=0.1)
"""Both are bounds of vLLM's histograms. An answer is then read as it comes: ten tokens are seven words a second."""


@dataclass(frozen=True, slots=True)
class ServedTier:
    """A tier of ours: what is applied, and the engine of one replica with what tells its step times. `gpu` is the
    product that it runs on, `startup_seconds` how long a replica takes until it answers, `initial` how many answer when
    the trace begins."""

    name: str
    spec: ModelTierSpec
    settings: EngineSettings
    steps: StepSource
    gpu: str
    startup_seconds: float = STARTUP_SECONDS
    initial: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of one replica; one that runs on a CPU counts as one."""
        return max(1, self.spec.resources.gpus)

    @property
    def gpu_hour(self) -> Decimal | None:
        """US dollars for one GPU and hour."""
        return None if self.spec.price is None else Decimal(self.spec.price.gpu_hour)


@dataclass(frozen=True, slots=True)
class ExternalTier:
    """A tier that somebody else serves: as fast as it is said to be, and never full."""

    name: str
    spec: ModelTierSpec
    first_token_seconds: float = 0.6
    token_seconds: float = 0.012


Tier = ServedTier | ExternalTier


class FaultKind(Enum):
    """What can go wrong; the values are the words of `--fault`."""

    PROMETHEUS_AWAY = "prometheus-away"
    """No query is answered. The engines go on, and so does what is asked of them directly."""
    POD_SILENT = "pod-silent"
    """The metrics of one replica cannot be read; it answers requests."""
    NAN = "nan"
    """One replica reports numbers that are none."""
    FROZEN_SERIES = "frozen-series"
    """One replica dies, and Prometheus goes on returning its last figures as if they were new."""
    NODE_LOST = "node-lost"
    """One replica dies with all its requests. Another one is started in its place."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that goes wrong from `at` on for `seconds`. `tier`: where, empty for the first served tier."""

    at: float
    kind: FaultKind = field(compare=False)
    seconds: float = 0.0
    tier: str = ""

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        where = f"{self.tier}:" if self.tier else ""
        return f"{where}{self.kind.value}@{self.at:g}+{self.seconds:g}"


@dataclass(frozen=True, slots=True)
class Timing:
    """How often the world looks at itself, in seconds, and how long a replica takes to be gone.

    `scrape` and `lag`: Prometheus reads each replica so often, and what it has read can be asked for so much later.
    `decide`: the operator. `poll`: each router asks each replica. `drain_least`: a replica that ends stays until every
    list of endpoints has dropped it (the preStop hook); `teardown`: from its last answer to the end of its process.
    `eviction`: after so long the pods of a lost node are replaced (Kubernetes' tolerationSeconds)."""

    scrape: float = 10.0
    lag: float = 0.5
    decide: float = 10.0
    poll: float = 1.0
    drain_least: float = 10.0
    teardown: float = 5.0
    eviction: float = 300.0
    sample: float = 10.0
    """The timeline has a point at least so often."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation. `tiers` in the order of the route, cheapest first; `share`: percent of the requests that go to
    the reference tier where a classifier decides (None: what `labels` of the trace say is not used).

    `budget`: GPUs that there are, by product ("": of all products together); of a product that is not named there are
    as many as anybody asks for. `priorities` weigh the tiers under it (1 unless given)."""

    tiers: tuple[Tier, ...]
    route_name: str
    route: ModelRouteSpec
    trace: Trace
    targets: Targets = DEFAULT_TARGETS
    timing: Timing = Timing()
    seed: int = 0
    share: float | None = None
    budget: Mapping[str, int] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    what_if: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    assumed_route: bool = False

    @property
    def seconds(self) -> float:
        """How long is simulated."""
        return self.trace.duration

    @property
    def served(self) -> Mapping[str, ServedTier]:
        """The tiers that have replicas, by name."""
        return {tier.name: tier for tier in self.tiers if isinstance(tier, ServedTier)}
