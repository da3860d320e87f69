"""Exports what a router makes of the content of requests: which classifier it uses, or why none, and with which
share."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from tierwise_router.router_state import RouterState

_PREFIX = "tierwise_router_"


def content_metrics(state: RouterState) -> Iterator[Metric]:
    """The series, as they are now."""
    content = state.content
    standing = _gauge(
        "classifier",
        "1 for the classifier as it stands: in use or refused, why, and which file.",
        "state",
        "reason",
        "hash",
    )
    said = content.standing(state.route)
    if said is not None:
        standing.add_metric(said, 1)
    labels = _gauge("classifier_labels", "Labels that the classifier in use has learned from.")
    share = _gauge("reference_share_percent", "Percent of requests for the reference tier, by who says so.", "part")
    quality = _gauge("predicted_quality_percent", "Percent of the reference's quality at the present share.", "part")
    shift = _gauge("score_shift_points", "Largest difference of the scores from those of the training.", "part")
    active, parts = content.active, content.share
    if active is not None and parts is not None:
        labels.add_metric([], active.classifier.header.labels)
        for part, value in (("needed", parts.needed), ("wanted", parts.wanted), ("applied", parts.applied)):
            share.add_metric([part], value)
        predicted = active.predicted(parts.applied)
        quality.add_metric(["expected"], predicted.quality_percent)
        quality.add_metric(["lower"], predicted.lower_percent)
        quality.add_metric(["unpressed"], active.predicted(parts.wanted).quality_percent)
        if active.window.shift is not None:
            shift.add_metric(["seen"], active.window.shift.points)
            shift.add_metric(["allowed"], active.window.shift.allowed_points)
    pressure = _gauge(
        "pressure_requests",
        "Requests per second at a full reference tier that cannot grow: those that the share decides, others, and what "
        "it completes; and how many wait.",
        "part",
    )
    load = content.load
    if load is not None:
        parts_of = {"arrivals": load.arrivals, "capacity": load.capacity, "fixed": load.fixed, "queued": load.queued}
        for name, rate in sorted(parts_of.items()):
            if rate is not None:
                pressure.add_metric([name], rate)
    shadow = CounterMetricFamily(
        _PREFIX + "shadow_choices", "Tiers that a policy in shadow mode would have chosen.", labels=("tier", "policy")
    )
    for pair, count in sorted(content.shadow_choices.items()):
        shadow.add_metric(pair, count)
    kept = _gauge("conversations", "Conversations whose tier is remembered.")
    kept.add_metric([], len(content.conversations))
    yield from (standing, labels, share, quality, shift, pressure, shadow, kept)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)
