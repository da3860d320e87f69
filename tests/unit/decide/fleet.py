"""A tier in virtual time: the engine model, users in a closed loop, scrapes one after another, and the real decisions.

What the simulation has of the real thing and a formula has not: engines are scraped at different moments, a new replica
takes time to start and more to be scraped, and a request stays on the replica that it was sent to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from tests.builders.workloads import deletion_costs, scale_to
from tests.unit.decide.make import HEALTHY, KEY, heard, pod, router, view
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import decide
from tierwise.decide.router_demand import LATELY_SECONDS
from tierwise.types import (
    MISSING,
    NO_ROUTERS,
    Decision,
    PodSample,
    RouterSignals,
    Signal,
    Snapshot,
    State,
    TierState,
)
from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection, Request
from tierwise_sim.settings import EngineSettings

SCRAPE = 10.0
TICK = 10.0
STEP = 0.25


@dataclass
class Replica:
    """One engine: since when it answers, when it is scraped next, and the last scrape."""

    name: str
    engine: Engine
    ready_at: float
    scrape_at: float
    sample: PodSample | None = None


@dataclass
class Fleet:
    """One tier and its users."""

    spec: ModelTierSpec
    settings: EngineSettings
    start_seconds: float = 30.0
    prompt: int = 200
    answer: int = 100
    seed: int = 1
    now: float = 0.0
    users: int = 0
    wanted: int = 1
    memory: TierState = field(default_factory=lambda: TierState(recommended=1))
    replicas: list[Replica] = field(default_factory=list)
    leaving: list[Replica] = field(default_factory=list)
    history: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    finished: int = 0

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        self._active = 0
        self._made = 0
        self._turn = 0
        self._scale(1, start=0.0)

    def run(self, seconds: float, watch: Callable[[], None] = lambda: None) -> None:
        """Let time pass; a decision every tick."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = round(self.now + STEP, 6)
            self._advance()
            self._scrape()
            self._send()
            if self.now % TICK < 1e-9:
                self._decide()
                watch()

    def _ready(self) -> list[Replica]:
        return [each for each in self.replicas if each.ready_at <= self.now]

    def _advance(self) -> None:
        for replica in [*self.replicas, *self.leaving]:
            done = replica.engine.advance(self.now)
            self._active -= len(done)
            self.finished += len(done)

    def _send(self) -> None:
        ready = self._ready()
        while ready and self._active < self.users:
            self._turn += 1
            prompt = max(1, round(self.prompt * self._rng.uniform(0.5, 1.5)))
            answer = max(1, round(self.answer * self._rng.uniform(0.5, 1.5)))
            replica = ready[self._turn % len(ready)]
            sent = replica.engine.submit(Request(f"r{self._turn}", prompt, answer), self.now)
            assert not isinstance(sent, Rejection)
            self._active += 1

    def _scrape(self) -> None:
        for replica in [*self.replicas, *self.leaving]:
            if replica.ready_at <= self.now and replica.scrape_at <= self.now:
                replica.scrape_at += SCRAPE
                engine = replica.engine
                figures = (len(engine.running), len(engine.waiting), engine.kv_usage, self.settings.kv_tokens)
                signals = (Signal(State.VALUE, float(figure), self.now) for figure in figures)
                replica.sample = PodSample(replica.name, *signals)

    def _heard(self) -> RouterSignals:
        """What routers say of the tier: here there are none."""
        return NO_ROUTERS

    def _finished_lately(self) -> Signal:
        """Requests that ended in the last minute: not looked at here."""
        return MISSING

    def _decide(self) -> None:
        ready = tuple(each.name for each in self._ready())
        samples = tuple(each.sample for each in (*self.replicas, *self.leaving) if each.sample is not None)
        pods = tuple(pod(each.name) for each in sorted((*self.replicas, *self.leaving), key=lambda each: each.name))
        mean = Signal(State.VALUE, float(self.prompt + self.answer), self.now) if self.finished else MISSING
        seen = view(self.spec, samples, current=self.wanted, ready=ready, tokens=mean, pods=pods)
        signals = replace(seen.signals, finished_lately=self._finished_lately())
        seen = replace(seen, routers=self._heard(), signals=signals)
        plan = decide(Snapshot(self.now, (seen,), HEALTHY), {KEY: self.memory}).tiers[0]
        self.memory = plan.state
        assert plan.decision is not None
        self.decisions.append(plan.decision)
        target = scale_to(plan)
        if target is not None:
            self._scale(target, start=self.start_seconds, costs=dict(deletion_costs(plan)))
        self.history.append(self.wanted)

    def _scale(self, replicas: int, *, start: float, costs: dict[str, int] | None = None) -> None:
        self.wanted = replicas
        while len(self.replicas) < replicas:
            self._made += 1
            ready_at = self.now + start
            engine = Engine(self.settings, Random(self._made), now=ready_at)
            first = ready_at + self._rng.uniform(0, SCRAPE)
            self.replicas.append(Replica(f"pod-{self._made:03d}", engine, ready_at, first))
        order = sorted(self.replicas, key=lambda each: (costs or {}).get(each.name, 0))
        for replica in order[: len(self.replicas) - replicas]:
            self.replicas.remove(replica)
            if replica.ready_at <= self.now:
                self.leaving.append(replica)
        self.leaving = [each for each in self.leaving if each.engine.unfinished]


