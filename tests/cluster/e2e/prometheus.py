"""Queries the playground's Prometheus, about the engines and about itself."""

from __future__ import annotations

from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families


def instant(url: str, query: str) -> list[tuple[dict[str, str], float]]:
    """The series of an instant query: labels and value."""
    answer: dict[str, Any] = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=10).json()
    assert answer["status"] == "success", answer
    return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]


def queries_served(url: str) -> float:
    """How many requests to its query API Prometheus has counted since it started."""
    text = requests.get(f"{url}/metrics", timeout=10).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "prometheus_http_requests"
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["handler"].startswith("/api/v1/query")
    )
