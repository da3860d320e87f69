"""Checks what holds for every way in which GPUs are shared out, whatever is asked for, held, unknown or drained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.fleets import held, key, numbers, rank, settled, written
from tierwise.decide.fleet import NO_BUDGET, Budget, LimitedBy, Place, PoolState, TierClaim, allocate

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
POOLS = ("a", "b", "c")
money = st.none() | st.integers(1, 8).map(Decimal)
budgets = st.builds(
    Budget, gpus=st.none() | st.integers(0, 12), usd_per_hour=st.none() | st.integers(0, 40).map(Decimal)
)
any_budget = st.one_of(st.just(NO_BUDGET), budgets, budgets, st.just(Budget(known=False)))


@st.composite
def pools(draw: st.DrawFn) -> tuple[PoolState, ...]:
    """Up to three pools; capacity, price and budget may be missing."""
    return tuple(
        PoolState(
            name,
            draw(st.one_of(st.integers(0, 12), st.integers(0, 12), st.none())),
            others=draw(st.sampled_from([0, 0, 1, 3])),
            gpu_hour=draw(money),
            budget=draw(st.one_of(st.just(NO_BUDGET), any_budget)),
        )
        for name in draw(st.lists(st.sampled_from(POOLS), min_size=1, unique=True))
    )


@st.composite
def tiers(draw: st.DrawFn, name: str) -> TierClaim:
    """A tier in any state; its replicas hold as many GPUs in every pool."""
    gpus = draw(st.sampled_from([1, 1, 2, 4]))
    places = []
    for each in draw(st.lists(st.sampled_from(POOLS), min_size=1, unique=True)):
        replicas = draw(st.integers(0, 4))
        pending = draw(st.integers(0, replicas))
        places.append(
            Place(
                each,
                gpus,
                replicas,
                pending=pending,
                starting=draw(st.integers(pending, replicas)),
                terminating=draw(st.sampled_from([0, 0, 0, 1, 2])),
                usd_per_mtok=draw(money),
                clamp=draw(st.one_of(st.none(), st.none(), st.integers(0, 4))),
            )
        )
    floor = draw(st.integers(0, 2))
    return TierClaim(
        key(name),
        tuple(places),
        wanted=draw(st.integers(0, 9)),
        floor=floor,
        most=draw(st.one_of(st.none(), st.integers(floor, 6))),
        kept=draw(st.one_of(st.just(0), st.integers(0, 9))),
        priority=draw(st.sampled_from([1, 1, 2, 5])),
        doubtful=draw(st.sampled_from([False, False, True])),
        failing=draw(st.sampled_from([False, False, False, True])),
    )


fleets = st.integers(1, 4).flatmap(lambda count: st.tuples(*(tiers("wxyz"[index]) for index in range(count))))


@MANY
@given(fleets, pools(), any_budget, st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_does_not_matter(
    claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget, rng: random.Random
) -> None:
    shuffled, others = list(claims), list(known)
    rng.shuffle(shuffled)
    rng.shuffle(others)
    assert allocate(shuffled, others, budget) == allocate(claims, known, budget)


@MANY
@given(fleets, pools(), any_budget)
def test_never_over_a_capacity_or_a_budget(
    claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget
) -> None:
    found = allocate(claims, known, budget)
    before = {each.name: _before(claims, each.name) for each in known}
    after = {each.name: held(claims, found, each.name) for each in known}
    for each in known:
        if after[each.name] == before[each.name]:
            continue
        assert each.capacity is not None
        assert after[each.name] + each.others <= each.capacity
        if each.budget.gpus is not None:
            assert after[each.name] <= each.budget.gpus
        if each.budget.usd_per_hour is not None:
            assert each.gpu_hour is not None
            assert after[each.name] * each.gpu_hour <= each.budget.usd_per_hour
    grown = sum(after.values()) > sum(before.values())
    if grown and budget.gpus is not None:
        elsewhere = sum(
            place.gpus * (place.replicas + place.terminating)
            for claim in claims
            for place in claim.places
            if place.pool not in after
        )
        assert sum(after.values()) + elsewhere <= budget.gpus
    if grown and budget.usd_per_hour is not None:
        spent = [each.gpu_hour * after[each.name] for each in known if each.gpu_hour is not None]
        assert sum(spent) <= budget.usd_per_hour


def _before(claims: Sequence[TierClaim], name: str) -> int:
    """GPUs held before; pods that no node takes are no more."""
    total = 0
    for claim in claims:
        for place in claim.places:
            if place.pool == name:
                unscheduled = 0
                if place.clamp is not None and not claim.failing:
                    unscheduled = min(place.pending, max(0, place.replicas - place.clamp))
                total += place.gpus * (place.replicas - unscheduled + place.terminating)
    return total


@MANY
@given(fleets, pools(), any_budget)
def test_said_twice_it_says_the_same(
    claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget
) -> None:
    found = allocate(claims, known, budget)
    again = allocate(written(claims, found, drained=False), known, budget)
    assert [(each.tier, each.replicas) for each in again.tiers] == [(each.tier, each.replicas) for each in found.tiers]
    for one, two in zip(found.tiers, again.tiers, strict=True):
        assert [(place.pool, place.replicas) for place in two.places] == [
            (place.pool, place.replicas) for place in one.places
        ]
        assert two.waiting == one.waiting


@MANY
@given(fleets, pools(), any_budget)
def test_it_comes_to_rest_and_then_nobody_waits(
    claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget
) -> None:
    _, found = settled(claims, known, budget)
    assert all(each.waiting == 0 for each in found.tiers)


@MANY
@given(fleets, pools(), any_budget)
def test_nothing_grows_where_too_little_is_known(
    claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget
) -> None:
    found = allocate(claims, known, budget)
    told = {each.name: each for each in known}
    for grant in found.tiers:
        for place in grant.places:
            state = told.get(place.pool)
            unknown = (
                state is None
                or state.capacity is None
                or not (state.budget.known and budget.known)
                or (state.gpu_hour is None and (state.budget.usd_per_hour or budget.usd_per_hour) is not None)
            )
            if unknown:
                assert place.replicas <= place.current
                assert place.reclaimed == 0


@MANY
@given(fleets, pools(), any_budget)
def test_doubt_lowers_nothing(claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget) -> None:
    found = {grant.tier: grant for grant in allocate(claims, known, budget).tiers}
    for claim in claims:
        grant = found[claim.tier]
        if claim.failing:
            assert [place.replicas for place in grant.places] == [place.replicas for place in claim.places]
            assert grant.limited_by is LimitedBy.METRICS
        elif claim.doubtful:
            unscheduled = sum(
                min(place.pending, max(0, place.replicas - place.clamp))
                for place in claim.places
                if place.clamp is not None
            )
            allowed = claim.present if claim.most is None else min(claim.present, max(claim.most, claim.floor))
            assert grant.replicas >= min(allowed, claim.present - unscheduled)
            assert not any(place.reclaimed for place in grant.places)


@MANY
@given(fleets, tiers("broken"), pools())
def test_a_tier_that_fails_is_to_others_as_if_its_gpus_were_foreign(
    claims: tuple[TierClaim, ...], broken: TierClaim, known: tuple[PoolState, ...]
) -> None:
    # What is terminating goes whether its tier fails or not, and is waited for; foreign GPUs are not.
    still = tuple(replace(place, terminating=0) for place in broken.places)
    broken = replace(broken, failing=True, places=still)
    known = tuple(replace(each, budget=NO_BUDGET) for each in known)
    holds = {place.pool: place.gpus * place.replicas for place in broken.places}
    foreign = [replace(each, others=each.others + holds.get(each.name, 0)) for each in known]
    found, alone = numbers(allocate([*claims, broken], known)), numbers(allocate(claims, foreign))
    assert found == alone | {"broken": broken.present}


@MANY
@given(fleets, pools(), any_budget)
def test_at_rest_nobody_can_be_helped_without_harm_to_one_who_has_no_more(
    claims: tuple[TierClaim, ...], known: tuple[PoolState, ...], budget: Budget
) -> None:
    claims, found = settled(claims, known, budget)
    has = numbers(found)
    told = {each.name: each for each in known}
    for claim in claims:
        if claim.failing or has[claim.tier.name] >= claim.target:
            continue
        for place in claim.places:
            if place.pool not in told or (place.clamp is not None and place.replicas >= place.clamp):
                continue
            takeable = {
                other.tier.name: _takeable(other, has[other.tier.name], rank(claim, has[claim.tier.name]))
                for other in claims
            }
            assert not _could_have(place, told, claims, takeable, budget), (claim.tier.name, place.pool)


def _takeable(giver: TierClaim, replicas: int, above: tuple[int, float]) -> int:
    if giver.failing or giver.doubtful:
        return 0
    return sum(1 for left in range(replicas) if rank(giver, left) > above)


def _could_have(
    place: Place,
    told: dict[str, PoolState],
    claims: Sequence[TierClaim],
    takeable: dict[str, int],
    budget: Budget,
) -> bool:
    """Whether one more replica would fit under every limit, if from each other tier so many replicas were taken."""
    if not budget.known or (budget.usd_per_hour is not None and _spend_unknown(told, claims, place)):
        return False
    here = told[place.pool]
    if here.capacity is None or not here.budget.known:
        return False
    if here.budget.usd_per_hour is not None and here.gpu_hour is None:
        return False
    fixed = {name for name, each in told.items() if each.capacity is None or not each.budget.known}
    fixed |= {name for name, each in told.items() if each.budget.usd_per_hour is not None and each.gpu_hour is None}
    fixed |= {
        name
        for name, each in told.items()
        if each.capacity is not None and _used(claims, name) + each.others > each.capacity
    }

    def released(within: set[str], worth: dict[str, Decimal]) -> Decimal:
        total = Decimal(0)
        for other in claims:
            values = sorted(
                (
                    worth[each.pool] * each.gpus
                    for each in other.places
                    for _ in range(each.replicas)
                    if each.pool in within and each.pool not in fixed
                ),
                reverse=True,
            )
            total += sum(values[: takeable[other.tier.name]])
        return total

    one = {name: Decimal(1) for name in POOLS}
    prices = {name: (told[name].gpu_hour or Decimal(0)) if name in told else Decimal(0) for name in POOLS}
    used, local = _used(claims, place.pool), released({place.pool}, one)
    checks = [here.capacity - here.others - used + local >= place.gpus]
    if here.budget.gpus is not None:
        checks.append(here.budget.gpus - used + local >= place.gpus)
    if here.budget.usd_per_hour is not None and here.gpu_hour:
        checks.append(int(here.budget.usd_per_hour // here.gpu_hour) - used + local >= place.gpus)
    if budget.gpus is not None:
        everywhere = sum(_used(claims, name) for name in POOLS)
        checks.append(budget.gpus - everywhere + released(set(POOLS), one) >= place.gpus)
    if budget.usd_per_hour is not None:
        spent = sum((_used(claims, name) * prices[name] for name in POOLS), Decimal(0))
        left = budget.usd_per_hour - spent + released(set(POOLS), prices)
        checks.append(left >= place.gpus * prices[place.pool])
    return all(checks)


def _used(claims: Sequence[TierClaim], name: str) -> int:
    return sum(
        each.gpus * (each.replicas + each.terminating) for claim in claims for each in claim.places if each.pool == name
    )


def _spend_unknown(told: dict[str, PoolState], claims: Sequence[TierClaim], place: Place) -> bool:
    standing = {each.pool for claim in claims for each in claim.places if each.replicas or each.terminating}
    return any(name not in told or told[name].gpu_hour is None for name in standing | {place.pool})