@dataclass
class RoutedFleet(Fleet):
    """The same behind a router that gives a replica at most `concurrency` requests at a time; the rest waits in it. Its
    counters are scraped as often as engines are, at moments of their own."""

    concurrency: int = 16
    waiting: int = 0
    said: RouterSignals | None = None

    def _send(self) -> None:
        self.waiting += max(0, self.users - self._active)
        self._active = max(self._active, self.users)
        while self.waiting:
            free = [each for each in self._ready() if _load(each) < self.concurrency]
            if not free:
                break
            self.waiting -= 1
            self._turn += 1
            prompt = max(1, round(self.prompt * self._rng.uniform(0.5, 1.5)))
            answer = max(1, round(self.answer * self._rng.uniform(0.5, 1.5)))
            sent = min(free, key=_load).engine.submit(Request(f"r{self._turn}", prompt, answer), self.now)
            assert not isinstance(sent, Rejection)
        if self.said is None or self.now % SCRAPE < 1e-9:
            self.said = heard(router(wanted=self._turn, waiting=self.waiting, at=self.now))

    def _heard(self) -> RouterSignals:
        assert self.said is not None
        return self.said


@dataclass
class SpillingFleet(RoutedFleet):
    """A router that sends elsewhere what finds no place. `arrivals` come in a second, whatever becomes of them."""

    arrivals: float = 0.0
    spilled: list[float] = field(default_factory=list)
    ended: list[tuple[float, int]] = field(default_factory=list)

    def _send(self) -> None:
        self.ended.append((self.now, self.finished))
        arrived = int(self.now * self.arrivals) - int((self.now - STEP) * self.arrivals)
        free = sum(max(0, self.concurrency - _load(each)) for each in self._ready())
        self.spilled += [self.now] * max(0, arrived - free)
        self.users = self._active + min(arrived, free)
        super()._send()
        if self.now % SCRAPE < 1e-9:
            lately = sum(1 for at in self.spilled if at > self.now - LATELY_SECONDS)
            self.said = heard(router(wanted=self._turn, waiting=self.waiting, refused=lately, at=self.now))

    def _finished_lately(self) -> Signal:
        before = [count for at, count in self.ended if at <= self.now - LATELY_SECONDS] or [0]
        return Signal(State.VALUE, float(self.finished - before[-1]), self.now)


def _load(replica: Replica) -> int:
    return len(replica.engine.running) + len(replica.engine.waiting)
