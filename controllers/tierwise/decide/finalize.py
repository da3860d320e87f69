"""Turns what a tier was granted into a decision: nothing falls on doubt, and what a person says wins.

Up goes at once and in one jump, from whatever is known; down only through all of `STEPS`, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import from_zero, stabilization
from tierwise.decide.allocate import Grant
from tierwise.decide.trail import Trail
from tierwise.times import rfc3339
from tierwise.types import Decision, MetricsHealth, TierState, TierView


@dataclass(slots=True)
class _Tier:
    """One tier on its way through the steps: they read what was granted, and change the trail and the state."""

    grant: Grant
    view: TierView
    spec: ModelTierSpec
    metrics: MetricsHealth
    now: float
    trail: Trail
    state: TierState

    @property
    def cap(self) -> int:
        """What holds the replicas up never holds them above this."""
        return min(self.trail.current, self.spec.scaling.max_replicas)

    @property
    def window(self) -> float:
        """Seconds for which a recommendation counts."""
        return float(self.spec.scaling.scale_down_window_seconds)


def finalize(
    grant: Grant, view: TierView, spec: ModelTierSpec, metrics: MetricsHealth, now: float
) -> tuple[Decision, TierState]:
    """The decision for one tier that we serve, and the state that it leaves. `now`: seconds since the epoch."""
    recommendation = grant.recommendation
    trail = Trail(recommendation.current, recommendation.steps)
    tier = _Tier(grant, view, spec, metrics, now, trail, recommendation.state)
    for step in STEPS:
        step(tier)
    reason, message = _why(trail, spec)
    decision = Decision(
        current=trail.current,
        target=trail.replicas,
        reason=reason,
        message=message,
        limited_by=trail.limited_by,
        steps=tuple(trail.steps),
        signals=recommendation.signals,
    )
    return decision, tier.state


def _bounds(tier: _Tier) -> None:
    trail, scaling = tier.trail, tier.spec.scaling
    low, high, wanted = scaling.min_replicas, scaling.max_replicas, tier.grant.replicas
    if wanted > high:
        trail.step("bounds", high, reasons.MAX_REPLICAS, f"{wanted} replicas, of which maxReplicas allows {high}")
    elif wanted < low:
        trail.step("bounds", low, reasons.MIN_REPLICAS, f"{wanted} replicas, minReplicas asks for {low}")
    else:
        trail.step("bounds", wanted)


def _remember(tier: _Tier) -> None:
    """Keep the recommendation for the window. No step of the trail: it changes no replica now."""
    recommendation, state, now, window = tier.grant.recommendation, tier.state, tier.now, tier.window
    if not tier.view.deployments or recommendation.load is None:
        return
    complete, asked = not (recommendation.missing or recommendation.unheard), tier.trail.replicas
    new = state.resumed or state.recommended is None
    if new and not complete:
        return
    if new:
        forgotten = now + window if state.recommended is None else None
        held = stabilization.held(state, tier.trail.current, now, window)
        state = replace(held, resumed=False, forgotten_until=forgotten)
    if complete:
        interval = tier.metrics.interval_seconds
        tier.state = stabilization.remembered(state, asked, now, window, interval=interval)
    else:
        tier.state = stabilization.raised(state, asked, now, window)


def _metrics(tier: _Tier) -> None:
    trail, cap, recommendation = tier.trail, tier.cap, tier.grant.recommendation
    low = max(1, tier.spec.scaling.min_replicas)
    unmeasured = recommendation.load is None and low < trail.replicas <= trail.current
    if (trail.replicas < cap or unmeasured) and recommendation.missing:
        said = from_zero.named(recommendation.missing)
        trail.step("metrics", max(cap, trail.replicas), reasons.NO_METRICS, said)
    elif trail.replicas < cap and recommendation.unheard:
        trail.step("metrics", cap, reasons.NO_ROUTER_METRICS, from_zero.named(recommendation.unheard))
    else:
        trail.step("metrics", trail.replicas)


def _window(tier: _Tier) -> None:
    trail, state = tier.trail, tier.state
    peak = stabilization.floor(state, tier.now, tier.window)
    kept = trail.replicas if peak is None else min(tier.cap, peak.replicas)
    if peak is not None and kept > trail.replicas:
        forgotten = state.forgotten_until is not None and tier.now < state.forgotten_until
        said = f"{peak.replicas} replicas were recommended until {rfc3339(peak.at)}, {tier.window:.0f} s count"
        trail.step("window", kept, reasons.NO_MEMORY if forgotten else reasons.SCALE_DOWN_WINDOW, said)
    else:
        trail.step("window", trail.replicas)


def _headroom(tier: _Tier) -> None:
    trail, load = tier.trail, tier.grant.recommendation.load
    enough = 0 if load is None else min(tier.cap, stabilization.with_headroom(load.replicas))
    if enough > trail.replicas:
        said = f"with {enough - 1} replicas the rest would be above {stabilization.HEADROOM:.0%} of their share"
        trail.step("headroom", enough, reasons.HEADROOM, said)
    else:
        trail.step("headroom", trail.replicas)


def _idle(tier: _Tier) -> None:
    """Only of a tier with minReplicas 0, and only of its last replica."""
    view, spec, trail = tier.view, tier.spec, tier.trail
    if not from_zero.applies(spec):
        return
    tier.state, wanted = from_zero.look(view, tier.state, tier.metrics, tier.now)
    verdict = from_zero.judge(view, spec, tier.state, wanted, tier.metrics)
    if trail.replicas > 1:
        trail.step("idle", trail.replicas)
    else:
        trail.step("idle", verdict.replicas, verdict.reason, verdict.message)


def _pin(tier: _Tier) -> None:
    pinned = tier.spec.replicas
    if pinned is not None:
        tier.trail.step("pin", pinned, reasons.PINNED, f"spec.replicas fixes {pinned} replicas")
    else:
        tier.trail.step("pin", tier.trail.replicas)


def _mode(tier: _Tier) -> None:
    trail, others = tier.trail, tier.view.foreign_scalers
    if others:
        trail.step("mode", trail.replicas, reasons.FOREIGN_SCALER, ", ".join(others))
    elif tier.spec.scaling.mode == "Advisory":
        trail.step("mode", trail.replicas, reasons.ADVISORY, "computed, not written")
    else:
        trail.step("mode", trail.replicas)


STEPS: tuple[Callable[[_Tier], None], ...] = (
    _bounds,  # scaling.minReplicas and maxReplicas
    _remember,  # what was recommended counts for one window
    _metrics,  # without complete metrics the target does not fall
    _window,  # ...and not below what was recommended within the window
    _headroom,  # ...and only as far as the rest stays under 80 %
    _idle,  # minReplicas 0: the last replica ends when nobody wants it, and starts when somebody does
    _pin,  # spec.replicas overrides all of it
    _mode,  # a foreign scaler, or Advisory: computed, not written
)


def _why(trail: Trail, spec: ModelTierSpec) -> tuple[str, str]:
    """The reason of the change (or of there being none), and the sentence that belongs to it."""
    target, current, high = trail.replicas, trail.current, spec.scaling.max_replicas
    if spec.replicas is not None:
        reason = reasons.PINNED
    elif 0 in (target, current):
        reason = trail.reason("idle") or _why_up(trail)
    elif target < current:
        reason = reasons.MAX_REPLICAS if target == high else reasons.LOAD
    elif target > current:
        reason = _why_up(trail)
    else:
        reason = trail.limited_by or reasons.LOAD
    if reason == reasons.MAX_REPLICAS and target < current:
        return reason, f"maxReplicas allows {high}"
    return reason, trail.message(reason) or trail.steps[0].message


def _why_up(trail: Trail) -> str:
    if trail.limited_by == reasons.MIN_REPLICAS:
        return reasons.MIN_REPLICAS
    if trail.reason("targets") == reasons.TARGET:
        return reasons.TARGET
    return trail.reason("ahead") or trail.reason("routers") or reasons.LOAD
