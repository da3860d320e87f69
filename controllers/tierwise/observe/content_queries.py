"""Defines the Prometheus query about choosing by content, and reads its answer.

One query, whatever the number of routes, by the rules of `route_queries`: an absent series stays absent, and only what
was scraped from a router itself counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tierwise.observe.queries import ROUTE_LABEL, SERIES, quote
from tierwise.ports import Series
from tierwise.types import ClassifierReport, ClassifierStanding

CONTENT = "content"
STANDING, LABELS = "standing", "labels"
NEEDED, WANTED, APPLIED = "needed", "wanted", "applied"
EXPECTED, LOWER, UNPRESSED = "expected", "lower", "unpressed"
_BY_ROUTE = f"namespace, {ROUTE_LABEL}"

Reports = dict[tuple[str, str], ClassifierReport]


def content_query(own: Callable[..., str], more: str) -> str:
    """The query. `own` makes the selector of a router's own series, `more` are further label matchers of it."""

    def part(series: str, expression: str) -> str:
        return f'label_replace({expression}, "{SERIES}", {quote(series)}, "", "")'

    def mean(series: str, metric: str) -> str:
        return part(series, f"avg by ({_BY_ROUTE}) ({own(metric, more, f', part={quote(series)}')})")

    return " or ".join(
        (
            part(STANDING, f"count by ({_BY_ROUTE}, state, reason, hash) ({own('classifier', more)})"),
            part(LABELS, f"max by ({_BY_ROUTE}) ({own('classifier_labels', more)})"),
            mean(NEEDED, "reference_share_percent"),
            mean(WANTED, "reference_share_percent"),
            mean(APPLIED, "reference_share_percent"),
            mean(EXPECTED, "predicted_quality_percent"),
            mean(LOWER, "predicted_quality_percent"),
            mean(UNPRESSED, "predicted_quality_percent"),
        )
    )


def content_of(answer: Iterable[Series]) -> Reports:
    """What routers say, by namespace and route. What is no number is left out."""
    standings: dict[tuple[str, str], list[ClassifierStanding]] = {}
    numbers: dict[tuple[str, str], dict[str, float]] = {}
    for series in answer:
        labels, value = series.labels, series.value
        key, kind = (labels.get("namespace", ""), labels.get(ROUTE_LABEL, "")), labels.get(SERIES, "")
        if not 0.0 <= value < math.inf:
            continue
        if kind == STANDING:
            said = (labels.get("state", ""), labels.get("reason", ""), labels.get("hash", ""))
            standings.setdefault(key, []).append(ClassifierStanding(*said, int(value)))
        else:
            numbers.setdefault(key, {})[kind] = value
    return {key: _report(found, numbers.get(key, {})) for key, found in standings.items()}


def _report(standings: list[ClassifierStanding], numbers: dict[str, float]) -> ClassifierReport:
    return ClassifierReport(
        tuple(sorted(standings, key=lambda one: (-one.routers, one))),
        labels=numbers.get(LABELS),
        needed_share=numbers.get(NEEDED),
        applied_share=numbers.get(APPLIED),
        expected_quality=numbers.get(EXPECTED),
        lower_quality=numbers.get(LOWER),
        wanted_share=numbers.get(WANTED),
        unpressed_quality=numbers.get(UNPRESSED),
    )
