"""Holds what one decision leaves for the next.

The status of the object is only its encoding (`tierwise.decide.state_codec`), so a simulator needs no API server.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tierwise.api.modeltier_status import RolloutStatus
from tierwise.types.snapshot import Workload


@dataclass(frozen=True, slots=True)
class Peak:
    """A recommendation and when it was last made."""

    replicas: int
    at: float


@dataclass(frozen=True, slots=True)
class PoolClamp:
    """The most replicas of a tier that nodes of a pool took, since when (seconds since the epoch), and after how many
    tries (see `tierwise.decide.fleet.clamp`)."""

    pool: str
    replicas: int
    since: float
    tries: int


@dataclass(frozen=True, slots=True)
class PoolRate:
    """Tokens per second of one busy replica in a pool (see `tierwise.decide.pool_rates`), and for which spec."""

    pool: str
    tokens_per_second: float
    learned_for: str


@dataclass(frozen=True, slots=True)
class Flow:
    """How many requests per second came to a tier, around a time."""

    at: float
    rate: float


@dataclass(frozen=True, slots=True)
class LengthCapacity:
    """What one replica can take of requests of one length.

    `prompt`, `answer`: tokens up to which; `rate`: requests per second of a full replica; `share`: the part of that at
    which the service level is kept."""

    prompt: int
    answer: int
    rate: float
    share: float


@dataclass(frozen=True, slots=True)
class TierState:
    """What one decision leaves for the next; `ScalingMemory` in the status is how it survives a restart.

    `recommended` is None while nothing is remembered: the target must then not fall for one window. What stands below
    `learned_for` is not kept across a restart; losing it never lowers a target."""

    recommended: int | None = None
    peaks: tuple[Peak, ...] = ()
    requests_per_replica: float | None = None
    learned_for: str = ""
    resumed: bool = False  # right after a restart: what the old process saw last is not known
    # Replicas with a queue in the last sample, and what they ran (-1: it waited in routers).
    queued: tuple[tuple[str, float], ...] = ()
    measured: tuple[tuple[str, float], ...] | None = None  # replicas, and when each was first sampled; None: not known
    flows: tuple[Flow, ...] = ()  # what came in the last minutes, oldest first
    backlog: tuple[Flow, ...] = ()  # requests that waited in the last minute, oldest first
    capacities: tuple[LengthCapacity, ...] = ()  # what a replica can take, by length; the present one first
    startup_seconds: float | None = None  # from a pod's creation to its readiness; None: not measured
    sampled_at: float | None = None  # when the newest sample of the last decision was taken
    observed_at: float | None = None  # when the last decision from complete metrics was made
    forgotten_until: float | None = None  # until when replicas are held because nothing was remembered
    clamps: tuple[PoolClamp, ...] = ()  # pools in which pods could not be scheduled, sorted by pool
    rates: tuple[PoolRate, ...] = ()  # sorted by pool
    wants: tuple[tuple[str, float], ...] | None = None  # how often each router had wanted it; None: not known
    wanted_at: float | None = None  # when it was last wanted, as far as it was watched; None: not known, or it is at 0
    called: bool = False  # whether it is at 0 and has been wanted since
    heard_at: float | None = None  # when all routers and replicas were last measured in full
    doubts: tuple[tuple[str, float], ...] = ()  # reasons of advice not given yet, and since when they hold
    # What counts only once the status has it, so that a process that dies, or a standby that takes over, knows it too.
    rollout: RolloutStatus = field(default_factory=RolloutStatus)  # of the workload without a pool
    rollouts: tuple[tuple[str, RolloutStatus], ...] = ()  # of those in pools, by name
    accepted: tuple[int, bool] | None = None  # the generation that was judged last, and whether it was accepted
    advised: tuple[str, ...] = ()  # reasons of the advice that is given, sorted
    advised_for: int = 0  # for which generation
    scaled_at: float | None = None  # when replicas were last changed by us; None: never
    slept: bool = False  # whether that change was to 0

    def rollout_of(self, workload: Workload) -> RolloutStatus:
        """The progress of a change in one of the workloads; an empty one of a workload that is new."""
        return dict(self.rollouts).get(workload.name, RolloutStatus()) if workload.pool else self.rollout
