"""Holds what the router knows: the route, its tiers, money, counters, and the attempts under way.

One value that every request reads. A new route replaces the old one; tiers that stay keep their replicas, connections
and caches.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tierwise.routing.breaker import RetryBudget
from tierwise.routing.route import Route, RouteTier, WhenSpent
from tierwise.routing.saturation import Spill
from tierwise.routing.tier_choice import Candidate, cheaper_tiers, tokens_needed
from tierwise_router.attempt import Attempt
from tierwise_router.cascade import Cascades
from tierwise_router.content_routing import ContentRouting
from tierwise_router.http_request import Request
from tierwise_router.purse import Purse
from tierwise_router.record import Ledger, Record
from tierwise_router.request_body import Shape
from tierwise_router.sampler import Sampler
from tierwise_router.shadow_counts import ShadowCounts
from tierwise_router.tier import Tier
from tierwise_router.tracing import Tracing

MOST_RESPONSES = 100_000
SATURATION_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where time and names come from."""

    monotonic: Callable[[], float]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    chance: Callable[[], str] = lambda: secrets.token_hex(16)
    """Hexadecimal digits that nobody can guess."""


class _Watched:
    """An attempt among those that are under way. No generator: it would take a hundredth of a request's time."""

    __slots__ = ("_attempt", "_attempts", "_until")

    def __init__(self, attempts: dict[Attempt, float], attempt: Attempt, until: float) -> None:
        self._attempts, self._attempt, self._until = attempts, attempt, until

    def __enter__(self) -> None:
        self._attempts[self._attempt] = self._until

    def __exit__(self, *_: object) -> None:
        del self._attempts[self._attempt]


