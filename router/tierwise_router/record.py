"""Keeps what one request did and cost, and adds it up.

The access log and the metrics are made of the same values, so their sums are equal. No prompt, no answer and no key is
in any of them. A tenant's name comes from a client: only the largest few have a label of their own.
Who has one keeps it, and what it cost before stays with the others, so that no counter ever falls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import nlargest
from typing import Protocol

from tierwise.routing.cost import NOTHING, Usage
from tierwise_router.answered import Answers, first_choice, purposes

MOST_TENANTS_KEPT = 10_000
TENANTS_SHOWN = 20
"""So many of the largest are named..."""
MOST_NAMES = 100
"""...and in the life of a process so many at most."""
OTHER = "other"
FIRST_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one attempt cost, and where. `discarded`: a cascade threw its answer away."""

    tier: str
    usage: Usage
    cost: Decimal
    discarded: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom an attempt asks for what."""

    tier: str
    model: str
    path: str
    host: str
    port: int
    stream: bool
    max_tokens: int | None


class Trace(Protocol):
    """Who is told of a request's way, besides its record."""

    def attempting(self, headers: list[tuple[bytes, bytes]], asked: Asked) -> list[tuple[bytes, bytes]]:
        """An attempt begins; the headers that go upstream."""
        ...

    def passing(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Something is asked for that is no attempt; the headers that go upstream."""
        ...

    def attempted(self, status: int, failure: str, usage: Usage, first_seconds: float | None) -> None:
        """It has ended."""
        ...

    def ended(self, record: Record) -> None:
        """The request has ended."""
        ...


@dataclass(slots=True)
class Record:
    """One request. Times are seconds of the monotonic clock."""

    id: str
    began_at: float
    path: str = ""
    tenant: str = ""
    model: str = ""
    tier: str = ""
    first: str = ""
    """The tier that the policy had chosen."""
    reason: str = ""
    rule: str = ""
    replica: str = ""
    priority: str = ""
    stream: bool = False
    status: int = 0
    outcome: str = ""
    """ok, refused, upstream_error, broken (within the answer), client_gone, client_error, internal_error."""
    attempts: int = 0
    matched_blocks: int = 0
    waited_seconds: float = 0.0
    first_content_at: float | None = None
    charges: list[Charge] = field(default_factory=list)
    cascade: dict[str, object] | None = None
    """What was decided of the first tokens of its cheap answer, and by what."""
    trace: Trace | None = None

    @property
    def cost(self) -> Decimal:
        """US dollars, of all attempts."""
        return sum((charge.cost for charge in self.charges), NOTHING)

    def line(self, ended_at: float, at: str) -> dict[str, object]:
        """The line of the access log; `at` is the time of day."""
        first = None if self.first_content_at is None else round(1000 * (self.first_content_at - self.began_at), 3)
        return {
            "time": at,
            "id": self.id,
            "path": self.path,
            "tenant": self.tenant,
            "model": self.model,
            "tier": self.tier,
            "firstTier": first_choice(self),
            "reason": self.reason,
            "rule": self.rule,
            "replica": self.replica,
            "priority": self.priority,
            "stream": self.stream,
            "status": self.status,
            "outcome": self.outcome,
            "attempts": self.attempts,
            "waitedMs": round(1000 * self.waited_seconds, 3),
            "firstTokenMs": first,
            "ms": round(1000 * (ended_at - self.began_at), 3),
            "costUSD": format(self.cost, "f"),
            **({} if self.cascade is None else {"cascade": self.cascade}),
            "charges": [
                {
                    "tier": charge.tier,
                    "for": purpose,
                    "inputTokens": charge.usage.input,
                    "cachedInputTokens": charge.usage.cached_input,
                    "cacheWriteTokens": charge.usage.cache_write,
                    "outputTokens": charge.usage.output,
                    "estimated": charge.usage.estimated,
                    "costUSD": format(charge.cost, "f"),
                }
                for charge, purpose in zip(self.charges, purposes(self), strict=True)
            ],
        }


class Histogram:
    """Counts of observations by their upper bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Ledger:
    """All requests of this process, added up."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By tier, outcome and status."""
        self.choices: Counter[tuple[str, str]] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.estimated: Counter[str] = Counter()
        self.cascades: Counter[tuple[str, str]] = Counter()
        """By decision, and whether it was acted on."""
        self.discarded: Counter[str] = Counter()
        """Tokens of answers that no client got anything of."""
        self.cost: dict[str, Decimal] = {}
        self.answers = Answers()
        self._tenant_cost: dict[str, Decimal] = {}
        self._named: dict[str, Decimal] = {OTHER: NOTHING}
        self.retries = 0
        self.retries_denied = 0
        self.lines_dropped = 0
        self.first_token: dict[str, Histogram] = {}
        self.seconds: dict[str, Histogram] = {}

    def add(self, record: Record, ended_at: float) -> None:
        """A request has ended."""
        self.requests[record.tier, record.outcome, str(record.status)] += 1
        if record.reason:
            self.choices[record.tier, record.reason] += 1
        for charge in record.charges:
            self._charge(charge, record.tenant)
        self.answers.add(record, ended_at)
        if record.outcome == "ok":
            self.seconds.setdefault(record.tier, Histogram(SECONDS_BUCKETS)).observe(ended_at - record.began_at)
            if record.first_content_at is not None:
                histogram = self.first_token.setdefault(record.tier, Histogram(FIRST_TOKEN_BUCKETS))
                histogram.observe(record.first_content_at - record.began_at)

    def tenants(self) -> dict[str, Decimal]:
        """US dollars by tenant: of the largest by name, since each had one, and of all others together."""
        return {name: cost for name, cost in self._named.items() if cost or name != OTHER}

    def _pay(self, tenant: str, cost: Decimal) -> None:
        totals = self._tenant_cost
        if tenant in totals or len(totals) < MOST_TENANTS_KEPT:
            totals[tenant] = totals.get(tenant, NOTHING) + cost
        if tenant not in self._named and len(self._named) <= MOST_NAMES and self._is_large(tenant):
            self._named[tenant] = NOTHING
        name = tenant if tenant in self._named else OTHER
        self._named[name] += cost

    def _is_large(self, tenant: str) -> bool:
        """Whether it is among the largest now."""
        total = self._tenant_cost.get(tenant)
        named = [self._tenant_cost.get(name, NOTHING) for name in self._named if name != OTHER]
        return total is not None and (len(named) < TENANTS_SHOWN or total > nlargest(TENANTS_SHOWN, named)[-1])

    def _charge(self, charge: Charge, tenant: str) -> None:
        tier, usage = charge.tier, charge.usage
        tokens = self.tokens
        tokens[tier, "input"] += usage.input
        tokens[tier, "cached_input"] += usage.cached_input
        tokens[tier, "cache_write"] += usage.cache_write
        tokens[tier, "output"] += usage.output
        if usage.estimated:
            self.estimated[tier] += 1
        self.cost[tier] = self.cost.get(tier, NOTHING) + charge.cost
        self._pay(tenant, charge.cost)
