"""Makes up the usage export of example 10: one week, by the hour, of two products at a provider.

Nobody's traffic: the numbers are drawn, with a seed, around a plain story. People chat in working hours, less at the
weekend, and a share of every prompt is the same instructions; at night a job extracts fields from documents. The
columns are those of OpenAI's export.

    python -m tools.example_usage > examples/10-what-would-it-cost/usage.csv
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

SEED = 10
FIRST = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOURS = 7 * 24
COLUMNS = (
    "start_time", "end_time", "project_id", "model", "num_model_requests", "input_tokens", "input_cached_tokens",
    "output_tokens",
)  # fmt: skip
_OPENS, _CLOSES = 7, 19


@dataclass(frozen=True, slots=True)
class Product:
    """Who asks what: requests in its busiest hour, tokens of a mean request, the part of the prompt that is cached."""

    project: str
    model: str
    busiest: float
    prompt: float
    output: float
    cached: float
    at_night: bool = False

    def level(self, at: datetime) -> float:
        """The part (0..1) of the busiest hour's requests at this hour."""
        if self.at_night:
            return 1.0 if at.hour < 4 else 0.0
        weekend = 0.3 if at.weekday() >= 5 else 1.0
        if not _OPENS <= at.hour < _CLOSES:
            return 0.06 * weekend
        return weekend * (0.35 + 0.65 * math.sin(math.pi * (at.hour + 0.5 - _OPENS) / (_CLOSES - _OPENS)))


PRODUCTS = (
    Product("support-chat", "large-model", busiest=5400, prompt=1400, output=230, cached=0.45),
    Product("support-chat", "mini-model", busiest=1800, prompt=420, output=60, cached=0.3),
    Product("invoices", "large-model", busiest=2600, prompt=2600, output=320, cached=0.2, at_night=True),
)


def rows() -> Iterator[str]:
    """The lines of the file, each with its line break: the same on every machine."""
    rng = Random(SEED)  # noqa: S311 - a made-up example, no secret
    yield ",".join(COLUMNS) + "\n"
    for hour in range(HOURS):
        at = FIRST + timedelta(hours=hour)
        for product in PRODUCTS:
            requests = round(product.busiest * product.level(at) * rng.gammavariate(60, 1 / 60))
            if not requests:
                continue
            prompt = round(requests * product.prompt * rng.gammavariate(400, 1 / 400))
            cached = round(prompt * min(0.9, product.cached * rng.gammavariate(100, 1 / 100)))
            output = round(requests * product.output * rng.gammavariate(400, 1 / 400))
            start = int(at.timestamp())
            cells = (start, start + 3600, product.project, product.model, requests, prompt, cached, output)
            yield ",".join(map(str, cells)) + "\n"


if __name__ == "__main__":
    sys.stdout.writelines(rows())
