"""Holds the replicas of one tier: starts, ends and counts them, as a Deployment and the kubelets would.

A replica that is to end first leaves the endpoints, then finishes what it has, and only then frees its GPUs. Which one
ends is what Kubernetes decides (pkg/controller, ActivePodsWithRanks): one that does not answer yet, then the lowest
deletion cost, then the youngest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tierwise_sim.engine import Engine
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.result import GpuSeconds, Point
from tierwise_sim.replay.scenario import ServedTier

_LIVING = (Phase.PENDING, Phase.STARTING, Phase.READY, Phase.LOST)
_PAID = (Phase.STARTING, Phase.READY, Phase.DRAINING)


class GpuStock:
    """The GPUs that tiers share: `limits` by product, "" for all products together."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self._used: dict[str, int] = {}

    @property
    def used(self) -> int:
        """GPUs that replicas hold."""
        return sum(self._used.values())

    def take(self, product: str, gpus: int) -> bool:
        """Whether so many of a product are free; if so they are taken."""
        mine = self._used.get(product, 0)
        if mine + gpus > self.limits.get(product, mine + gpus):
            return False
        if self.used + gpus > self.limits.get("", self.used + gpus):
            return False
        self._used[product] = mine + gpus
        return True

    def give_back(self, product: str, gpus: int) -> None:
        """So many are free again."""
        self._used[product] -= gpus


class TierFleet:
    """The replicas of one served tier. `waiting` says how many requests wait in the routers."""

    def __init__(self, tier: ServedTier, stock: GpuStock, seed: int, waiting: Callable[[], int]) -> None:
        self.tier = tier
        self.desired = 0
        self.timeline: list[Point] = []
        self.changes: list[tuple[float, int, int]] = []
        self.gpu_seconds = GpuSeconds()
        self.limited: dict[str, float] = {}
        self.seconds_at_maximum = 0.0
        self.seconds_at_budget = 0.0
        self.limited_by = ""
        self.at_budget = False
        self._stock = stock
        self._seed = seed
        self._waiting = waiting
        self._made = 0
        self._accounted = 0.0
        self._replicas: dict[str, SimReplica] = {}
        self._counts = dict.fromkeys(Phase, 0)

    @property
    def replicas(self) -> list[SimReplica]:
        """Those that are there, oldest first."""
        return list(self._replicas.values())

    def find(self, name: str) -> SimReplica:
        """The replica of this name. Raises KeyError when it is gone."""
        return self._replicas[name]

    @property
    def ready(self) -> list[SimReplica]:
        """Those that receive requests."""
        return [one for one in self._replicas.values() if one.phase is Phase.READY]

    def count(self, phase: Phase) -> int:
        """How many replicas are in this phase."""
        return self._counts[phase]

    # --- changes ----------------------------------------------------------------------------------------------------

    def scale(self, target: int, now: float) -> None:
        """Ask for so many replicas; `missing` and `surplus` say what is then to be done."""
        if target != self.desired:
            self.changes.append((now, self.desired, target))
            self.account(now)
            self.desired = target

    def missing(self) -> int:
        """How many replicas are to be made; negative: how many are to end."""
        return self.desired - sum(self._counts[phase] for phase in _LIVING)

    def surplus(self, costs: Mapping[str, int]) -> list[SimReplica]:
        """The replicas that are to end. `costs`: deletion costs by name; the lowest ends first."""
        living = [one for one in self._replicas.values() if one.phase in _LIVING]
        return sorted(living, key=lambda one: _rank(one, costs))[: max(0, -self.missing())]

    def make(self, now: float) -> SimReplica:
        """One more replica, which has no GPU yet."""
        self._made += 1
        name = f"{self.tier.name}-{self._made:05d}"
        chance = Random(f"{self._seed}/{name}")  # noqa: S311
        engine = Engine(self.tier.settings, chance, now, self.tier.steps.step_time)
        made = SimReplica(name, self.tier.name, engine, now)
        self.account(now)
        self._replicas[name] = made
        self._counts[made.phase] += 1
        return made

    def start(self, replica: SimReplica, now: float) -> bool:
        """Whether GPUs are free for a pending replica; if so it starts."""
        if not self._stock.take(self.tier.gpu, self.tier.gpus):
            return False
        self.enter(replica, Phase.STARTING, now)
        return True

    def enter(self, replica: SimReplica, phase: Phase, now: float) -> None:
        """A replica goes into another phase; one that stops being paid for frees its GPUs."""
        self.account(now)
        before, replica.phase = replica.phase, phase
        self._counts[before] -= 1
        if phase is Phase.GONE:
            del self._replicas[replica.name]
        else:
            self._counts[phase] += 1
        if phase is Phase.READY:
            replica.ready_at = now
        if phase is Phase.DRAINING:
            replica.ended_at = now
        if before in _PAID and phase not in _PAID:
            self._stock.give_back(self.tier.gpu, self.tier.gpus)
        self.note(now)

    # --- counting ---------------------------------------------------------------------------------------------------

    def account(self, now: float) -> None:
        """Count the time since the last change."""
        seconds = now - self._accounted
        if seconds <= 0:
            return
        self._accounted = now
        each = seconds * self.tier.gpus
        counts, before = self._counts, self.gpu_seconds
        self.gpu_seconds = GpuSeconds(
            before.ready + each * counts[Phase.READY],
            before.starting + each * counts[Phase.STARTING],
            before.draining + each * counts[Phase.DRAINING],
        )
        if self.desired >= self.tier.spec.scaling.max_replicas:
            self.seconds_at_maximum += seconds
        if self.at_budget or counts[Phase.PENDING]:
            self.seconds_at_budget += seconds
        if self.limited_by:
            self.limited[self.limited_by] = self.limited.get(self.limited_by, 0.0) + seconds

    def decided(self, now: float, limited_by: str, *, at_budget: bool) -> None:
        """What a decision said besides the number."""
        if (limited_by, at_budget) != (self.limited_by, self.at_budget):
            self.account(now)
            self.limited_by, self.at_budget = limited_by, at_budget

    def note(self, now: float) -> None:
        """Write a point of the timeline."""
        ready = self.ready
        usage = sum(one.engine.kv_usage for one in ready) / len(ready) if ready else 0.0
        alive = [one for one in self._replicas.values() if one.alive]
        point = Point(
            at=now,
            desired=self.desired,
            ready=self._counts[Phase.READY],
            starting=self._counts[Phase.STARTING],
            draining=self._counts[Phase.DRAINING],
            waiting=self._waiting() + sum(one.waiting for one in alive),
            running=sum(one.running for one in alive),
            kv=round(usage, 4),
        )
        if self.timeline and self.timeline[-1].at == now:
            self.timeline.pop()
        self.timeline.append(point)


def _rank(replica: SimReplica, costs: Mapping[str, int]) -> tuple[int, int, float, str]:
    order = {Phase.PENDING: 0, Phase.LOST: 1, Phase.STARTING: 1}.get(replica.phase, 2)
    youngest = -(replica.ready_at if replica.ready_at is not None else replica.created_at)
    return order, costs.get(replica.name, 0), youngest, replica.name
