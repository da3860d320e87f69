"""Checks that decisions, engines and scrapes together reach the replicas that the load needs, and stay there."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.unit.decide.fleet import Fleet, RoutedFleet, SpillingFleet
from tests.unit.decide.make import spec
from tierwise import reasons
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import remember
from tierwise.decide.state_codec import restore
from tierwise_sim.settings import EngineSettings

WINDOW = 60


def turns(history: list[int]) -> int:
    """Changes of direction."""
    moves = [after - before for before, after in pairwise(history) if after != before]
    return sum(1 for before, after in pairwise(moves) if (before > 0) != (after > 0))


def fleet(sequences: int, waiting: int, **changes: object) -> Fleet:
    """A tier of an 8B model on an L4."""
    tier = spec(
        batching={"maxSequences": sequences},
        waitingPerReplica=waiting,
        maxReplicas=30,
        scaleDownWindowSeconds=WINDOW,
    )
    found = Fleet(tier, EngineSettings(max_num_seqs=sequences, max_model_len=8192))
    return replace(found, replicas=[], **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sequences", "waiting", "users", "start"),
    [(8, 2, 35, 2.0), (8, 2, 35, 60.0), (16, 4, 50, 30.0), (4, 0, 10, 120.0)],
)
def test_a_load_step_moves_replicas_from_one_to_n_and_back(
    sequences: int, waiting: int, users: int, start: float
) -> None:
    expected = math.ceil(users / (sequences + waiting))
    tier = fleet(sequences, waiting, start_seconds=start)
    tier.run(30)
    assert tier.history == [1, 1, 1]
    tier.users = users
    tier.run(20)
    assert tier.wanted == expected, "in one decision, of the first scrape that saw it"
    tier.run(start + 80)
    assert tier.wanted == expected
    tier.users = 0
    tier.run(WINDOW + 30)
    assert tier.wanted == 1
    assert max(tier.history) <= expected + 1
    assert turns(tier.history) <= 1


def test_engines_bound_by_memory_get_the_replicas_that_their_memory_needs() -> None:
    """Room for 8192 tokens, requests of 600: 13 of the 32 allowed run at once, and 60 * 600 / 6554 (80 %) is 5.5."""
    tier = fleet(32, 5, prompt=500, answer=100, start_seconds=30.0)
    tier = replace(
        tier,
        replicas=[],
        settings=EngineSettings(max_num_seqs=32, max_model_len=4096, kv_blocks_override=512),
    )
    tier.run(30)
    tier.users = 60
    tier.run(160)
    assert 4 <= tier.wanted <= 6
    assert max(tier.history) <= 7
    assert turns(tier.history) <= 1


def test_a_restart_in_the_middle_changes_nothing_while_the_load_holds() -> None:
    tier = fleet(8, 2)
    tier.run(30)
    tier.users = 35
    for _ in range(6):
        tier.run(30)
        scaling = ModelTierStatus().scaling.model_copy(update={"memory": remember(tier.memory)})
        tier.memory = restore(ModelTierStatus().model_copy(update={"scaling": scaling}), tier.now)
    assert set(tier.history[4:]) == {4}


def test_new_replicas_hold_the_target_until_they_are_scraped_and_raise_no_alarm() -> None:
    tier = fleet(8, 2, start_seconds=20.0)
    tier.run(30)
    tier.users = 35
    tier.run(25)
    tier.users = 0
    tier.run(20)
    limits = {decision.limited_by for decision in tier.decisions[5:]}
    assert tier.wanted == 4
    assert limits <= {"", reasons.NO_METRICS, reasons.SCALE_DOWN_WINDOW}


@pytest.mark.parametrize("concurrency", [1.0, 1.25, 2.0])
@pytest.mark.parametrize(
    ("sequences", "waiting", "users", "start"),
    [(8, 2, 35, 2.0), (8, 2, 35, 60.0), (16, 4, 50, 30.0), (4, 0, 10, 120.0)],
)
def test_behind_a_router_a_load_step_reaches_the_same_replicas_however_little_waits_in_the_engines(
    sequences: int, waiting: int, users: int, start: float, concurrency: float
) -> None:
    """What a router keeps to itself counts, so it need not overfill an engine for a tier to grow."""
    expected = math.ceil(users / (sequences + waiting))
    plain = fleet(sequences, waiting, start_seconds=start)
    tier = RoutedFleet(plain.spec, plain.settings, start_seconds=start, concurrency=round(sequences * concurrency))
    tier.run(30)
    assert tier.history == [1, 1, 1]
    tier.users = users
    tier.run(20)
    assert tier.wanted == expected
    tier.run(start + 80)
    assert tier.wanted == expected
    assert max(tier.history) <= expected + 1
    assert turns(tier.history) <= 1
    tier.users = 0
    tier.run(WINDOW + 40)
    assert tier.wanted == 1


def test_engines_bound_by_memory_get_their_replicas_behind_a_router_too() -> None:
    """As above: 13 of the 32 allowed run at once. The router gives each replica 37 and keeps the others."""
    plain = fleet(32, 5, prompt=500, answer=100)
    few = EngineSettings(max_num_seqs=32, max_model_len=4096, kv_blocks_override=512)
    tier = RoutedFleet(plain.spec, few, start_seconds=30.0, prompt=500, answer=100, concurrency=37)
    tier.run(30)
    tier.users = 60
    tier.run(160)
    assert 4 <= tier.wanted <= 6
    assert max(tier.history) <= 7
    assert turns(tier.history) <= 1


@pytest.mark.parametrize("start", [5.0, 30.0, 120.0])
@pytest.mark.parametrize("times", [1.5, 3.0, 5.0])
def test_what_spills_makes_a_tier_grow_to_what_it_needs_and_not_beyond(times: float, start: float) -> None:
    """Arrivals of so many times what a full replica ends in a second. No engine shows more than the ten that it is
    given, so the tier at most doubles by each look."""
    full = fleet(8, 2, users=10)
    full = replace(full, spec=spec(batching={"maxSequences": 8}, waitingPerReplica=2, maxReplicas=1), replicas=[])
    full.run(100)
    arrivals = times * full.finished / 100
    plain = fleet(8, 2)
    tier = SpillingFleet(plain.spec, plain.settings, start_seconds=start, concurrency=10, arrivals=arrivals)
    tier.run(600)
    assert tier.history[-1] == max(tier.history) == math.ceil(times)
    assert turns(tier.history) == 0
    assert sum(1 for at in tier.spilled if at > tier.now - 120) <= 0.1 * 120 * arrivals
