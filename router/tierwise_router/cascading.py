"""Joins the cascade to a request on its way: which attempts are held, what is counted, when a dearer tier is free."""

from __future__ import annotations

from tierwise.routing.cascade import Decision, Features
from tierwise.routing.route import RouteTier
from tierwise_router.cascade import Cascading, Holding, logged
from tierwise_router.job import Job
from tierwise_router.logprobs import Asking
from tierwise_router.router_state import RouterState
from tierwise_router.tier import Tier

_NOT_UNDERSTOOD = (400, 403, 404, 422)


def asked(job: Job, tier: Tier) -> Asking | None:
    """How log-probabilities are asked for in an attempt at this tier; None where they are not."""
    found = _asked(job, tier)
    return None if found is None else found.asked


def holding(state: RouterState, job: Job, tier: Tier) -> Holding | None:
    """What holds the answer of an attempt at this tier; None where nothing does."""
    found = _asked(job, tier)
    if found is None:
        return None

    def decide(seen: Features | None, tool_call: bool) -> Decision:
        return _decided(state, job, found, seen, tool_call)

    return Holding(found.plan.rule, found.asked, decide)


def goes_without(job: Job, tier: Tier, status: int) -> bool:
    """Whether a refusal may be of what we have added: the request is then made again as the client wrote it."""
    found = _asked(job, tier)
    if found is None or not found.asked.strip or status not in _NOT_UNDERSTOOD:
        return False
    found.without = True
    return True


def answered(state: RouterState, job: Job, tier: Tier) -> None:
    """An attempt at this tier was answered; if only as the client wrote it, then so are the next ones."""
    found = job.cascade
    if found is not None and found.without and found.decision is None and tier.spec.name == found.plan.cheap.name:
        state.cascades.refuses(tier.spec.name, state.monotonic())
        _decided(state, job, found, None, tool_call=False)


def _asked(job: Job, tier: Tier) -> Cascading | None:
    found = job.cascade
    if found is None or found.without or found.decision is not None or tier.spec.name != found.plan.cheap.name:
        return None
    return found


def _decided(state: RouterState, job: Job, found: Cascading, seen: Features | None, tool_call: bool) -> Decision:
    free = _is_free(state, job, found.plan.dearer)
    decision = state.cascades.decide(found, seen, tool_call, free)
    shadow = found.plan.rule.shadow
    state.ledger.cascades[decision.value, "shadow" if shadow else "act"] += 1
    job.record.cascade = logged(decision, seen, shadow)
    return decision


def _is_free(state: RouterState, job: Job, spec: RouteTier) -> bool:
    """Whether this tier would take the request now: it is neither full nor broken, and the budget has room for it."""
    tier = state.tiers.get(spec.name)
    now = state.monotonic()
    if tier is None or state.saturated().get(spec.name, True):
        return False
    if not any(not one.draining and one.breaker.allows(now) for one in tier.replicas):
        return False
    amount = job.estimate(spec)
    account = state.purse.account
    return account is None or not amount or amount <= account.left
