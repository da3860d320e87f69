"""Builds the status and the Events of a GPUPool.

Everything that a person reads is here: the counts, what they cost, whose price that is, and one word for the whole.
The counts follow the load, so a status is written as a tier's is (`throttle`), and never when it says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tierwise import reasons
from tierwise.api.gpupool import GPUPoolStatus, PoolBudget, PoolGPUStatus
from tierwise.api.kinds import GPU_POOL
from tierwise.ports import EventRecord
from tierwise.report.conditions import ConditionUpdate, Truth, condition_update, find, merge
from tierwise.report.costs import assumed, money
from tierwise.report.throttle import QUIET_SECONDS
from tierwise.text_sanitize import truncate
from tierwise.types import PoolPrice, PoolUse, PoolView

EVENTS_NAMESPACE = "default"  # where Events about objects without a namespace belong
OBSERVE = "Observe"
_NOTE = 1000
_WATCHED = (reasons.ACCEPTED, reasons.CAPACITY_KNOWN, reasons.WITHIN_BUDGET)
_VOLATILE = ("used", "pending", "others", "free", "cost_per_hour")


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What is to be told about one pool: its new status, and the Events on the way there (not yet deduplicated)."""

    name: str
    uid: str
    status: GPUPoolStatus
    events: tuple[EventRecord, ...] = ()


def report_pool(view: PoolView, use: PoolUse, tiers: int, at: float) -> PoolReport:
    """The report on one pool. `use`: what the tiers hold of it, as it was shared out; `tiers`: how many name it; `at`:
    seconds since the epoch."""
    old = view.pool.status
    updates = evaluate_pool(view, use)
    word, reason = _state(view, use, {each.type: each for each in updates})
    status = GPUPoolStatus(
        observed_generation=view.pool.generation,
        capacity=view.capacity,
        nodes=f"{view.ready_nodes}/{view.nodes}",
        used=use.used,
        pending=use.pending,
        others=view.others,
        free=_free(view, use),
        budget=_budget(view),
        tiers=tiers,
        pricePerGPUHour="" if view.price is None else f"{view.price.usd:f}",
        price_source="" if view.price is None else view.price.source,
        cost_per_hour=assumed(money(_usd(view, use)), view.price is not None and view.price.assumed),
        gpu=_gpu(view),
        state=word,
        reason=reason,
        conditions=merge(old.conditions, updates, view.pool.generation, at),
    )
    return PoolReport(view.name, view.pool.uid, status, _events(view, old, status))


def should_write_pool(old: GPUPoolStatus, new: GPUPoolStatus, last_write_age: float | None) -> bool:
    """Whether `new` must replace `old` now. `last_write_age`: seconds since this process last wrote this status, None
    when it never did."""
    if old == new:
        return False
    if _important(old) != _important(new):
        return True
    return last_write_age is None or last_write_age >= QUIET_SECONDS


def _important(status: GPUPoolStatus) -> GPUPoolStatus:
    blank = GPUPoolStatus()
    conditions = [each.model_copy(update={"message": "", "last_transition_time": ""}) for each in status.conditions]
    return status.model_copy(update={**{name: getattr(blank, name) for name in _VOLATILE}, "conditions": conditions})


def evaluate_pool(view: PoolView, use: PoolUse) -> tuple[ConditionUpdate, ...]:
    """The verdicts on one pool, in the order in which a person should read them."""
    return (_accepted(view), _counted(view), _priced(view.price), _within_budget(view, use), _ready(view, use))


def _accepted(view: PoolView) -> ConditionUpdate:
    if view.pool.spec is None:
        return _say(reasons.ACCEPTED, "False", reasons.INVALID_POOL, view.pool.invalid)
    if view.overlaps:
        others = ", ".join(view.overlaps)
        said = f"nodes that nodeSelector selects are in an older pool ({others}), and count there"
        return _say(reasons.ACCEPTED, "False", reasons.NODES_SHARED, said)
    return _say(reasons.ACCEPTED, "True", reasons.VALID)


def _counted(view: PoolView) -> ConditionUpdate:
    if view.unknown is not None:
        reason, said = view.unknown
        return _say(reasons.CAPACITY_KNOWN, "False", reason, said)
    if view.nodes == 0:
        return _say(reasons.CAPACITY_KNOWN, "True", reasons.NO_NODES)
    return _say(reasons.CAPACITY_KNOWN, "True", _empty(view) or reasons.COUNTED, _ready_nodes(view))


def _ready_nodes(view: PoolView) -> str:
    return f"{view.ready_nodes} of {view.nodes} nodes are Ready"


def _empty(view: PoolView) -> str:
    """Why a pool has no GPU at all; empty where it has some, or where that is not known."""
    if view.capacity != 0:
        return ""
    if view.nodes == 0:
        return reasons.NO_NODES
    return reasons.NODES_LEND_NOTHING if view.ready_nodes else reasons.NODES_NOT_READY


def _priced(price: PoolPrice | None) -> ConditionUpdate:
    if price is None:
        return _say(reasons.PRICED, "False", reasons.NO_PRICE)
    if price.assumed:
        said = f"${price.usd:f} per GPU-hour is assumed: {price.source}"
        return _say(reasons.PRICED, "True", reasons.PRICE_ASSUMED, said)
    return _say(reasons.PRICED, "True", reasons.PRICE_DECLARED, f"${price.usd:f} per GPU-hour")


