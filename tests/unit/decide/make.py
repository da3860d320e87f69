"""Tiers, pods and snapshots for the tests of deciding, and a loop that keeps memory and replicas between decisions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.builders.workloads import scale_to
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import decide, remember, resume
from tierwise.decide.state_codec import restore
from tierwise.types import (
    MISSING,
    Decision,
    DeploymentFacts,
    InferenceServiceFacts,
    MetricsHealth,
    PodFacts,
    PodSample,
    RouterSample,
    RouterSignals,
    Signal,
    Snapshot,
    State,
    TierKey,
    TierObject,
    TierPlan,
    TierSignals,
    TierState,
    TierView,
    Workload,
)

NOW = 1_800_000_000.0
KEY = TierKey("team", "chat")
SEQUENCES, WAITING = 16, 4  # a share of 20 requests
K = 100_000.0


def spec(*, replicas: int | None = None, batching: Any = None, **scaling: Any) -> ModelTierSpec:
    """A spec with 1 to 10 replicas of 16 + 4 requests; keyword arguments go to scaling (camelCase)."""
    return ModelTierSpec.model_validate(
        {
            "model": {"name": "m", "uri": "hf://org/m"},
            "batching": {"maxSequences": SEQUENCES, **(batching or {})},
            "scaling": {"minReplicas": 1, "maxReplicas": 10, "waitingPerReplica": WAITING, **scaling},
            "replicas": replicas,
        }
    )


def value(number: float, at: float = NOW) -> Signal:
    """A signal that may be trusted."""
    return Signal(State.VALUE, number, at)


def sample(name: str, running: float, waiting: float = 0, *, kv: float = 0.0, at: float = NOW) -> PodSample:
    """A measured replica."""
    return PodSample(name, value(running, at), value(waiting, at), value(kv, at), value(K, at))


def pod(name: str, *, ready: bool = True, terminating: bool = False) -> PodFacts:
    """A pod."""
    return PodFacts(name, f"uid-{name}", "Running", ready=ready, terminating=terminating, scheduled=True)


def router(
    name: str = "router-0",
    *,
    wanted: float = 0.0,
    waiting: float = 0.0,
    in_flight: float = 0.0,
    refused: float = 0.0,
    ready: bool = True,
    at: float = NOW,
) -> RouterSample:
    """A measured router."""
    return RouterSample(
        name, 0.0 if ready else None, *(value(number, at) for number in (wanted, waiting, in_flight, refused))
    )


def measured_as(router: RouterSample, kind: str, signal: Signal) -> RouterSample:
    """The router with another signal of this kind."""
    fields: dict[str, Any] = {kind: signal}
    return replace(router, **fields)


def heard(*routers: RouterSample, routes: tuple[str, ...] = ("chat",), **fields: Any) -> RouterSignals:
    """What these routers of a route say."""
    return RouterSignals(routes, routers=tuple(sorted(routers, key=lambda each: each.router)), **fields)


def view(
    tier: ModelTierSpec | None,
    samples: tuple[PodSample, ...] = (),
    *,
    current: int | None = 1,
    ready: tuple[str, ...] | None = None,
    tokens: Signal = MISSING,
    **workload: Any,
) -> TierView:
    """A tier with these samples, ready unless said otherwise; `current` None: no Deployment."""
    names = tuple(each.pod for each in samples) if ready is None else ready
    deployment = (
        None
        if current is None
        else DeploymentFacts("chat-predictor", "d", "7", 1, 1, current, current, current, current)
    )
    service = InferenceServiceFacts("chat", "i", "5", {}, owned=True)
    return TierView(
        TierObject(KEY, "uid", 1, "3", tier, ModelTierStatus()),
        (
            Workload(
                **{
                    "name": KEY.name,
                    "inference_service": service,
                    "deployment": deployment,
                    "pods": tuple(pod(name) for name in sorted({*names, *(each.pod for each in samples)})),
                    "ready_endpoints": frozenset(names),
                    **workload,
                }
            ),
        ),
        TierSignals(tuple(sorted(samples, key=lambda each: each.pod)), tokens_per_request=tokens),
    )


HEALTHY = MetricsHealth(ok=True, at=NOW)
SETTLED = TierState(recommended=1)


def plan(
    seen: TierView, memory: TierState = SETTLED, *, now: float = NOW, metrics: MetricsHealth = HEALTHY
) -> TierPlan:
    """The plan for one tier."""
    state = resume(memory, seen.tier.status, now)
    return decide(Snapshot(now, (seen,), metrics), {seen.tier.key: state}).tiers[0]


def decision(
    seen: TierView, memory: TierState = SETTLED, *, now: float = NOW, metrics: MetricsHealth = HEALTHY
) -> Decision:
    """The decision for one tier."""
    found = plan(seen, memory, now=now, metrics=metrics).decision
    assert found is not None
    return found


def spread(requests: float, replicas: int, *, runs: float = SEQUENCES, at: float = NOW) -> tuple[PodSample, ...]:
    """This many requests on equal replicas, each of which runs `runs` at once; short requests, little KV memory."""
    each = requests / replicas if replicas else 0.0
    return tuple(
        sample(f"pod-{number:03d}", min(each, runs), max(0.0, each - runs), kv=min(each, runs) * 0.001, at=at)
        for number in range(replicas)
    )


@dataclass
class Loop:
    """One tier decided over and over; replicas follow at once, and are ready after `start` seconds."""

    spec: ModelTierSpec
    replicas: int = 1
    now: float = NOW
    start: float = 0.0
    interval: float = 10.0
    memory: TierState = SETTLED
    ready: list[float] = field(default_factory=lambda: [0.0])
    history: list[int] = field(default_factory=list)

    def tick(self, requests: float, *, seconds: float = 10.0, runs: float = SEQUENCES) -> Decision:
        """Time passes, this many requests are in the tier, one decision is made and carried out."""
        self.now += seconds
        up = max(1, sum(1 for since in self.ready if since <= self.now))
        seen = view(self.spec, spread(requests, up, runs=runs, at=self.now), current=self.replicas)
        made = plan(seen, self.memory, now=self.now, metrics=replace(HEALTHY, interval_seconds=self.interval))
        self.memory = made.state
        target = scale_to(made)
        if target is not None:
            self.replicas = target
            self.ready = (self.ready + [self.now + self.start] * self.replicas)[: self.replicas]
        self.history.append(self.replicas)
        assert made.decision is not None
        return made.decision

    def restart(self) -> None:
        """The memory goes through the status."""
        status = ModelTierStatus()
        scaling = status.scaling.model_copy(update={"memory": remember(self.memory)})
        self.memory = restore(status.model_copy(update={"scaling": scaling}), self.now)


def without(samples: tuple[PodSample, ...], name: str, **changes: Any) -> tuple[PodSample, ...]:
    """The samples with one replica's signals changed."""
    return tuple(replace(each, **changes) if each.pod == name else each for each in samples)
