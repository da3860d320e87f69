"""Says what a tier got, what limits it, and why: one word, one sentence, and the steps."""

from __future__ import annotations

from tierwise.decide.fleet.limits import Limits
from tierwise.decide.fleet.standing import Standing
from tierwise.decide.fleet.values import Granted, LimitedBy, TierGrant
from tierwise.types.plan import Step

MOST_RECLAIM_STEPS = 3
"""How many of its lost replicas a tier's steps name: the status has room for twelve steps in all."""


def grant(tier: Standing, limits: Limits) -> TierGrant:
    """What the tier got, when all has been shared out."""
    claim = tier.claim
    word, message = _limit(tier, limits)
    asked = max(claim.wanted, claim.floor)
    steps = (*_asked(tier), *tier.steps[:MOST_RECLAIM_STEPS], _last(tier, word, message))
    return TierGrant(
        tier=claim.tier,
        places=tuple(
            Granted(place.pool, place.replicas, have, reclaimed)
            for place, have, reclaimed in zip(claim.places, tier.have, tier.reclaimed, strict=True)
        ),
        limited_by=word,
        message=message,
        waiting=tier.waiting,
        met=min(1.0, (tier.total + tier.waiting) / asked) if asked else 1.0,
        steps=steps,
    )


def _limit(tier: Standing, limits: Limits) -> tuple[LimitedBy, str]:
    claim = tier.claim
    if claim.failing:
        return LimitedBy.METRICS, f"it could not be decided: it keeps {_replicas(tier.total)} and gets no more"
    if tier.total < tier.target:
        said = [*tier.refusals, *_shut(tier, limits)]
        if tier.waiting:
            said.insert(0, f"{_replicas(tier.waiting)} more when what drains is free")
        return tier.refused or LimitedBy.POOL, "; ".join(said) or "it names no pool"
    if claim.most is not None and claim.wanted > claim.most:
        return LimitedBy.MAX, f"its load asks for {claim.wanted}, maxReplicas allows {claim.most}"
    if tier.total > tier.target:
        if claim.doubtful:
            return LimitedBy.METRICS, "without complete measurements the number does not fall"
        return LimitedBy.WINDOW, f"a higher number still counts: {_replicas(claim.kept)}"
    return LimitedBy.TARGET, f"its load asks for {_replicas(claim.wanted)}"


def _shut(tier: Standing, limits: Limits) -> list[str]:
    """The places where it could not even ask for more."""
    said = []
    for place, have in zip(tier.claim.places, tier.have, strict=True):
        if place.pool in limits.closed:
            said.append(f"pool {place.pool}: {limits.closed[place.pool]}")
        elif place.clamp is not None and have >= place.clamp:
            said.append(f"pool {place.pool}: no node took more than {_replicas(place.clamp)} lately")
    return said


def _asked(tier: Standing) -> list[Step]:
    """What it asks for, before others are looked at."""
    claim = tier.claim
    steps = [Step("wanted", claim.wanted)]
    if claim.failing:
        return [*steps, Step("failing", claim.present, LimitedBy.METRICS.value, "it keeps what it has")]
    if claim.most is not None and claim.wanted > claim.most:
        steps.append(Step("bounds", tier.target, LimitedBy.MAX.value, f"maxReplicas allows {claim.most}"))
    else:
        steps.append(Step("bounds", tier.target))
    kept = claim.present if claim.doubtful else claim.kept
    if claim.most is not None:
        kept = min(kept, claim.most)
    if kept > tier.target and claim.present > tier.target:
        word = LimitedBy.METRICS if claim.doubtful else LimitedBy.WINDOW
        steps.append(Step("kept", min(kept, claim.present), word.value))
    return steps


def _last(tier: Standing, word: LimitedBy, message: str) -> Step:
    limited = tier.total < tier.target
    return Step("pools", tier.total, word.value if limited else "", message if limited else "")


def _replicas(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"
