"""Asks the autoscalers of others: shows them a simulated tier as their originals would see it.

Each policy is of one tier and knows nothing of the others; what it may look at is in `policies.observation`. A rule for
a budget that tiers share can stand behind them (`policies.budget`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

from tierwise_sim.capacity import Workload, at_running, max_running
from tierwise_sim.policies.budget import Ask, BudgetRule, Grants
from tierwise_sim.policies.observation import PodObservation, TierObservation
from tierwise_sim.policies.registry import Choice, Facts
from tierwise_sim.policies.signals import known
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.prometheus import Scrape
from tierwise_sim.replay.router_tier import RouterTier
from tierwise_sim.replay.scaler import Order, World
from tierwise_sim.replay.scenario import Scenario, ServedTier
from tierwise_sim.step_time import Batch
from tierwise_sim.traces.arrival import Arrival


class PolicyScaler:
    """One policy for each served tier. `choice`: which; `rule` makes what divides the GPUs of a budget: of all products
    together where there is one for them, else of each product by itself."""

    def __init__(self, scenario: Scenario, choice: Choice, rule: Callable[[], BudgetRule] | None = None) -> None:
        self._policies = {name: choice.new(facts(scenario, tier)) for name, tier in scenario.served.items()}
        self._policy = choice.policy
        limited = [""] if "" in scenario.budget else sorted(scenario.budget)
        self._rules = {product: rule() for product in limited} if rule is not None else {}

    @property
    def period_seconds(self) -> float:
        """That of the policies."""
        return min(policy.period_seconds for policy in self._policies.values())

    @property
    def instant(self) -> bool:
        """As the policy says."""
        return self._policy.instant

    @property
    def wakes_at_once(self) -> bool:
        """As the policy says."""
        return self._policy.wakes_at_once

    def orders(self, world: World, now: float) -> Sequence[Order]:
        """What the policies want, as far as the rule grants it."""
        seen = {name: observe(world, name, now) for name in self._policies}
        wishes = {name: policy(seen[name]).replicas for name, policy in self._policies.items()}
        if not self._rules:
            return [Order(name, wish) for name, wish in wishes.items()]
        weights = world.scenario.priorities
        asks = [
            replace(_ask(world.fleets[name], seen[name], wish), priority=float(weights.get(name, 1)))
            for name, wish in wishes.items()
        ]
        grants = self._granted(world, asks)
        return [
            Order(
                tier=name,
                replicas=grants.replicas[name],
                at_budget=grants.replicas[name] < wish,
                preempted=grants.preempted.get(name, 0),
            )
            for name, wish in wishes.items()
        ]

    def _granted(self, world: World, asks: Sequence[Ask]) -> Grants:
        replicas, preempted = {ask.tier: ask.wish for ask in asks}, dict[str, int]()
        for product, rule in self._rules.items():
            mine = [ask for ask in asks if product in ("", world.fleets[ask.tier].tier.gpu)]
            if mine:
                grants = rule(mine, world.stock.limits[product])
                replicas |= grants.replicas
                preempted |= grants.preempted
        return Grants(replicas, preempted)


def _ask(fleet: TierFleet, seen: TierObservation, wish: int) -> Ask:
    scaling, gpus = fleet.tier.spec.scaling, fleet.tier.gpus
    usages = [pod.kv_usage for pod in seen.pods if pod.kv_usage is not None]
    return Ask(
        tier=fleet.tier.name,
        wish=wish,
        current=fleet.count(Phase.READY) + fleet.count(Phase.STARTING) + fleet.count(Phase.DRAINING),
        gpus=gpus,
        floor=scaling.min_replicas * gpus,
        minimum=scaling.min_replicas,
        maximum=scaling.max_replicas,
        spare=1.0 - sum(usages) / len(usages) if usages else 1.0,
        queue=seen.router_queue or 0.0,
        cost=seen.cost_per_replica_hour,
    )


def facts(scenario: Scenario, tier: ServedTier) -> Facts:
    """What users of some policies measure of a tier before they use them: here it is computed from the engine model."""
    settings = tier.settings
    tokens = min(settings.max_num_batched_tokens, settings.max_model_len)
    prefill = Batch(prefill=tokens, prefill_context=tokens, prefill_pairs=tokens * tokens / 2, prefills=1)
    mine = [each for each in scenario.trace.arrivals if each.model == tier.name or len(scenario.served) == 1]
    return Facts(
        prefill_tokens_per_second=tokens / tier.steps.step_time.seconds(prefill),
        requests_per_second=_within_targets(scenario, tier, mine) if mine else None,
        rate=_rate([each.at for each in mine]) if mine else None,
    )


def _within_targets(scenario: Scenario, tier: ServedTier, mine: Sequence[Arrival]) -> float:
    """Requests per second that one replica answers with the inter-token target met, by the closed form."""
    settings = tier.settings
    workload = Workload(
        sum(each.prompt_tokens for each in mine) / len(mine), sum(each.output_tokens for each in mine) / len(mine)
    )
    low, high = 1, max_running(settings, workload)
    while low < high:
        middle = (low + high + 1) // 2
        steady = at_running(settings, workload, middle, tier.steps.step_time)
        if steady.token_seconds <= scenario.targets.inter_token:
            low = middle
        else:
            high = middle - 1
    return at_running(settings, workload, low, tier.steps.step_time).requests_per_second


RATE_SECONDS = 60.0


def _rate(times: Sequence[float]) -> Callable[[float], float]:
    """Requests per second in the minute that begins at a time: what only an oracle knows."""

    def rate(at: float) -> float:
        return (bisect_left(times, at + RATE_SECONDS) - bisect_left(times, at)) / RATE_SECONDS

    return rate


def observe(world: World, name: str, now: float) -> TierObservation:
    """One tier as an autoscaler sees it now."""
    fleet, recent = world.fleets[name], world.recent[name]
    tier, spec = fleet.tier, fleet.tier.spec
    seen = [router.tiers[name] for router in world.routers]
    lengths = recent.mean_lengths(now)
    targets = world.scenario.targets
    queue = float(sum(one.waiting for one in seen))
    return TierObservation(
        at=now,
        desired=fleet.desired,
        minimum=spec.scaling.min_replicas,
        maximum=spec.scaling.max_replicas,
        pods=_with_queue(_pods(world, fleet, now), queue),
        prometheus_up=not world.prometheus.away,
        router_queue=queue,
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


def _with_queue(pods: tuple[PodObservation, ...], queue: float) -> tuple[PodObservation, ...]:
    """The pods, with what waits in the routers as waiting in them: where it would wait behind a plain Service.

    Our routers keep it, and most of these autoscalers would not know of it by accident."""
    there = [pod for pod in pods if pod.exists and pod.ready and not pod.terminating and known(pod.waiting)]
    if not there or not queue:
        return pods
    each = queue / len(there)
    return tuple(
        replace(pod, waiting=(pod.waiting or 0.0) + each, waiting_max_1m=(pod.waiting_max_1m or 0.0) + each)
        if pod in there
        else pod
        for pod in pods
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
