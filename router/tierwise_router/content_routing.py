"""Lets the content of requests choose their tier: what one router knows for that, and what it has counted.

Rules come first, then a tool loop's own tier, then the classifier, then the conversation, then the default tier. All of
it is decided by `tierwise.routing`; here is what has to be remembered between requests. Nothing of a request is kept
but salted hashes and scores.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tierwise import reasons
from tierwise.routing.content import ActiveClassifier, Refusal
from tierwise.routing.conversation import Conversations, LastAnswer, Turn, stays, turn_of
from tierwise.routing.cost import Usage
from tierwise.routing.pressure import Load
from tierwise.routing.question import question_of
from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Decider, Route, Use
from tierwise.routing.share import ReferenceShare
from tierwise.routing.tier_choice import ContentChoice, default_tier, rule_of

# What has a question; vectors of one model mean nothing to another.
PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
STATES = ("Serves", "Shadows", "Refused")
CLASSIFIER = "classifier"


@dataclass(frozen=True, slots=True)
class Decided:
    """What the content of a request asks for, and the turn of a conversation that the request is."""

    choice: ContentChoice | None = None
    turn: Turn | None = None


NOTHING_DECIDED = Decided()


@dataclass(slots=True)
class ContentRouting:
    """Of one router. `quality` and `pressure` are set by who measures them, in percent (`tierwise.routing.share`)."""

    active: ActiveClassifier | None = None
    refusal: Refusal | None = None
    quality: float | None = None
    pressure: float | None = None
    load: Load | None = None
    """Of the reference tier while it is full and cannot grow."""
    decided: int = 0
    """Requests that the share has decided, and how many of them for the reference tier."""
    to_reference: int = 0
    shadow_choices: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the tier that would have been chosen, and by what."""
    conversations: Conversations = field(default_factory=Conversations)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def share(self) -> ReferenceShare | None:
        """Which share goes to the reference tier; None without a classifier in use."""
        if self.active is None:
            return None
        return ReferenceShare(self.active.needed_share, self.quality, self.pressure)

    def serve(self, found: ActiveClassifier | Refusal | None) -> None:
        """Use this classifier from now on, or none."""
        self.active = found.after(self.active) if isinstance(found, ActiveClassifier) else None
        self.refusal = found if isinstance(found, Refusal) else None

    def standing(self, route: Route) -> tuple[str, str, str] | None:
        """State, reason and name of the file, for the metric; None where the route wants no classifier."""
        if route.content.decider is not Decider.CLASSIFIER:
            return None
        if self.active is None:
            return "Refused", (reasons.CLASSIFIER_MISSING if self.refusal is None else self.refusal.reason), ""
        reason = self.active.reason
        if not route.content.shadow:
            return "Serves", reason, self.active.digest
        return (
            "Shadows",
            reasons.CLASSIFIER_SHADOWS if reason == reasons.CLASSIFIER_SERVES else reason,
            self.active.digest,
        )

    def decide(
        self, route: Route, facts: RequestFacts, path: str, values: Mapping[str, Any], tenant: str, now: float
    ) -> Decided:
        """What the content of one request asks for. `values`: its body; `now`: seconds of a monotonic clock."""
        if path not in PATHS or facts.model not in route.model_names:
            return NOTHING_DECIDED
        turn = turn_of(values, tenant, self._salt) if _may_stay(route) else None
        last = None if turn is None else self.conversations.last(turn)
        default = default_tier(route)
        if default is None:
            return NOTHING_DECIDED
        if turn is not None and turn.in_tool_loop:
            kept = stays(route, facts, turn, last, default, now)
            if kept is not None:
                return Decided(kept, turn)
        if rule_of(route, facts) is not None:
            return Decided(None, turn)
        choice = self._classified(route, values)
        if turn is None:
            return Decided(choice)
        wanted = default if choice is None else route.tier(choice.tier) or default
        return Decided(stays(route, facts, turn, last, wanted, now) or choice, turn)

    def count(self, *, to_reference: bool) -> None:
        """The share has decided one request."""
        self.decided += 1
        self.to_reference += to_reference

    def answered(self, turn: Turn, tier: str, usage: Usage, at: float) -> None:
        """A turn has its answer. `at`: seconds of the monotonic clock."""
        self.conversations.answered(turn, LastAnswer(tier, usage.prompt, usage.output, at))

    def _classified(self, route: Route, values: Mapping[str, Any]) -> ContentChoice | None:
        share = self.share
        if route.content.decider is not Decider.CLASSIFIER or self.active is None or share is None:
            return None
        choice = self.active.choose(*question_of(values), share.applied)
        if not route.content.shadow:
            return choice
        self.shadow_choices[choice.tier, CLASSIFIER] += 1
        return None


def _may_stay(route: Route) -> bool:
    """Whether a conversation has more than one tier to go to, and its own counts."""
    return route.content.stay and len(route.tiers) > 1 and any(tier.use is Use.ALWAYS for tier in route.tiers)
