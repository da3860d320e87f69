"""Defines the reasons about choosing a tier by content."""

from __future__ import annotations

from tierwise.reasons.table import CLASSIFIER_READY, reason

_WHERE = (CLASSIFIER_READY,)

CLASSIFIER_SERVES = reason(
    "ClassifierServes", _WHERE, "The classifier decides about the requests that no rule matches."
)
CLASSIFIER_SHADOWS = reason(
    "ClassifierShadows",
    _WHERE,
    "The classifier decides and is counted (tierwise_router_shadow_choices_total), and the default tier answers.",
    "Set spec.policy.mode to Act when the counts look right.",
)
TRAFFIC_SHIFTED = reason(
    "TrafficShifted",
    _WHERE,
    "The requests are others than those that were labelled: more of them score high, or fewer, than chance explains. "
    "The promised quality holds for the labelled traffic only.",
    "Label requests of now (`tierwise label`) and train again.",
)
CLASSIFIER_UNKNOWN = reason(
    "ClassifierUnknown",
    _WHERE,
    "No router has said yet what it makes of the classifier.",
    "If it lasts, see that Prometheus scrapes the routers (the chart's PodMonitor).",
)
CLASSIFIER_MISSING = reason(
    "ClassifierMissing",
    _WHERE,
    "There is no file of a classifier; the rules and the default tier decide.",
    "Make the ConfigMap that spec.policy.classifier names, with the key classifier.bin: `tierwise train` writes it.",
)
CLASSIFIER_INVALID = reason(
    "ClassifierInvalid",
    _WHERE,
    "The file of the classifier is broken, too large, of another version or made with another salt than the route's; "
    "the rules and the default tier decide.",
    "Train again with the release that serves and the salt of the route, and apply the manifest as it was written.",
)
CLASSIFIER_MISFIT = reason(
    "ClassifierMisfit",
    _WHERE,
    "The classifier was trained for another route, or for tiers that this one does not have so; the rules and the "
    "default tier decide.",
    "Train with the labels of this route. Both tiers must stand in spec.tiers with use Always, the cheaper one first, "
    "and spec.referenceTier must be the one of the labels.",
)
TOO_FEW_LABELS = reason(
    "TooFewLabels",
    _WHERE,
    "The classifier has learned from fewer than 300 labels, which promises nothing; the rules and the default tier "
    "decide.",
    "Label more requests (`tierwise label`) and train again.",
)
PROMISE_NOT_KEPT = reason(
    "PromiseNotKept",
    _WHERE,
    "The labels do not show with 90 % confidence that any share below 100 % keeps the quality; the rules and the "
    "default tier decide.",
    "Label more requests and train again, or lower spec.policy.classifier.qualityPercent.",
)
