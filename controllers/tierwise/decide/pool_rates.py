"""Learns how many tokens per second one replica of a tier makes in each pool when it has enough to do.

What a token costs in a pool is what a replica costs there, divided by this. It is learned while a queue stands, in the
replica or in routers (`capacity_estimate.has_queue`), as only then a replica shows what it can do: at half load the
dearest GPU makes as many tokens as the cheapest. A queue must stand in two samples in a row, and the number moves a
part of the way to what is seen, as the rate is one of a minute. What was learned belongs to what the replicas are made
from: another quantization, or other GPUs, start again.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.capacity_estimate import SAME_SAMPLE_SECONDS, has_queue, learned_for, newest_sample
from tierwise.decide.demand import median
from tierwise.decide.router_demand import router_demand
from tierwise.types import PoolRate, TierState, TierView, Workload

_STEP = 0.3
_DEAD_BAND = 0.05
_MILLION, _SECONDS_PER_HOUR = Decimal(1_000_000), Decimal(3600)


def learn_rates(view: TierView, state: TierState) -> tuple[PoolRate, ...]:
    """What is known after these samples, sorted by pool. `state`: that of the last decision, with the replicas that had
    a queue then. The same samples again teach nothing."""
    newest, before = newest_sample(view.signals.pods), state.sampled_at
    again = newest is None or (before is not None and abs(newest - before) < SAME_SAMPLE_SECONDS)
    kept = {each.pool: each for each in state.rates}
    found = {}
    for workload in view.staying:
        spec = workload.spec
        if spec is None:
            continue
        known = kept.get(workload.pool)
        if known is not None and known.learned_for != learned_for(spec):
            known = None
        seen = None if again else median(_busy(workload, view, state, spec))
        learned = _towards(known, seen, workload.pool, spec)
        if learned is not None:
            found[workload.pool] = learned
    return tuple(found[pool] for pool in sorted(found))


def _busy(workload: Workload, view: TierView, state: TierState, spec: ModelTierSpec) -> Iterator[float]:
    """The rates of the replicas that have had a queue since the last sample."""
    queued, elsewhere = dict(state.queued), router_demand(view, state).waiting
    for pod in view.signals.pods:
        full = has_queue(spec, state, pod, elsewhere)
        if pod.pod in workload.ready_endpoints and pod.pod in queued and full and pod.tokens_per_second.has_value:
            yield pod.tokens_per_second.value


def _towards(known: PoolRate | None, seen: float | None, pool: str, spec: ModelTierSpec) -> PoolRate | None:
    if seen is None or seen <= 0:
        return known
    if known is None:
        return PoolRate(pool, round(seen, 1), learned_for(spec))
    if abs(seen - known.tokens_per_second) <= _DEAD_BAND * known.tokens_per_second:
        return known
    moved = known.tokens_per_second + _STEP * (seen - known.tokens_per_second)
    return PoolRate(pool, round(moved, 1), known.learned_for)


def usd_per_million_tokens(spec: ModelTierSpec, rate: PoolRate | None) -> Decimal | None:
    """US dollars per million tokens of a busy replica in its pool; None where its price or its rate is not known."""
    if spec.price is None or rate is None or rate.tokens_per_second <= 0:
        return None
    hourly = spec.resources.gpus * Decimal(spec.price.gpu_hour)
    return hourly / _SECONDS_PER_HOUR / Decimal(str(rate.tokens_per_second)) * _MILLION
