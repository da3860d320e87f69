"""What is learned of how fast a replica is in each pool, and what a token costs there."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.decide.make import HEALTHY, KEY, NOW, heard, pod, router, sample, value, view
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import decide
from tierwise.decide.capacity_estimate import learned_for
from tierwise.decide.pool_rates import learn_rates, usd_per_million_tokens
from tierwise.types import MISSING, PodSample, PoolRate, Signal, Snapshot, State, TierState, TierView


def in_pool(usd: str | None, gpus: int = 1) -> ModelTierSpec:
    """What is made in a pool."""
    price = None if usd is None else {"gpuHour": usd}
    body = {"model": {"name": "m", "uri": "hf://org/m"}, "price": price, "resources": {"gpus": gpus}}
    return ModelTierSpec.model_validate({**body, "parallelism": {"tensor": gpus}})


CHEAP, DEAR = in_pool("1"), in_pool("4", 2)
# As many may wait as `scaling.waitingPerReplica` says, 5: these have more.
QUEUED = (("a-1", 16.0), ("a-2", 16.0), ("b-1", 16.0))


def busy(name: str, rate: float | Signal, waiting: float = 6, at: float = NOW) -> PodSample:
    signal = rate if isinstance(rate, Signal) else value(rate, at)
    return replace(sample(name, 16, waiting, at=at), tokens_per_second=signal)


def two(*samples: PodSample, ready: frozenset[str] = frozenset({"a-1", "a-2", "b-1"})) -> TierView:
    """Replicas a-… in the pool l4, b-… in h100."""
    seen = view(CHEAP, samples)
    (here,) = seen.workloads
    workloads = tuple(
        replace(
            here,
            name=name,
            pool=pool,
            spec=made,
            pods=tuple(pod(each.pod) for each in samples if each.pod.startswith(letter)),
            ready_endpoints=frozenset(each for each in ready if each.startswith(letter)),
        )
        for letter, name, pool, made in (("a", "chat", "l4", CHEAP), ("b", "chat-h100", "h100", DEAR))
    )
    return replace(seen, workloads=workloads)


def learned(seen: TierView, state: TierState) -> dict[str, float]:
    return {each.pool: each.tokens_per_second for each in learn_rates(seen, state)}


def rate(pool: str, tokens: float, made: ModelTierSpec) -> PoolRate:
    return PoolRate(pool, tokens, learned_for(made))


BEFORE = TierState(queued=QUEUED, sampled_at=NOW - 10)


def test_each_pool_learns_from_its_own_replicas_and_the_lower_of_two_counts() -> None:
    seen = two(busy("a-1", 900), busy("a-2", 1000), busy("b-1", 4000.04))
    assert learn_rates(seen, BEFORE) == (rate("h100", 4000.0, DEAR), rate("l4", 900.0, CHEAP))


@pytest.mark.parametrize(("running", "waiting", "found"), [(103, 1, {"l4": 900.0}), (102, 99, {}), (128, 0, {})])
def test_behind_routers_who_runs_nearly_all_that_they_give_it_has_the_queue_that_waits_in_them(
    running: float, waiting: float, found: dict[str, float]
) -> None:
    def seen(at: float) -> TierView:
        full = replace(sample("a-1", running, at=at), tokens_per_second=value(900, at))
        return replace(two(full), routers=heard(router(waiting=waiting, refused=3, at=at)))

    memory = replace(BEFORE, queued=(), sampled_at=NOW - 20)
    (before,) = decide(Snapshot(NOW - 10, (seen(NOW - 10),), HEALTHY), {KEY: memory}).tiers
    assert before.state.rates == (), "one sample teaches nothing"
    (after,) = decide(Snapshot(NOW, (seen(NOW),), HEALTHY), {KEY: before.state}).tiers
    assert {each.pool: each.tokens_per_second for each in after.state.rates} == found


def test_a_pool_of_which_nothing_is_made_yet_does_not_keep_the_others_from_learning() -> None:
    seen = two(busy("a-1", 900), busy("b-1", 4000.0))
    first, second = seen.workloads
    unmade = replace(seen, workloads=(replace(first, spec=None), second))
    assert learned(unmade, BEFORE) == {"h100": 4000.0}


def test_the_decision_remembers_what_was_learned() -> None:
    seen = two(busy("a-1", 900), busy("a-2", 1000), busy("b-1", 4000.0))
    (found,) = decide(Snapshot(NOW, (seen,), HEALTHY), {KEY: BEFORE}).tiers
    assert {each.pool: each.tokens_per_second for each in found.state.rates} == {"h100": 4000.0, "l4": 900.0}


@pytest.mark.parametrize(
    "seen",
    [
        two(busy("a-1", 900, waiting=5)),  # as many as may wait
        two(busy("a-1", MISSING)),
        two(busy("a-1", Signal(State.STALE, 900, NOW))),
        two(busy("a-1", 0)),
        two(busy("a-1", 900), ready=frozenset()),  # it takes no request
        two(replace(busy("a-1", 900), waiting=MISSING)),
        two(busy("a-9", 900), ready=frozenset({"a-9"})),  # it had no queue in the last sample
        two(busy("a-1", 900, at=NOW - 10)),  # the same sample as before
        two(),
    ],
)
def test_who_has_nothing_to_wait_for_shows_nothing(seen: TierView) -> None:
    assert learned(seen, BEFORE) == {}
    known = replace(BEFORE, rates=(rate("l4", 500.0, CHEAP),))
    assert learned(seen, known) == {"l4": 500.0}, "what is known stays"


@pytest.mark.parametrize(
    ("seen", "after"), [(1000.0, 650.0), (526.0, 507.8), (525.0, 500.0), (475.0, 500.0), (400, 470)]
)
def test_the_number_moves_a_part_of_the_way(seen: float, after: float) -> None:
    known = replace(BEFORE, rates=(rate("l4", 500.0, CHEAP),))
    assert learned(two(busy("a-1", seen)), known) == {"l4": after}


def test_what_moves_stays_learned_for_its_spec_to_a_tenth() -> None:
    known = replace(BEFORE, rates=(rate("l4", 500.0, CHEAP),))
    assert learn_rates(two(busy("a-1", 1000.1)), known) == (rate("l4", 650.0, CHEAP),)


@pytest.mark.parametrize(("seen", "first"), [(900.26, 900.3), (1.0, 1.0), (0.5, 0.5)])
def test_the_first_number_counts_to_a_tenth_however_slow_the_replica_is(seen: float, first: float) -> None:
    assert learn_rates(two(busy("a-1", seen)), BEFORE) == (rate("l4", first, CHEAP),)


def test_another_spec_starts_again() -> None:
    other = replace(BEFORE, rates=(rate("l4", 500.0, DEAR),))
    assert learned(two(), other) == {}
    assert learned(two(busy("a-1", 900)), other) == {"l4": 900.0}


def test_a_pool_that_is_left_is_forgotten() -> None:
    known = replace(BEFORE, rates=(rate("l4", 500.0, CHEAP), rate("t4", 100.0, CHEAP)))
    assert learned(two(), known) == {"l4": 500.0}
    seen = two()
    seen = replace(seen, workloads=(replace(seen.workloads[0], retired=True), seen.workloads[1]))
    assert learned(seen, known) == {}


def test_the_first_sample_of_all_counts() -> None:
    assert learned(two(busy("a-1", 900)), replace(BEFORE, sampled_at=None)) == {"l4": 900.0}


def test_what_a_token_costs() -> None:
    assert usd_per_million_tokens(CHEAP, rate("l4", 1000.0, CHEAP)) == Decimal(1) / 3600 / 1000 * 1_000_000
    dear = usd_per_million_tokens(DEAR, rate("h100", 10_000.0, DEAR))
    assert dear is not None
    assert round(dear, 4) == Decimal("0.2222")
    for slow in (1.0, 0.5):
        slowly = usd_per_million_tokens(CHEAP, rate("l4", slow, CHEAP))
        assert slowly is not None
        assert round(slowly, 4) == round(Decimal(1_000_000) / 3600 / Decimal(slow), 4)
    assert usd_per_million_tokens(CHEAP, None) is None
    assert usd_per_million_tokens(CHEAP, rate("l4", 0.0, CHEAP)) is None
    assert usd_per_million_tokens(in_pool(None), rate("l4", 1.0, CHEAP)) is None
