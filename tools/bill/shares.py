"""Reads which share of the requests keeps the quality, from what the routing benchmark measured (routing.json).

Nothing is chosen here: the shares are the ones that `make bench-routing` found for the project's own classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bench_routing.results import OURS, RANDOM_SPLIT
from tools.bill.labels import GSM8K, MMLU

PROMISED_LABELS = 1000
KEEPS = 95


@dataclass(frozen=True, slots=True)
class Shares:
    """Percent of the requests that go to the large tier. `average`: 95 % of the large model's right answers are kept on
    average; `promised`: with 90 % confidence, from `labels` labels; `gsm8k`: on average on GSM8K."""

    average: float
    promised: float
    gsm8k: float
    labels: int = PROMISED_LABELS


def shares(routing: Mapping[str, Any]) -> Shares:
    """The shares of one run of the routing benchmark. Raises KeyError when a row is not there."""

    def share(benchmark: str) -> float:
        for row in routing["rows"]:
            if (row["benchmark"], row["split"], row["contender"]) == (benchmark, RANDOM_SPLIT, OURS):
                return float(row["large_share"])
        raise KeyError(f"docs/results/routing.json has no row of {OURS} for {benchmark}")

    for row in routing["promise"]:
        if (row["split"], row["labels"], row["method"]) == (RANDOM_SPLIT, PROMISED_LABELS, "promised"):
            return Shares(share(MMLU), float(row["share"]), share(GSM8K))
    raise KeyError(f"docs/results/routing.json has no promise from {PROMISED_LABELS} labels")
