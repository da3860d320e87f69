"""Asks the autoscalers of others: shows them a simulated tier as their originals would see it.

Each policy is of one tier and knows nothing of the others; what it may look at is in `policies.observation`. A rule for
a budget that tiers share can stand behind them (`SharedRule`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tierwise_sim.policies.observation import Autoscaler, PodObservation, TierObservation
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.prometheus import Scrape
from tierwise_sim.replay.replica import Phase, SimReplica
from tierwise_sim.replay.router_tier import RouterTier
from tierwise_sim.replay.scaler import Order, World
from tierwise_sim.replay.scenario import ServedTier

MakePolicy = Callable[[ServedTier], Autoscaler]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one tier asks for under a shared budget, in replicas: now, wanted, at least, at most; and the GPUs of one
    replica."""

    tier: str
    desired: int
    wanted: int
    minimum: int
    maximum: int
    gpus: int


SharedRule = Callable[[Sequence[Asked], int], Mapping[str, int]]
"""What each tier gets of so many GPUs."""


class PolicyScaler:
    """One policy for each served tier. `make` makes one; `rule` divides the GPUs of a budget."""

    def __init__(self, tiers: Mapping[str, ServedTier], make: MakePolicy, rule: SharedRule | None = None) -> None:
        self._policies = {name: make(tier) for name, tier in tiers.items()}
        self._rule = rule

    @property
    def period_seconds(self) -> float:
        """That of the policies."""
        return min(policy.period_seconds for policy in self._policies.values())

    def orders(self, world: World, now: float) -> Sequence[Order]:
        """What the policies want, as far as the rule grants it."""
        wishes = {name: policy(observe(world, name, now)) for name, policy in self._policies.items()}
        granted = {name: wish.replicas for name, wish in wishes.items()}
        if self._rule is not None and world.stock.total is not None:
            asked = [_asked(world.fleets[name], granted[name]) for name in granted]
            granted = dict(self._rule(asked, world.stock.total))
        return [
            Order(name, granted[name], at_budget=granted[name] < wish.replicas) for name, wish in wishes.items()
        ]


def _asked(fleet: TierFleet, wanted: int) -> Asked:
    scaling = fleet.tier.spec.scaling
    return Asked(
        fleet.tier.name, fleet.desired, wanted, scaling.min_replicas, scaling.max_replicas, fleet.tier.gpus
    )


def observe(world: World, name: str, now: float) -> TierObservation:
    """One tier as an autoscaler sees it now."""
    fleet, recent = world.fleets[name], world.recent[name]
    tier, spec = fleet.tier, fleet.tier.spec
    seen = [router.tiers[name] for router in world.routers]
    lengths = recent.mean_lengths(now)
    targets = world.scenario.targets
    return TierObservation(
        at=now,
        desired=fleet.desired,
        minimum=spec.scaling.min_replicas,
        maximum=spec.scaling.max_replicas,
        pods=_pods(world, fleet, now),
        prometheus_up=not world.prometheus.away,
        router_queue=float(sum(one.waiting for one in seen)),
        in_flight=float(sum(one.waiting + one.in_flight for one in seen)),
        queued_tokens=float(_queued_tokens(seen, fleet)),
        arrivals=recent.take_arrivals(),
        ttft_p90=recent.ttft_p90(now),
        inter_token_p90=recent.inter_token_p90(now),
        ttft_target=targets.ttft,
        inter_token_target=targets.inter_token,
        input_tokens=None if lengths is None else lengths[0],
        output_tokens=None if lengths is None else lengths[1],
        prefix_hit_ratio=_hit_ratio(world, fleet, now),
        max_batched_tokens=tier.settings.max_num_batched_tokens,
        max_sequences=tier.settings.max_num_seqs,
        last_success_at=recent.last_success_at,
        gpus_per_replica=tier.gpus,
        cost_per_replica_hour=float(tier.gpu_hour or 1) * tier.gpus,
    )


def _pods(world: World, fleet: TierFleet, now: float) -> tuple[PodObservation, ...]:
    pods = [_pod(world, one, now) for one in fleet.replicas if one.phase is not Phase.GONE]
    for name, series in sorted(world.prometheus.pods.items()):
        last = world.prometheus.series(name, now)
        if series.frozen and series.tier == fleet.tier.name and last is not None:
            pods.append(_figures(PodObservation(name, ready=False, exists=False), last, series.kv_tokens))
    return tuple(pods)


def _pod(world: World, one: SimReplica, now: float) -> PodObservation:
    bare = PodObservation(one.name, ready=one.phase is Phase.READY, terminating=one.phase is Phase.DRAINING)
    series = world.prometheus.pods.get(one.name)
    last = world.prometheus.series(one.name, now)
    if series is None or last is None or not series.up:
        return bare
    return PodObservation(
        name=bare.name,
        ready=bare.ready,
        terminating=bare.terminating,
        running=last.running,
        waiting=last.waiting,
        kv_usage=last.kv_usage,
        kv_capacity_tokens=series.kv_tokens,
        sampled_at=last.at,
        waiting_max_1m=series.largest("waiting", now),
        kv_usage_max_1m=series.largest("kv_usage", now),
    )


def _figures(pod: PodObservation, last: Scrape, kv_tokens: float) -> PodObservation:
    return PodObservation(
        name=pod.name,
        ready=pod.ready,
        exists=pod.exists,
        running=last.running,
        waiting=last.waiting,
        kv_usage=last.kv_usage,
        kv_capacity_tokens=kv_tokens,
        sampled_at=last.at,
        waiting_max_1m=last.waiting,
        kv_usage_max_1m=last.kv_usage,
    )


def _queued_tokens(seen: Sequence[RouterTier], fleet: TierFleet) -> int:
    in_routers = sum(job.arrival.prompt_tokens for one in seen for job in one.queue)
    in_engines = sum(waiting.request.prompt_tokens for one in fleet.replicas for waiting in one.engine.waiting)
    return in_routers + in_engines


def _hit_ratio(world: World, fleet: TierFleet, now: float) -> float | None:
    queries = hits = 0.0
    for one in fleet.replicas:
        series = world.prometheus.pods.get(one.name)
        if series is not None:
            queries += series.increase("prefix_queries", 300.0, now) or 0.0
            hits += series.increase("prefix_hits", 300.0, now) or 0.0
    return hits / queries if queries else None
