"""Says what is known of a route's quality: a condition, columns and Events."""

from __future__ import annotations

from collections.abc import Iterable

from tierwise import reasons
from tierwise.api.modelroute_status import QualityStatus
from tierwise.ports import EventRecord
from tierwise.report.conditions import ConditionUpdate, condition_update
from tierwise.report.events import OBSERVE, record
from tierwise.routing.alarm import LEARN
from tierwise.types import RoutePlan, RouteView

KIND = "ModelRoute"


def quality_condition(view: RouteView, plan: RoutePlan) -> ConditionUpdate | None:
    """The condition QualityKept; None for a route whose quality is not measured."""
    spec, found = view.route.spec, plan.quality
    if spec is None or spec.quality is None or found is None or view.route.deleting:
        return None
    watch = found.watch
    if not found.samples and not watch.usual_good + watch.usual_bad:
        return condition_update(reasons.QUALITY_KEPT, "Unknown", reasons.NO_VERDICTS)
    if watch.alarm:
        return condition_update(reasons.QUALITY_KEPT, "False", reasons.QUALITY_FELL, _fell(found))
    target = spec.policy.classifier.quality_percent if spec.policy.classifier is not None else None
    if target is not None and found.upper_percent and float(found.upper_percent) < target:
        said = f"at most {found.upper_percent} % of the reference tier's quality, and {target} % are promised"
        return condition_update(reasons.QUALITY_KEPT, "False", reasons.QUALITY_BELOW_TARGET, said)
    if watch.usual_good + watch.usual_bad < LEARN:
        return condition_update(reasons.QUALITY_KEPT, "Unknown", reasons.QUALITY_LEARNING)
    return condition_update(reasons.QUALITY_KEPT, "True", reasons.QUALITY_AS_PROMISED)


def _fell(found: QualityStatus) -> str:
    """Nothing in it changes with every verdict: usual is what was before."""
    watch = found.watch
    usual = watch.usual_good + watch.usual_bad
    return (
        f"more answers of cheaper tiers are judged worse than the usual {100 * watch.usual_bad / max(1, usual):.0f} %"
    )


def quality_shown(plan: RoutePlan) -> str:
    """The column QUALITY."""
    found = plan.quality
    if found is None or not found.samples:
        return ""
    return f"{found.parity_percent} ({found.lower_percent}-{found.upper_percent})"


def pressure_shown(plan: RoutePlan) -> str:
    """The column PRESSED: the share of the reference tier, what quality asks for, and what that costs."""
    pressed = plan.pressure
    if pressed is None:
        return ""
    return f"{pressed.applied_percent}/{pressed.wanted_percent} {pressed.quality_cost_points}".rstrip()


def moves(view: RouteView, plan: RoutePlan) -> Iterable[EventRecord]:
    """An Event for each change of the share that is new."""
    before, found = view.route.status.quality, plan.quality
    if found is None:
        return
    known = {move.at for move in before.moves} if before is not None else set[str]()
    for move in found.moves:
        if move.at not in known:
            word = reasons.SHARE_RAISED if move.points > 0 else reasons.SHARE_LOWERED
            said = f"the share of the reference tier is changed by {move.points:+d} points: quality {move.quality} %"
            yield record(view.route, word, said, OBSERVE, kind=KIND)
