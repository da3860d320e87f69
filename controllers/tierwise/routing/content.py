"""Chooses between the cheap and the large tier by what a request asks: a classifier, and the share that it may send.

A classifier is used only if it was made for this route, from enough labels, and if its labels show that the wanted
quality is kept. In every other case the route goes on by its rules, and says why: a classifier that nobody can trust
costs quality that nobody sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tierwise import reasons
from tierwise.routing.classifier import Classifier, CurvePoint, Header
from tierwise.routing.route import Route, Use
from tierwise.routing.score_window import ScoreWindow
from tierwise.routing.text_features import TextFacts
from tierwise.routing.tier_choice import CLASSIFIED, ContentChoice

LEAST_LABELS = 300
"""Below, no threshold keeps its promise (quality of 95 % was kept in about half of all draws)."""
_ALL = 100.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a classifier is not used: a reason of the table, and the sentence for the log."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ActiveClassifier:
    """A classifier in use. `digest` names its file, `needed_share` is the percentage of requests that its labels ask
    for at the reference tier; `window` holds the scores of this traffic."""

    classifier: Classifier
    digest: str
    needed_share: float
    window: ScoreWindow

    @classmethod
    def of(cls, classifier: Classifier, digest: str, needed_share: float) -> ActiveClassifier:
        """One that has seen no traffic yet."""
        window = ScoreWindow(classifier.threshold, classifier.header.labels)
        return cls(classifier, digest, needed_share, window)

    def choose(self, text: bytes, facts: TextFacts, share_percent: float) -> ContentChoice:
        """The tier for one question, of which `share_percent` go to the reference tier; its score joins the window."""
        header = self.classifier.header
        score = self.classifier.score(text, facts)
        self.window.add(score)
        large = self.window.reaches(score, share_percent)
        return ContentChoice(header.reference_tier if large else header.from_tier, CLASSIFIED)

    def predicted(self, share_percent: float) -> CurvePoint:
        """The quality to expect at a share."""
        return self.classifier.predicted(share_percent)

    def after(self, before: ActiveClassifier | None) -> ActiveClassifier:
        """The same, with what is known of the traffic if `before` is the same file under another route."""
        return replace(self, window=before.window) if before is not None and before.digest == self.digest else self

    @property
    def reason(self) -> str:
        """The word for how it does."""
        shift = self.window.shift
        return reasons.TRAFFIC_SHIFTED if shift is not None and shift.shifted else reasons.CLASSIFIER_SERVES


def usable(classifier: Classifier, route: Route, digest: str) -> ActiveClassifier | Refusal:
    """The classifier for a route, or why the route must not use it."""
    header = classifier.header
    misfit = _misfit(header, route)
    if misfit:
        return Refusal(reasons.CLASSIFIER_MISFIT, misfit)
    if header.labels < LEAST_LABELS:
        few = f"the classifier has learned from {header.labels} labels; at least {LEAST_LABELS} are needed"
        return Refusal(reasons.TOO_FEW_LABELS, few)
    wanted = header.quality_percent if route.content.classifier is None else route.content.classifier.quality_percent
    needed = None if header.refusal else needed_share(header, wanted)
    if needed is None:
        unkept = f"the labels of the classifier show no share below 100 % that keeps {wanted} % of the quality"
        return Refusal(reasons.PROMISE_NOT_KEPT, header.refusal or unkept)
    return ActiveClassifier.of(classifier, digest, needed)


def needed_share(header: Header, quality_percent: int) -> float | None:
    """The smallest share of the reference tier that keeps this quality with 90 % confidence, in percent; None where
    only all requests would.

    The file says it for the quality that it was trained for. For another one the curve is walked as the training does:
    from all requests downwards, as long as the lower bound of the quality holds."""
    if quality_percent == header.quality_percent:
        return header.large_share_percent if header.large_share_percent < _ALL else None
    needed = _ALL
    for point in sorted(header.curve, key=lambda point: -point.share_percent):
        if point.lower_percent < quality_percent:
            break
        needed = point.share_percent
    return needed if needed < _ALL else None


def _misfit(header: Header, route: Route) -> str:
    """Why a classifier does not belong to a route, in a sentence; empty where it does."""
    if header.route != route.name:
        return f"the classifier was trained for route {header.route!r}, and this is {route.name!r}"
    always = [tier.name for tier in route.tiers if tier.use is Use.ALWAYS]
    for tier in (header.from_tier, header.reference_tier):
        if tier not in always:
            both = f"{header.from_tier!r} and {header.reference_tier!r}"
            return f"the classifier chooses between {both}, and the route has no tier {tier!r} with use Always"
    if always.index(header.from_tier) >= always.index(header.reference_tier):
        return f"the route's tier {header.from_tier!r} must stand before {header.reference_tier!r}: cheapest first"
    reference = route.content.reference_tier
    if reference not in ("", header.reference_tier):
        return f"the labels compare with {header.reference_tier}, and the route's referenceTier is {reference}"
    return ""