def _within_budget(view: PoolView, use: PoolUse) -> ConditionUpdate:
    over = _over(view, use)
    if over:
        return _say(reasons.WITHIN_BUDGET, "False", reasons.OVER_BUDGET, over)
    return _say(reasons.WITHIN_BUDGET, "True", reasons.BUDGET_KEPT, _budget(view) or "there is no budget")


def _ready(view: PoolView, use: PoolUse) -> ConditionUpdate:
    if view.capacity is None or view.others is None:
        return _say(reasons.POOL_READY, "Unknown", reasons.POOL_UNKNOWN)
    if empty := _empty(view):
        return _say(reasons.POOL_READY, "False", empty, _ready_nodes(view) if view.nodes else "")
    if not _free(view, use) or _room(view, use) <= 0:
        return _say(reasons.POOL_READY, "True", reasons.POOL_FULL)
    return _say(reasons.POOL_READY, "True", reasons.POOL_FREE)


def _state(view: PoolView, use: PoolUse, said: dict[str, ConditionUpdate]) -> tuple[str, str]:
    ready, budget = said[reasons.POOL_READY], said[reasons.WITHIN_BUDGET]
    if view.pool.deleting:
        return "Deleting", ready.reason
    if view.pool.spec is None:
        return "Rejected", reasons.INVALID_POOL
    if ready.status == "Unknown":
        return "Unknown", said[reasons.CAPACITY_KNOWN].reason
    if empty := _empty(view):
        return "Empty", empty
    if budget.status == "False":
        return "OverBudget", budget.reason
    if ready.reason == reasons.POOL_FULL:
        return "Full", ready.reason
    return "Ready", ready.reason


def _free(view: PoolView, use: PoolUse) -> int | None:
    if view.capacity is None or view.others is None:
        return None
    return max(0, view.capacity - view.others - use.used)


def _limits(view: PoolView) -> PoolBudget:
    return view.pool.spec.budget if view.pool.spec is not None else PoolBudget()


def _room(view: PoolView, use: PoolUse) -> Decimal:
    """GPUs that the budget still allows; a large number where it does not limit."""
    budget, room = _limits(view), Decimal(10**9)
    if budget.gpus is not None:
        room = min(room, Decimal(budget.gpus - use.used))
    if budget.usd_per_hour is not None and view.price is None:
        return Decimal(0)
    if budget.usd_per_hour is not None and view.price is not None and view.price.usd > 0:
        room = min(room, Decimal(budget.usd_per_hour) // view.price.usd - use.used)
    return room


def _over(view: PoolView, use: PoolUse) -> str:
    budget = _limits(view)
    if budget.gpus is not None and use.used > budget.gpus:
        return f"the tiers use {use.used} GPUs, the budget is {budget.gpus}"
    if budget.usd_per_hour is None or view.price is None:
        return ""
    spent = use.used * view.price.usd
    if spent > Decimal(budget.usd_per_hour):
        return f"the tiers use {money(spent)} US dollars per hour, the budget is {budget.usd_per_hour}"
    return ""


def _budget(view: PoolView) -> str:
    budget = _limits(view)
    gpus = "" if budget.gpus is None else "1 GPU" if budget.gpus == 1 else f"{budget.gpus} GPUs"
    usd = "" if budget.usd_per_hour is None else f"${budget.usd_per_hour}/h"
    return ", ".join(part for part in (gpus, usd) if part)


def _usd(view: PoolView, use: PoolUse) -> Decimal | None:
    """What costs is what a node runs: a pending replica costs nothing yet."""
    return None if view.price is None else (use.used - use.pending) * view.price.usd


def _gpu(view: PoolView) -> PoolGPUStatus:
    gpu = view.gpu
    return PoolGPUStatus(
        product=truncate(gpu.product, 63),
        memory="" if gpu.memory_mib is None else f"{gpu.memory_mib}Mi",
        compute_capability="" if gpu.capability is None else f"{gpu.capability[0]}.{gpu.capability[1]}",
    )


def _events(view: PoolView, old: GPUPoolStatus, new: GPUPoolStatus) -> tuple[EventRecord, ...]:
    found = []
    if None not in (old.capacity, new.capacity) and old.capacity != new.capacity:
        said = f"{old.capacity} → {new.capacity} GPUs: {new.nodes} nodes are Ready"
        found.append(_event(view, reasons.POOL_CHANGED, said))
    for kind in _WATCHED:
        before, after = find(old.conditions, kind), find(new.conditions, kind)
        if after is None or (before is not None and (before.status, before.reason) == (after.status, after.reason)):
            continue
        if after.status == "False":
            found.append(_event(view, after.reason, after.message, warning=True))
        elif before is not None and before.status == "False":
            found.append(_event(view, after.reason, after.message))
    return tuple(found)


def _event(view: PoolView, reason: str, message: str, *, warning: bool = False) -> EventRecord:
    return EventRecord(
        namespace=EVENTS_NAMESPACE,
        name=view.name,
        uid=view.pool.uid,
        reason=reason,
        message=truncate(message, _NOTE),
        action=OBSERVE,
        warning=warning,
        kind=GPU_POOL.name,
    )


def _say(kind: str, status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(kind, status, reason, detail)
