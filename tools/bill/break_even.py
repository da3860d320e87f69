"""Says where the tiers do not pay: from how much traffic on, from which share of hard prompts on, against which API.

All of it is arithmetic on what a full replica answers within the service level, with replicas that are whole: a fleet
for one request an hour costs as much as one for thousands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from tierwise.decide.fleet.break_even import Served as Replica
from tierwise.decide.fleet.break_even import break_even
from tierwise.routing.cost import Usage
from tierwise.routing.route import TokenRates

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A replica of one kind: US dollars an hour, and requests an hour that it answers when it is full."""

    dollars: float
    requests: float

    def cost(self, requests: float) -> float:
        """US dollars of an hour with so many requests; one replica is always there."""
        return max(1, math.ceil(requests / self.requests - 1e-9)) * self.dollars


@dataclass(frozen=True, slots=True)
class Api:
    """US dollars per million tokens of an external API, by its name."""

    name: str
    input: str
    output: str

    def usd(self, prompt: float, answer: float) -> float:
        """US dollars of one request with so many tokens."""
        return (prompt * float(self.input) + answer * float(self.output)) / MILLION

    @property
    def rates(self) -> TokenRates:
        """As the library prices tokens; a cache is not counted on."""
        given, made = Decimal(self.input), Decimal(self.output)
        return TokenRates(given, given, given, made)


def routing_pays_from(large: Kind, small: Kind, share: float) -> tuple[float, float] | None:
    """Requests per hour from which the large tier with a small one beside it (`share` of the requests, 0 to 1, stay
    with the large one) is cheaper than the large tier alone: for the first time, and for good. None: never, looked for
    up to a hundred large replicas."""
    most = int(large.requests * 100)
    step = max(1, int(large.requests // 200))
    first, last_dearer = None, 0
    for requests in range(step, most, step):
        both = large.cost(requests * share) + small.cost(requests * (1 - share))
        if both < large.cost(requests):
            first = first or requests
        else:
            last_dearer = requests
    return None if first is None else (float(first), float(last_dearer + step))


def share_where_routing_ends(large: Kind, small: Kind, requests: float) -> float:
    """The share of the requests (percent) that the large tier may answer before the small tier costs more than it
    saves, at so many requests an hour."""
    for percent in range(100, -1, -1):
        share = percent / 100
        if large.cost(requests * share) + small.cost(requests * (1 - share)) < large.cost(requests):
            return float(percent)
    return 0.0


def api_pays_below(kind: Kind, api: Api, prompt: int, answer: int) -> tuple[float | None, float | None]:
    """Requests per hour from which a served replica is cheaper than the API: first, and for good. None: never."""
    found = break_even(
        Replica(Decimal(str(kind.dollars)), Decimal(str(kind.requests))), Usage(prompt, 0, 0, answer), api.rates
    )
    return (
        None if found.first is None else float(found.first),
        None if found.always is None else float(found.always),
    )


def blended_price(dollars: float, requests: float, prompt: float, answer: float) -> float:
    """US dollars per million tokens, prompt and answer together, that so many requests have cost."""
    return dollars * MILLION / (requests * (prompt + answer))
