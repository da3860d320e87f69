"""Turns a simulation that has ended into its result: what was counted, as values, and what follows from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from decimal import Decimal

from tierwise.routing.cost import NOTHING
from tierwise.routing.savings import NoSavings, PricedTier, Savings, savings
from tierwise_sim.replay.account import TierAccount, distribution
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.result import (
    REVERSAL_SECONDS,
    Changes,
    GpuSeconds,
    SavingsResult,
    Setup,
    SimulationResult,
    TierResult,
    Total,
)
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scenario import Scenario, ServedTier, Tier

_MICRO = Decimal("0.000001")
_HOUR = 3600
_MILLION = 1_000_000


def summary(done: Simulation, autoscaler: str) -> SimulationResult:
    """The result of a simulation that has run to its end. `autoscaler`: the name of who decided."""
    scenario = done.scenario
    all_answered = sum(account.answered for account in done.account.tiers.values())
    tiers = tuple(
        _tier(tier, done.account.tiers[tier.name], done.fleets.get(tier.name), scenario.seconds, all_answered)
        for tier in scenario.tiers
    )
    total = _total(tiers, done.account.all(), scenario.seconds)
    found = _savings(done, total.dollars)
    return SimulationResult(
        setup=_setup(scenario, autoscaler),
        tiers=tiers,
        total=total,
        savings=found if isinstance(found, SavingsResult) else None,
        no_savings=found if isinstance(found, str) else "",
        notes=(*scenario.notes, *_notes(done)),
    )


def _setup(scenario: Scenario, autoscaler: str) -> Setup:
    timing = scenario.timing
    startups = {tier.startup_seconds for tier in scenario.served.values()}
    return Setup(
        trace=scenario.trace.name,
        seconds=scenario.seconds,
        arrivals=len(scenario.trace.arrivals),
        seed=scenario.seed,
        autoscaler=autoscaler,
        targets=scenario.targets,
        startup_seconds=startups.pop() if len(startups) == 1 else None,
        scrape_seconds=timing.scrape,
        decide_seconds=timing.decide,
        routers=scenario.route.replicas,
        route=scenario.route_name,
        faults=tuple(str(fault) for fault in scenario.faults),
        what_if=scenario.what_if,
    )


def _tier(tier: Tier, account: TierAccount, fleet: TierFleet | None, seconds: float, answered: int) -> TierResult:
    served = tier if isinstance(tier, ServedTier) else None
    gpu_seconds = GpuSeconds() if fleet is None else _rounded(fleet.gpu_seconds)
    return TierResult(
        name=tier.name,
        external=served is None,
        gpu="" if served is None else served.gpu,
        gpus_per_replica=0 if served is None else served.gpus,
        gpu_hour=None if served is None else served.gpu_hour,
        startup_seconds=0.0 if served is None else served.startup_seconds,
        requests=account.requests(),
        share=round(account.answered / answered, 6) if answered else 0.0,
        tokens=account.tokens(),
        ttft=distribution(account.ttft),
        inter_token=distribution(account.inter_token),
        dollars=_dollars(served, account, gpu_seconds),
        gpu_seconds=gpu_seconds,
        replicas_mean=0.0 if served is None else round(gpu_seconds.total / served.gpus / seconds, 4),
        replicas_peak=max((point.replicas for point in fleet.timeline), default=0) if fleet is not None else 0,
        changes=Changes() if fleet is None else changes(fleet.changes, seconds),
        seconds_at_maximum=0.0 if fleet is None else round(fleet.seconds_at_maximum, 3),
        seconds_at_budget=0.0 if fleet is None else round(fleet.seconds_at_budget, 3),
        limited_seconds={} if fleet is None else {why: round(took, 3) for why, took in sorted(fleet.limited.items())},
        timeline=() if fleet is None else tuple(fleet.timeline),
    )


def _dollars(served: ServedTier | None, account: TierAccount, occupied: GpuSeconds) -> Decimal:
    """On the allocation basis: what is paid for replicas, busy or not, and for metered tokens."""
    if served is None:
        return account.dollars.quantize(_MICRO)
    if served.gpu_hour is None:
        return NOTHING
    return (Decimal(occupied.total) * served.gpu_hour / _HOUR).quantize(_MICRO)


def _rounded(seconds: GpuSeconds) -> GpuSeconds:
    return GpuSeconds(round(seconds.ready, 3), round(seconds.starting, 3), round(seconds.draining, 3))


def changes(made: Sequence[tuple[float, int, int]], seconds: float) -> Changes:
    """What changes of the replicas, as (time, before, after), come to."""
    ups = sum(1 for _, before, after in made if after > before)
    reversals = 0
    for (earlier, a, b), (later, c, d) in itertools.pairwise(made):
        reversals += (b > a) != (d > c) and later - earlier <= REVERSAL_SECONDS
    hours = seconds / _HOUR
    return Changes(
        ups=ups,
        downs=len(made) - ups,
        reversals=reversals,
        per_hour=round(len(made) / hours, 3),
        reversals_per_hour=round(reversals / hours, 3),
    )


def _total(tiers: Sequence[TierResult], account: TierAccount, seconds: float) -> Total:
    dollars = sum((tier.dollars for tier in tiers), NOTHING)
    tokens, requests = account.tokens(), account.requests()
    judged = [tier for tier in tiers if tier.requests.judged]
    worst = min(judged, key=lambda tier: (tier.requests.attainment or 0.0, tier.name), default=None)
    count = tokens.prompt + tokens.output
    return Total(
        dollars=dollars,
        dollars_per_hour=(dollars * _HOUR / Decimal(seconds)).quantize(_MICRO),
        dollars_per_million_tokens=(dollars * _MILLION / count).quantize(_MICRO) if count else None,
        gpu_seconds=_sum(tier.gpu_seconds for tier in tiers),
        requests=requests,
        tokens=tokens,
        ttft=distribution(account.ttft),
        inter_token=distribution(account.inter_token),
        attainment=requests.attainment,
        worst_tier="" if worst is None else worst.name,
        worst_attainment=None if worst is None else worst.requests.attainment,
        share={tier.name: tier.share for tier in tiers},
        changes=_all_changes([tier.changes for tier in tiers]),
    )


def _sum(many: Iterable[GpuSeconds]) -> GpuSeconds:
    found = list(many)
    return GpuSeconds(
        round(sum(each.ready for each in found), 3),
        round(sum(each.starting for each in found), 3),
        round(sum(each.draining for each in found), 3),
    )


def _all_changes(many: Sequence[Changes]) -> Changes:
    return Changes(
        ups=sum(each.ups for each in many),
        downs=sum(each.downs for each in many),
        reversals=sum(each.reversals for each in many),
        per_hour=round(sum(each.per_hour for each in many), 3),
        reversals_per_hour=round(sum(each.reversals_per_hour for each in many), 3),
    )


def _savings(done: Simulation, paid: Decimal) -> SavingsResult | str:
    route = done.routers[0].route
    ladder = [PricedTier(tier.name, tier.tariff, tier.concurrency) for tier in route.tiers]
    found = savings(done.account.work(done.scenario.seconds), ladder, route.reference.name)
    if isinstance(found, NoSavings):
        return found.why
    return _saved(found, paid if route.reference.external else None)


def _saved(found: Savings, paid: Decimal | None) -> SavingsResult:
    below = None if paid is None or not found.baseline else 100 * (found.baseline - paid) / found.baseline
    return SavingsResult(
        reference=found.reference,
        baseline=found.baseline.quantize(_MICRO),
        lower_baseline=found.lower_baseline.quantize(_MICRO),
        actual=found.actual.quantize(_MICRO),
        saved_percent=_percent(found.saved_percent),
        lower_bound_percent=_percent(found.lower_bound_percent),
        parts={part.tactic: part.amount.quantize(_MICRO) for part in found.parts},
        paid_percent=_percent(below),
        notes=found.notes,
    )


def _percent(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(Decimal("0.01"))


def _notes(done: Simulation) -> Iterable[str]:
    yield from done.scenario.trace.notes
    for tier in done.scenario.served.values():
        yield f"step times of {tier.name} on {tier.gpu}: {tier.steps.source}, {tier.steps.detail}"
    if done.scenario.route.budget is not None:
        yield "spec.budget of the route is not simulated: nothing is refused for it"
    if done.scenario.assumed_route:
        yield "the manifests have no ModelRoute: one over all tiers is assumed, cheapest first as they are written"
    if done.operator.failures:
        yield f"deciding met a defect {len(done.operator.failures)} times; the tier kept what it had"
