"""Reads what a route has answered from the access log of its routers.

The log has one line per request with every attempt's tokens and cost, so it says the same as the routers' metrics and
needs no Prometheus. Lines of several routers may stand in one file, in any order. Comparisons in the background are in
no line: there are no pairs, and what they cost is named as uncounted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tierwise.errors import Invalid
from tierwise.times import seconds as epoch_seconds
from tierwise.types.route_work import NOTHING, Answered, RouteWork, Tokens

ANSWER, FAILED, DISCARDED = "answer", "failed", "discarded"
_UNCOUNTED = ("judges", "shadows")


@dataclass(slots=True)
class _Sums:
    answers: dict[Answered, Tokens] = field(default_factory=dict)
    costs: dict[str, Decimal] = field(default_factory=dict)
    seconds: dict[str, Decimal] = field(default_factory=dict)
    wasted: dict[str, Decimal] = field(default_factory=lambda: {FAILED: NOTHING, DISCARDED: NOTHING})
    began: float = math.inf
    ended: float = -math.inf

    def add(self, line: Mapping[str, Any]) -> None:
        ended = epoch_seconds(line["time"])
        if ended is None:
            raise ValueError(f"{line['time']!r} is no time")
        milliseconds = Decimal(repr(line["ms"]))
        self.began, self.ended = min(self.began, ended - float(milliseconds) / 1000), max(self.ended, ended)
        for charge in line["charges"]:
            tier, cost = charge["tier"], Decimal(charge["costUSD"])
            if charge["for"] != ANSWER:
                self.wasted[charge["for"]] += cost
                continue
            who = Answered(tier, line["firstTier"])
            self.answers[who] = self.answers.get(who, Tokens()) + Tokens(
                charge["inputTokens"],
                charge["cachedInputTokens"],
                charge["cacheWriteTokens"],
                charge["outputTokens"],
            )
            self.costs[tier] = self.costs.get(tier, NOTHING) + cost
            worked = (milliseconds - Decimal(repr(line["waitedMs"]))) / 1000
            self.seconds[tier] = self.seconds.get(tier, NOTHING) + max(NOTHING, worked)


def work_of_log(lines: Iterable[str]) -> RouteWork:
    """The work in an access log, from the beginning of its first request to the end of the last. Lines that are no JSON
    objects (what else a container has written) are passed over.

    Raises Invalid for a line that is one and has not what is needed, and where there is
    none."""
    sums, requests = _Sums(), 0
    for number, text in enumerate(lines, start=1):
        line = _object(text)
        if line is None or "charges" not in line:
            continue
        try:
            sums.add(line)
        except KeyError as error:
            raise Invalid(
                f"line {number} of the access log has no {error.args[0]!r}: it is not of a router of this release"
            ) from error
        except (TypeError, ValueError, ArithmeticError) as error:
            raise Invalid(f"line {number} of the access log is not a router's: {error}") from error
        requests += 1
    if not requests:
        raise Invalid("the access log has no line of a request")
    return RouteWork(
        window_seconds=math.ceil(sums.ended - sums.began),
        answers=dict(sorted(sums.answers.items())),
        costs=sums.costs,
        seconds=sums.seconds,
        failed=sums.wasted[FAILED],
        discarded=sums.wasted[DISCARDED],
        uncounted=_UNCOUNTED,
    )


def _object(text: str) -> Mapping[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
