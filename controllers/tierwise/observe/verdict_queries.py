"""Defines the Prometheus query about comparisons with the reference tier, and reads its answer.

The counters themselves are read, router by router, and not their growth in a window: the operator adds up what they
have grown by since it last wrote the status, so that nothing is lost with a scrape, nor counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tierwise.observe.queries import ROUTE_LABEL, SERIES, quote
from tierwise.observe.route_readings import RouterKey
from tierwise.ports import Series
from tierwise.types import COUNTS, VerdictCounts

VERDICTS = "verdicts"
SAMPLED, JUDGED = "sampled", "judged"
_BY = f"namespace, pod, {ROUTE_LABEL}, routed"


def verdict_query(own: Callable[..., str], more: str) -> str:
    """The query. `own` makes the selector of a router's own series, `more` are further label matchers of it."""
    sampled = f"sum by ({_BY}) ({own('sampled_total', more)})"
    judged = f"sum by ({_BY}, verdict) ({own('verdicts_total', more)})"
    return " or ".join(
        f'label_replace({expression}, "{SERIES}", {quote(series)}, "", "")'
        for series, expression in ((SAMPLED, sampled), (JUDGED, judged))
    )


def verdicts_of(answer: Iterable[Series]) -> dict[RouterKey, VerdictCounts]:
    """What each router has counted. One that does not say what it has sampled says nothing."""
    found: dict[RouterKey, dict[str, int]] = {}
    sampling: set[RouterKey] = set()
    for series in answer:
        labels = series.labels
        if not 0.0 <= series.value < math.inf:
            continue
        key = RouterKey(labels.get("namespace", ""), labels.get(ROUTE_LABEL, ""), labels.get("pod", ""))
        name = f"{labels.get('routed', '')}_{labels.get('verdict', '')}"
        if labels.get(SERIES) == SAMPLED:
            sampling.add(key)
            name = f"sampled_{labels.get('routed', '')}"
        if name in COUNTS:
            found.setdefault(key, {})[name] = int(series.value)
    return {key: VerdictCounts(**counts) for key, counts in found.items() if key in sampling}