@dataclass(slots=True)
class RouterState:
    """All of it. `keys` are the providers' keys, by the file that holds them; `log` gets a record when it has ended."""

    route: Route
    tiers: dict[str, Tier]
    clocks: Clocks
    purse: Purse
    keys: dict[str, str] = field(default_factory=dict)
    log: Callable[[Record, float], None] = lambda record, ended_at: None
    tracing: Tracing | None = None
    ledger: Ledger = field(default_factory=Ledger)
    shadows: ShadowCounts = field(default_factory=ShadowCounts)
    content: ContentRouting = field(default_factory=ContentRouting)
    retries: RetryBudget = field(default_factory=RetryBudget)
    cascades: Cascades = field(default_factory=Cascades)
    attempts: dict[Attempt, float] = field(default_factory=dict)
    rule_headers: frozenset[str] = frozenset()
    private_headers: frozenset[bytes] = frozenset()
    ending: bool = False
    """Nothing is waited for any more (`end`)."""
    sampler: Sampler = field(init=False)
    _spills: dict[str, Spill] = field(default_factory=dict)
    _saturated: dict[str, bool] = field(default_factory=dict)
    _saturated_at: float = float("-inf")
    _owners: OrderedDict[str, tuple[str, str, str]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.sampler = Sampler(self.shadows, lambda: self.route)

    @classmethod
    def of(cls, route: Route, clocks: Clocks, purse: Purse, keys: dict[str, str] | None = None) -> RouterState:
        """For a route, with nothing known of its replicas but what the route says."""
        tiers = {spec.name: Tier(spec, clocks.monotonic) for spec in route.tiers}
        state = cls(route, tiers, clocks, purse, dict(keys or {}))
        state._apply(route)
        return state

    @property
    def monotonic(self) -> Callable[[], float]:
        """A clock that only grows, in seconds."""
        return self.clocks.monotonic

    @property
    def now(self) -> Callable[[], datetime]:
        """The time of day."""
        return self.clocks.now

    @property
    def new_id(self) -> Callable[[], str]:
        """Makes names of requests."""
        return self.clocks.new_id

    @property
    def spent_means_cheaper(self) -> bool:
        """Whether a request that the budget forbids goes to a cheaper tier."""
        budget = self.route.budget
        return budget is not None and budget.when_spent is WhenSpent.CHEAPER_TIER

    @property
    def reference_share(self) -> float | None:
        """Percent of the requests decided by content that go to the reference tier; None without a classifier in use.
        `content.quality` and `content.pressure` steer it, and the threshold follows."""
        share = self.content.share
        return None if share is None else share.applied

    def model_names(self) -> list[str]:
        """What a client may ask for: the route's names, then its tiers' and those of their adapters."""
        direct = [spec.name for spec in self.route.tiers] if self.route.direct_access else []
        adapters = [name for spec in self.route.tiers for name in spec.adapters]
        return list(dict.fromkeys([*self.route.model_names, *direct, *adapters]))

    def replace(self, route: Route, keys: dict[str, str]) -> None:
        """Serve another route from now on. Tiers that stay keep what is known of them; a request that is on a replica
        ends there."""
        monotonic = self.clocks.monotonic
        tiers = {}
        for spec in route.tiers:
            tier = self.tiers.get(spec.name)
            if tier is None:
                tier = Tier(spec, monotonic)
            else:
                tier.respecify(spec)
            tiers[spec.name] = tier
        for name, gone in self.tiers.items():
            if name not in tiers:
                gone.retire()
        self.tiers, self.keys = tiers, keys
        self._saturated_at = float("-inf")
        self._apply(route)

    def _apply(self, route: Route) -> None:
        self.route = route
        self.purse.serve(route.budget, route.overflow)
        self.rule_headers = frozenset(rule.header[0] for rule in route.rules if rule.header is not None)
        clients = route.clients
        names = [clients.priority_header, *([clients.tenant_header] if clients.tenant_header else [])]
        self.private_headers = frozenset(name.encode() for name in names)

    def cheaper_than(self, tier: RouteTier, wanted: Shape) -> list[Candidate]:
        """Who answers a request that the budget does not allow for `tier`."""
        return cheaper_tiers(self.route, tier.name, tokens_needed(wanted.prompt_tokens, wanted.max_tokens))

    def saturated(self) -> dict[str, bool]:
        """By tier: whether it is left now. Looked at again after some milliseconds, not for every request."""
        now = self.monotonic()
        if now - self._saturated_at < SATURATION_SECONDS:
            return self._saturated
        full = {}
        for name, tier in self.tiers.items():
            spill = self._spills.setdefault(name, Spill())
            full[name] = tier.resting(now) or spill.update(tier.fullness(self.route.queue), self.route.overflow)
        self._saturated, self._saturated_at = full, now
        return full

    def retry_allowed(self, now: float) -> bool:
        """Whether one more attempt may be made for a request."""
        allowed = self.retries.take(now)
        if allowed:
            self.ledger.retries += 1
        else:
            self.ledger.retries_denied += 1
        return allowed

    def key_of(self, spec: RouteTier) -> str | None:
        """The key that a provider is asked with."""
        if spec.provider is None or spec.provider.api_key_file is None:
            return None
        return self.keys.get(spec.provider.api_key_file)

    def remember(self, response_id: str, tier: str, replica: str, tenant: str) -> None:
        """A replica keeps this response; the oldest are forgotten."""
        self._owners[response_id] = (tier, replica, tenant)
        if len(self._owners) > MOST_RESPONSES:
            self._owners.popitem(last=False)

    def owner(self, response_id: str) -> tuple[str, str, str] | None:
        """The tier, the key of the replica and the tenant of a response that this router has passed on."""
        return self._owners.get(response_id)

    def watched(self, attempt: Attempt, until: float) -> _Watched:
        """While an attempt is under way, its deadlines are looked after (`sweep`)."""
        return _Watched(self.attempts, attempt, until)

    def sweep(self) -> None:
        """Look after deadlines and idle connections; call it a few times a second."""
        now = self.monotonic()
        deadlines = self.route.deadlines
        for attempt, until in list(self.attempts.items()):
            if now >= until:
                attempt.expire()
            else:
                attempt.check(now, deadlines.first_token_seconds, deadlines.token_gap_seconds)
        for tier in self.tiers.values():
            tier.sweep(now)

    def end(self) -> None:
        """The router ends now: whatever is still under way fails, and each client is told so."""
        self.ending = True
        for tier in self.tiers.values():
            tier.retire()
        for attempt in list(self.attempts):
            attempt.end()

    def begin(self, request: Request, path: str) -> Record:
        """A request has come; `path` is what is said of it in logs."""
        trace = None if self.tracing is None else self.tracing.begin(request, path)
        return Record(self.new_id(), self.monotonic(), path=path, trace=trace)

    def ended(self, record: Record) -> None:
        """A request has ended."""
        if record.trace is not None:
            record.trace.ended(record)
            record.trace = None
        ended_at = self.monotonic()
        self.ledger.add(record, ended_at)
        self.log(record, ended_at)
