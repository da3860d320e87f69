"""A process that takes over what it made of settled tiers does what one that computes everything anew does.

Both live through the same hours: the same loads, accidents and interventions in two equal clusters. After every cycle
their clusters are the same to the last byte (statuses, resource versions, replicas), and so are their writes, their
Events and their plans. Of the signals of a decision only the times may differ: those of a settled tier are the first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.unit.act.worlds import deployment_ref, service_ref
from tests.unit.reconcile.rollouts import TIER, Town
from tierwise.errors import Transient
from tierwise.observe import Observer, Samples, World
from tierwise.observe import signals as kinds
from tierwise.observe.records import PodRecord
from tierwise.observe.route_object import route_object
from tierwise.observe.signals import PodKey, PodReadings
from tierwise.reconcile import CycleResult, OperatorState, run
from tierwise.settled import SettledTiers
from tierwise.types import PodFacts, Snapshot, TierKey, TierOutcome, TierPlan, TierState

NAMESPACE, ROUTER = "default", "route-router-0"


class NeverSettled(SettledTiers):
    """Keeps nothing."""

    def settle_in_turns(
        self,
        snapshot: Snapshot,
        states: Mapping[TierKey, TierState],
        made: Iterable[tuple[TierPlan, TierOutcome | None, Any]],
        *,
        writing: bool,
    ) -> Generator[None, None, None]:
        yield


@dataclass
class Life(Town):
    """A tier under load, measured or not, with an operator that leads or not."""

    forgetful: bool = False
    running: float = 100.0
    waiting: float = 0.0
    prefix: float = 0.4
    lag: float = 4.0  # from a scrape to its use
    measured: bool = True
    answering: bool = True
    leading: bool = True
    nonsense: bool = False
    behind: World | None = None
    settled_cycles: int = 0
    routed: bool = False
    heard: bool = True  # whether the router is measured
    wanted: float = 0.0
    queued: float = 0.0
    _last: Samples = field(default_factory=Samples)

    def restart(self) -> None:
        self.kept = OperatorState(settled=NeverSettled()) if self.forgetful else OperatorState()

    def samples(self) -> Samples:
        if not self.answering:
            return replace(self._last, problem="nobody answers")
        now = self.clock.at
        ready = [pod for pod in self.pods if pod.ready(now)]
        share = 1 / max(1, len(ready))
        values = {
            kinds.UP: 1.0,
            kinds.RUNNING: float("nan") if self.nonsense else self.running * share,
            kinds.WAITING: self.waiting * share,
            kinds.KV_USAGE: min(1.0, self.running * share / 400),
            kinds.KV_CAPACITY: 400_000.0,
            kinds.FINISHED: 80.0,
            kinds.PROMPT_TOKENS: 8000.0,
            kinds.ANSWER_TOKENS: 8000.0,
            kinds.PREFIX_QUERIES: 1000.0,
            kinds.PREFIX_HITS: 1000.0 * self.prefix,
            kinds.TOKEN_RATE: 50.0,
        }
        found = PodReadings(values, dict.fromkeys(values, now - self.lag)) if self.measured else PodReadings({}, {})
        pods = {PodKey(NAMESPACE, "chat", pod.name): found for pod in ready}
        if self.routed and self.heard:
            said = {kinds.WANTED: self.wanted, kinds.QUEUED: self.queued, kinds.IN_FLIGHT: 0.0, kinds.REFUSED: 0.0}
            pods[PodKey(NAMESPACE, "chat", ROUTER)] = PodReadings(said, dict.fromkeys(said, now - self.lag))
        self._last = Samples(pods=pods, answered_at=now - 1)
        return self._last

    def _world(self) -> World:
        world = super()._world()
        if not self.routed:
            return world
        spec = {"tiers": [{"name": "chat"}]}
        route = {"metadata": {"name": "route", "namespace": NAMESPACE, "uid": "r", "generation": 1}, "spec": spec}
        router = PodRecord(NAMESPACE, "route-router", PodFacts(ROUTER, "u", "Running", True, False, True))
        return replace(world, routes=[route_object(route)], pods=[*world.pods, router])

    async def live(self, seconds: float) -> CycleResult:
        self.clock.at += seconds
        self._kserve()
        self._roll()
        if self.forgetful:
            self.kept.observer = Observer()
        world = self.behind if self.behind is not None else self._world()
        done = await run(world, self.samples(), self.store, self.clock, self.kept, writing=self.leading)
        self.settled_cycles += bool(self.kept.settled.tiers)
        return done


def _spec(**change: Any) -> Callable[[Life], None]:
    def edit(life: Life) -> None:
        body = life.store.seen(TIER)
        metadata = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
        life.store.put(TIER, {**body, "metadata": metadata, "spec": {**body["spec"], **change}})

    return edit


def _set(**values: Any) -> Callable[[Life], None]:
    def change(life: Life) -> None:
        for name, value in values.items():
            setattr(life, name, value)

    return change


def _by_hand(life: Life) -> None:
    body = life.store.seen(deployment_ref())
    life.store.put(deployment_ref(), {**body, "spec": {**body["spec"], "replicas": 2}})


def _edited(life: Life) -> None:
    body = life.store.seen(service_ref())
    body["spec"]["predictor"]["containers"][0]["image"] = "somebody/else:1"
    life.store.put(service_ref(), body)


def _evicted(life: Life) -> None:
    if life.pods:
        life.pods.pop(0)


def _crashes(life: Life) -> None:
    if life.pods:
        life.pods[0].image = "crashes"


def _touched(life: Life) -> None:
    """Somebody writes a label: another resource version, and nothing else."""
    life.store.put(TIER, life.store.seen(TIER))


def _lags(life: Life) -> None:
    life.behind = None if life.behind is not None else life._world()


def _refuses(life: Life) -> None:
    failing = life.store.failing
    if failing:
        failing.clear()
    else:
        failing |= {"status": Transient("nobody answers"), "event": Transient("nobody answers")}


def _asks(life: Life) -> None:
    life.wanted += 1.0


def _clock(seconds: float) -> Callable[[Life], None]:
    def change(life: Life) -> None:
        life.clock.at += seconds

    return change


ACTIONS: dict[str, Callable[[Life], None]] = {
    "more load": _set(running=350.0),
    "a queue": _set(waiting=60.0),
    "no queue": _set(waiting=0.0),
    "less load": _set(running=20.0),
    "as before": _set(running=100.0),
    "no prefix hits": _set(prefix=0.0),
    "prefix hits": _set(prefix=0.4),
    "old scrapes": _set(lag=31.0),
    "fresh scrapes": _set(lag=4.0),
    "older scrapes": _set(lag=9.0),
    "not measured": _set(measured=False),
    "measured": _set(measured=True),
    "Prometheus is away": _set(answering=False),
    "Prometheus is back": _set(answering=True),
    "no numbers": _set(nonsense=True),
    "numbers": _set(nonsense=False),
    "standby": _set(leading=False),
    "leader": _set(leading=True),
    "restart": Life.restart,
    "scaling": _spec(scaling={"minReplicas": 2, "maxReplicas": 6}),
    "pinned": _spec(replicas=2),
    "zero": _spec(replicas=0),
    "may be at zero": _spec(scaling={"minReplicas": 0, "idleSeconds": 30, "scaleDownWindowSeconds": 20}),
    "nobody": _set(running=0.0, waiting=0.0),
    "a route": _set(routed=True),
    "no route": _set(routed=False),
    "a request": _asks,
    "requests wait": _set(queued=30.0),
    "none waits": _set(queued=0.0),
    "the router is not measured": _set(heard=False),
    "the router is measured": _set(heard=True),
    "price": _spec(price={"gpuHour": "3.1"}),
    "advisory": _spec(scaling={"mode": "Advisory", "maxReplicas": 6}),
    "by hand": _by_hand,
    "edited": _edited,
    "evicted": _evicted,
    "crashes": _crashes,
    "touched": _touched,
    "the informer lags": _lags,
    "statuses cannot be written": _refuses,
    "the clock is set back": _clock(-300.0),
    "the clock is set forward": _clock(3600.0),
}


def _without_times(done: CycleResult) -> list[TierPlan]:
    plans = []
    for plan in done.plan.tiers:
        decision = plan.decision
        if decision is not None:
            signals = tuple(replace(each, signal=replace(each.signal, at=None)) for each in decision.signals)
            decision = replace(decision, signals=signals)
        plans.append(replace(plan, decision=decision))
    return plans


async def _live(steps: list[tuple[str, int, float]]) -> int:
    """Both lives through the same steps; in how many cycles the tier was settled."""
    both = [Life(), Life(forgetful=True)]
    for life in both:
        life.restart()
        life.apply("good-1", scaling={"maxReplicas": 6, "scaleDownWindowSeconds": 60})
    for name, cycles, seconds in [("", 16, 10.0), *steps]:
        for life in both:
            if name:
                ACTIONS[name](life)
        for _ in range(cycles):
            one, other = [await life.live(seconds) for life in both]
            assert _without_times(one) == _without_times(other)
            assert one.outcome == other.outcome
            assert one.report == other.report
            for attribute in ("_objects", "writes", "events", "reads"):
                assert getattr(both[0].store, attribute) == getattr(both[1].store, attribute)
            assert both[0].kept.tiers == both[1].kept.tiers
    return both[0].settled_cycles


steps = st.tuples(
    st.sampled_from(sorted(ACTIONS)), st.integers(1, 9), st.sampled_from([0.1, 3.0, 10.0, 10.0, 20.0, 45.0])
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=8))
def test_what_is_taken_over_is_what_would_be_made(life: list[tuple[str, int, float]]) -> None:
    event(f"settled in about {round(asyncio.run(_live(life)), -1)} cycles")


def test_a_tier_settles_at_zero_and_is_woken() -> None:
    chosen = random.Random(8)
    life = [("a route", 1, 10.0), ("nobody", 1, 10.0), ("may be at zero", 30, 10.0)]
    for name in ("a request", "requests wait", "none waits", "the router is not measured", "the router is measured"):
        life += [(name, 20, 10.0 + chosen.random())]
    life += [("no route", 6, 10.0), ("a route", 25, 10.0), ("restart", 20, 10.0), ("a request", 4, 10.0)]
    assert asyncio.run(_live(life)) > 40


def test_the_tier_settles_again_and_again() -> None:
    """Otherwise the property would say nothing."""
    chosen = random.Random(7)
    life = [("touched", 12, 10.0)]
    for name in ("more load", "as before", "price", "touched", "evicted", "restart", "standby", "leader"):
        life += [(name, 20, 10.0 + chosen.random())]
    assert asyncio.run(_live(life)) > 60
