"""Says how the classifier of a route stands, from what its routers say.

A router reads the file itself, so only the routers know whether it can be used. Where they disagree (one has read the
new file, the other not yet) the worst word counts: a person should hear of the router that goes by rules.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.api.modelroute_status import ClassifierStatus
from tierwise.report.conditions import ConditionUpdate, Truth, condition_update
from tierwise.types import ClassifierReport, ClassifierStanding, RouteView

REFUSED = "Refused"
_KNOWN = frozenset(entry.word for entry in reasons.table() if reasons.CLASSIFIER_READY in entry.where)


def classifier_condition(view: RouteView) -> ConditionUpdate | None:
    """The condition ClassifierReady; None for a route without the policy Classifier."""
    spec = view.route.spec
    if spec is None or spec.policy.type != "Classifier" or view.route.deleting:
        return None
    report = view.signals.classifier
    if report is None or not report.standings:
        return condition_update(reasons.CLASSIFIER_READY, "Unknown", reasons.CLASSIFIER_UNKNOWN)
    worst = _worst(report)
    if worst.reason not in _KNOWN:  # of another release
        return condition_update(reasons.CLASSIFIER_READY, "Unknown", reasons.CLASSIFIER_UNKNOWN)
    status: Truth = "False" if worst.state == REFUSED else "True"
    return condition_update(reasons.CLASSIFIER_READY, status, worst.reason)


def classifier_status(view: RouteView) -> ClassifierStatus | None:
    """What is known of the classifier; None for a route without one."""
    spec, report = view.route.spec, view.signals.classifier
    if spec is None or spec.policy.type != "Classifier" or spec.policy.classifier is None:
        return None
    name = spec.policy.classifier.config_map_name
    used = None if report is None else next((one for one in report.standings if one.digest), None)
    if report is None or used is None:
        return ClassifierStatus(config_map_name=name)
    return ClassifierStatus(
        config_map_name=name,
        hash=used.digest,
        mode="Shadow" if used.state == "Shadows" else "Act",
        labels=None if report.labels is None else int(report.labels),
        needed_share_percent=_whole(report.needed_share),
        share_percent=_whole(report.applied_share),
        quality_percent=_tenths(report.expected_quality),
        quality_lower_percent=_tenths(report.lower_quality),
    )


def _worst(report: ClassifierReport) -> ClassifierStanding:
    """A refusal before a shift before what is well; among equals the one that most routers say."""

    def badness(one: ClassifierStanding) -> tuple[bool, bool]:
        return one.state == REFUSED, one.reason == reasons.TRAFFIC_SHIFTED

    return max(report.standings, key=badness)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _tenths(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
