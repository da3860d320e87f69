"""Computes from how many requests per hour a served tier is cheaper than an external API.

An API costs e for each request, a replica c for each hour, and n replicas carry n x k requests:

    served(r) = max(m, ceil(r / k)) x c        external(r) = r x e

The steps matter. With q = c / e, n replicas are cheaper from n x q requests on, so they never are when q >= k; and when
q is near k, each new replica makes the API cheaper again until it is filled. So there are two answers: from where on
serving can be cheaper, and from where on it always is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tierwise.errors import Invalid
from tierwise.routing.cost import Usage, token_cost
from tierwise.routing.route import TokenRates


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Requests per hour above which serving is cheaper: for the first time (`first`), and for good (`always`). None:
    never, however many there are. `usd_per_request`: what the external API costs for one."""

    usd_per_request: Decimal
    first: Decimal | None
    always: Decimal | None


@dataclass(frozen=True, slots=True)
class Served:
    """A tier that we serve: US dollars of one replica for an hour (GPUs x price), the requests that it completes in an
    hour within its service level, and the fewest replicas that run (scaling.minReplicas)."""

    usd_per_replica_hour: Decimal
    requests_per_replica_hour: Decimal
    least: int = 1


def break_even(served: Served, request: Usage, rates: TokenRates) -> BreakEven:
    """For requests that use so many tokens, at the four prices of an API. Raises Invalid when a replica completes no
    request, or costs less than nothing."""
    if served.requests_per_replica_hour <= 0 or served.usd_per_replica_hour < 0:
        raise Invalid("a replica must complete requests and cost no less than nothing to be compared with an API")
    external = token_cost(request, rates)
    if external <= 0:
        return BreakEven(external, None, None)
    each = Fraction(served.usd_per_replica_hour) / Fraction(external)
    carries = Fraction(served.requests_per_replica_hour)
    if each >= carries:
        return BreakEven(external, None, None)
    least = max(1, served.least)
    # The last number of replicas that are dearer than the API until they are filled: n x q > (n - 1) x k.
    last = math.ceil(carries / (carries - each)) - 1
    return BreakEven(external, _decimal(least * each), _decimal(max(least, last) * each))


def served_usd(served: Served, requests: Decimal) -> Decimal:
    """US dollars of an hour in which so many requests come."""
    replicas = math.ceil(requests / served.requests_per_replica_hour)
    return max(served.least, replicas, 1) * served.usd_per_replica_hour


def _decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / Decimal(number.denominator)
