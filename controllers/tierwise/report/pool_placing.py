"""Says where a tier runs: its replicas in each pool, and what they cost there.

What runs in a pool that the tier is leaving costs as well, until it has ended. Its GPUs are those that it was made
with, since the tier says nothing of that pool any more.
"""

from __future__ import annotations

from decimal import Decimal

from tierwise.api.modeltier_status import TierPoolStatus
from tierwise.report.costs import assumed, holds_gpus, money, per_hour, per_million_tokens, replica_gpus
from tierwise.report.report_context import ReportContext
from tierwise.text_sanitize import truncate
from tierwise.types import Signal, State, Workload

_PLACED = 512  # the CRD's maxLength


def cost_per_hour(case: ReportContext) -> Decimal | None:
    """US dollars per hour of all workloads of a tier that we serve; None where one has no price."""
    costs = [_cost(case, workload) for workload in case.workloads]
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _cost(case: ReportContext, workload: Workload) -> Decimal | None:
    spec = case.spec_of(workload)
    if spec is not None:
        return per_hour(spec, workload.pods, replica_gpus(spec, workload))
    return None if not workload.pool or any(map(holds_gpus, workload.pods)) else Decimal(0)


def by_list_price(case: ReportContext, workload: Workload) -> bool:
    """Whether what a workload costs is computed with a list price."""
    return bool(_price_source(case, workload))


def _price_source(case: ReportContext, workload: Workload) -> str:
    pool = case.pools.find(workload.pool) if workload.pool else None
    return "" if pool is None or pool.price is None else pool.price.source


def pool_statuses(case: ReportContext) -> list[TierPoolStatus]:
    """Where the tier runs, and what it was granted there of what it asked for."""
    if case.external or not all(case.pools.find(each.pool) for each in case.view.staying):
        return []
    asked = case.plan.asked.target if case.plan.asked is not None else case.desired
    return [_pool_status(case, workload, asked) for workload in case.view.staying]


def _pool_status(case: ReportContext, workload: Workload, asked: int) -> TierPoolStatus:
    granted, spec = _granted(case, workload), case.spec_of(workload)
    source = _price_source(case, workload)
    return TierPoolStatus(
        name=workload.pool,
        replicas=granted,
        ready=len(workload.ready_endpoints),
        gpus=granted * (spec.resources.gpus if spec is not None else 0),
        wanted=asked,
        cost_per_hour=assumed(money(_cost(case, workload)), bool(source)),
        cost_per_million_tokens=assumed(money(_token_cost(case, workload)), bool(source)),
        price_source=source,
    )


def _token_cost(case: ReportContext, workload: Workload) -> Decimal | None:
    """US dollars per million tokens of a busy replica, where its rate was learned."""
    spec = case.spec_of(workload)
    rate = next((each for each in case.plan.state.rates if each.pool == workload.pool), None)
    if spec is None or spec.price is None or rate is None:
        return None
    hourly = spec.resources.gpus * Decimal(spec.price.gpu_hour)
    return per_million_tokens(hourly, Signal(State.VALUE, rate.tokens_per_second))


def _granted(case: ReportContext, workload: Workload) -> int:
    """Replicas that the pool grants; where nothing was shared out, those that are asked for."""
    if workload.name in dict(case.plan.granted):
        return dict(case.plan.granted)[workload.name]
    return case.desired if len(case.view.staying) == 1 else workload.replicas


def placed(case: ReportContext) -> str:
    """Ready of granted replicas in each pool, those included that the tier is leaving."""
    if case.external:
        return ""
    said = []
    for workload in case.workloads:
        granted = 0 if workload.retired else _granted(case, workload)
        if workload.pool and not (workload.retired and not workload.pods):
            said.append(f"{workload.pool} {len(workload.ready_endpoints)}/{granted}")
    return truncate(", ".join(said), _PLACED)
