"""Holds the first tokens of a cheap answer until it is decided who answers.

What is held has not been committed: an answer that is dropped meanwhile, by a decision or by a fault, is one that the
client never saw. Holding ends by tokens, by bytes, by time and by the end of the answer, whichever comes first, so that
neither an engine that says no log-probabilities nor one that is slow keeps a client waiting for more than it must.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tierwise.routing.cascade import (
    Decision,
    EscalationBudget,
    Features,
    Plan,
    Surroundings,
    begun,
    decide,
    features,
    plan,
    suits,
)
from tierwise.routing.route import Cascade, Route
from tierwise.routing.tier_choice import Candidate
from tierwise_router.logprobs import Asking, LogprobReader, asking
from tierwise_router.request_body import Body

MOST_HELD_BYTES = 1 << 20
"""Of what upstream has sent, log-probabilities included."""
MOST_HELD_SECONDS = 10.0
"""From the first held token on. An engine that has said nothing for as long stands still, and another one is asked."""
WITHOUT_SECONDS = 60.0
"""A tier that refuses log-probabilities is not asked for them for so long."""


class Holding:
    """The beginning of one answer. `decide` is asked once, with what was seen; what it says stands.

    Times are seconds of the monotonic clock."""

    __slots__ = ("_decide", "_reader", "_rule", "decision", "since")

    def __init__(self, rule: Cascade, asked: Asking, decide: Callable[[Features | None, bool], Decision]) -> None:
        self._rule = rule
        self._reader = LogprobReader(asked)
        self._decide = decide
        self.decision: Decision | None = None
        self.since: float | None = None
        """When the first token came."""

    @property
    def holds(self) -> bool:
        """Whether the client must not get anything yet."""
        return self.decision is None and not self._rule.shadow

    @property
    def dropped(self) -> bool:
        """Whether a dearer tier answers instead."""
        return self.decision is Decision.ESCALATED and not self._rule.shadow

    @property
    def tokens(self) -> int:
        """How many tokens have come, until it was decided."""
        return len(self._reader.tokens)

    def feed(self, data: bytes, now: float) -> bytes:
        """Some of a stream: what the client may get of it, if it is released."""
        out = self._reader.feed(data)
        if self.decision is None and self.tokens:
            self.since = now if self.since is None else self.since
        reader = self._reader
        enough = self.tokens >= self._rule.hold_tokens or reader.bytes_read > MOST_HELD_BYTES
        if enough or reader.tool_call or (reader.silent and not self.tokens):
            self.finish()
        return out

    def end(self) -> bytes:
        """The stream has ended: what is left of it."""
        return self._reader.end()

    def finish(self) -> None:
        """Decide by what has come."""
        if self.decision is None:
            # More may have come in one piece than is looked at: the same tokens are decided alike, however they come.
            seen = features(self._reader.tokens[: self._rule.hold_tokens])
            self.decision = self._decide(seen, self._reader.tool_call or self._reader.withheld)
            self._reader.listens = False

    def whole(self, body: bytes, values: dict[str, Any]) -> bytes:
        """An answer in one piece: what the client may get of it, if it is released. All its tokens are looked at."""
        out = self._reader.whole(body, values)
        if self.decision is None:
            self.decision = self._decide(features(self._reader.tokens), self._reader.tool_call)
        return out

    def overdue(self, now: float, first_token_at: float) -> bool:
        """Whether it must be decided now, by what has come; `first_token_at` is when that must have been sent."""
        since = self.since
        return since is not None and self.holds and (now - since > MOST_HELD_SECONDS or now > first_token_at)


@dataclass(slots=True)
class Cascading:
    """A cascade of one request. `asked`: how its log-probabilities are asked for."""

    plan: Plan
    asked: Asking
    decision: Decision | None = None
    without: bool = False
    """Upstream has refused a request with them; it is asked without."""

    @property
    def escalated(self) -> bool:
        """Whether a dearer tier answers instead."""
        return self.decision is Decision.ESCALATED and not self.plan.rule.shadow


class Cascades:
    """Of one router: what all its requests share."""

    def __init__(self) -> None:
        self._budget = EscalationBudget()
        self._without: dict[str, float] = {}

    def begin(
        self, route: Route, candidates: list[Candidate], path: str, body: Body, now: float
    ) -> tuple[Cascading | None, list[Candidate]]:
        """The cascade for a request, if it is one for it, and the order in which its tiers are tried."""
        found = plan(route, candidates)
        if found is None or not suits(body.values) or self._without.get(found.cheap.name, now) > now:
            return None, candidates
        asked = asking(path, body.raw, body.values)
        if asked is None:
            return None, candidates
        return Cascading(found, asked), list(begun(found, candidates))

    def decide(self, cascading: Cascading, seen: Features | None, tool_call: bool, dearer_free: bool) -> Decision:
        """Decide, and count it."""
        rule = cascading.plan.rule
        around = Surroundings(tool_call, dearer_free, self._budget.allows(rule.max_escalated_percent))
        cascading.decision = decide(seen, rule, around)
        self._budget.count(cascading.decision is Decision.ESCALATED)
        return cascading.decision

    def refuses(self, tier: str, now: float) -> None:
        """This tier does not answer requests for log-probabilities."""
        self._without[tier] = now + WITHOUT_SECONDS


def logged(decision: Decision, seen: Features | None, shadow: bool) -> dict[str, object]:
    """What the access log says of a decision."""
    values = {} if seen is None else asdict(seen)
    names = {
        "tokens": "tokens",
        "mean": "meanLogProbability",
        "least": "leastLogProbability",
        "low_tenth": "lowTenthLogProbability",
        "lowest_window": "lowestWindowLogProbability",
        "first_margin": "firstMargin",
    }
    said = {names[name]: round(value, 4) for name, value in values.items() if value is not None}
    return {"decision": decision.value, "shadow": shadow, **said}
