"""Defines the reasons about the quality of a route, as judges see it."""

from __future__ import annotations

from tierwise.reasons.table import QUALITY_KEPT, reason

_WHERE = (QUALITY_KEPT,)

QUALITY_AS_PROMISED = reason(
    "QualityAsPromised",
    _WHERE,
    "Answers of cheaper tiers are as good as they were, and nothing says that the route is below its promise.",
)
QUALITY_FELL = reason(
    "QualityFell",
    _WHERE,
    "Answers of cheaper tiers are judged worse than usual (docs/quality.md says how that is found).",
    "See what has changed: the model or its quantization, the prompts, the judge. The share of the reference tier is "
    "raised where the promise is no longer kept.",
)
QUALITY_BELOW_TARGET = reason(
    "QualityBelowTarget",
    _WHERE,
    "Even the upper bound of the route's quality is below policy.classifier.qualityPercent.",
    "Nothing where the share can be raised: that is done. Else train again, or choose a better cheap tier.",
)
QUALITY_LEARNING = reason(
    "QualityLearning",
    _WHERE,
    "It is not known yet what is usual: there are fewer than 300 verdicts.",
    "Wait, or raise spec.quality.samplePercent.",
)
NO_VERDICTS = reason(
    "NoVerdicts",
    _WHERE,
    "No router has had an answer judged yet.",
    "Requests must reach a cheaper tier; tierwise_router_samples_dropped_total says what became of samples, and the "
    "judge tier must have room.",
)
SHARE_RAISED = reason(
    "ShareRaised", ("Event",), "The share of the reference tier was raised, since the quality was surely too low."
)
SHARE_LOWERED = reason(
    "ShareLowered", ("Event",), "The share of the reference tier was lowered, since the quality is kept with less."
)
