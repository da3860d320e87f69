"""Checks that requests take the way that the router's own rules say: policy, spill, queue, fallback, share."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.simulator.replay.make import even, hosted, ran, result, route, scenario, tier, trace
from tierwise_sim.replay.router import blocks_of
from tierwise_sim.replay.traffic import hashes_of
from tierwise_sim.traces.arrival import Arrival


def test_a_rule_sends_long_prompts_to_the_large_tier() -> None:
    arrivals = [Arrival(each * 2.0, 2000 if each % 4 == 0 else 200, 20) for each in range(100)]
    rules = {"rules": [{"name": "long", "match": {"minPromptTokens": 1000}, "tier": "large"}]}
    found = result(scenario(trace(arrivals, 220.0), tier(), tier("large"), route("small", "large", policy=rules)))
    assert found.total.share == {"small": 0.75, "large": 0.25}


def test_who_asks_for_a_tier_by_its_name_gets_that_tier() -> None:
    found = result(scenario(even(0.5, 100.0, model="large"), tier(), tier("large"), route("small", "large")))
    assert found.total.share == {"small": 0.0, "large": 1.0}
    assert found.tiers[1].requests.spilled == 0


def test_a_model_that_nobody_has_is_refused() -> None:
    found = result(scenario(even(1.0, 20.0, model="gpt-9"), tier(), route("small")))
    assert found.total.requests.refused == {"model_not_found": 20}
    assert found.total.requests.arrived == 20


def test_a_full_tier_spills_for_so_much_an_hour_and_then_lets_wait() -> None:
    documents = (tier(replicas=1), hosted())
    tiers = ("small", {"name": "hosted", "use": "Overflow"})
    free = result(scenario(even(6.0, 300.0), *documents, route(*tiers)))
    capped = result(scenario(even(6.0, 300.0), *documents, route(*tiers, overflow={"maxCostPerHour": "0.10"})))
    alone = result(scenario(even(6.0, 300.0), *documents, route("small")))
    spilled = free.tiers[1].requests
    assert spilled.answered == spilled.spilled > 200
    each = Decimal("0.00032")  # 400 tokens at 0.40 and 100 at 1.60 $ per million
    assert free.tiers[1].dollars == each * spilled.answered
    assert 0 < capped.tiers[1].dollars <= Decimal("0.10")
    assert free.total.requests.met > capped.total.requests.met >= alone.total.requests.met
    assert free.savings is not None
    assert free.savings.parts["spill"] != 0


def test_a_full_queue_refuses_and_a_long_wait_is_over_in_time() -> None:
    short = route("small", queue={"maxRequests": 20, "timeoutSeconds": 3})
    found = result(scenario(even(20.0, 120.0), tier(replicas=1), short))
    assert set(found.total.requests.refused) == {"queue_full", "queue_timeout"}
    assert found.total.ttft is not None
    assert found.total.ttft.largest < 30


def test_a_prompt_that_fits_nowhere_is_refused_and_an_answer_ends_where_the_context_does() -> None:
    arrivals = [Arrival(1.0, 9000, 10), Arrival(2.0, 8000, 500)]
    found = ran(scenario(trace(arrivals, 120.0), tier(), route("small")))
    account = found.account.tiers["small"]
    assert account.refused == {"context_too_long": 1}
    assert account.output == 192


@pytest.mark.parametrize("share", [0.0, 30.0, 100.0])
@pytest.mark.parametrize("labelled", [False, True])
def test_a_classifier_sends_its_share_to_the_reference_tier_and_the_hard_ones_first(
    share: float, labelled: bool
) -> None:
    arrivals = [Arrival(each / 2, 100, 10, label=(each * 7 % 100) / 100 if labelled else None) for each in range(1000)]
    policy = {"type": "Classifier", "classifier": {"configMapName": "c"}}
    of = scenario(trace(arrivals, 600.0), tier(), tier("large"), route("small", "large", policy=policy), share=share)
    found = ran(of)
    large = found.account.tiers["large"].answered
    assert large == pytest.approx(share * 10, abs=45)


def test_the_same_beginnings_are_computed_once_and_go_where_they_are() -> None:
    turns = [
        Arrival(each * 0.5, 1500, 20, prefix=tuple(range(each % 5 * 100, each % 5 * 100 + 2)), block_tokens=512)
        for each in range(200)
    ]
    without = [replace(each, prefix=(), block_tokens=0) for each in turns]
    cached = result(scenario(trace(turns, 130.0), tier(replicas=2), route("small")))
    cold = result(scenario(trace(without, 130.0), tier(replicas=2), route("small")))
    assert cached.total.tokens.cached > 0.6 * cached.total.tokens.prompt
    assert cold.total.tokens.cached == 0
    assert cached.total.ttft is not None
    assert cold.total.ttft is not None
    assert cached.total.ttft.mean < 0.7 * cold.total.ttft.mean


def test_blocks_of_a_trace_are_equal_exactly_where_prompts_are() -> None:
    assert blocks_of((), 0) == ()
    assert len(blocks_of((3, 4), 512)) == 16
    assert blocks_of((3, 4), 512)[:8] == blocks_of((3, 9), 512)[:8]
    assert not set(blocks_of((3, 4), 512)[8:]) & set(blocks_of((3, 9), 512)[8:])
    assert blocks_of((1, 2, 3, 4, 5), 16) == (4,)
    assert len(hashes_of((3, 4), 512, 16)) == 64
    assert hashes_of((1, 2, 3, 4), 8, 16) == (2, 4)


@pytest.mark.parametrize("product", ["", "NVIDIA-L4"])
def test_gpus_that_tiers_share_are_never_given_twice(product: str) -> None:
    of = scenario(
        even(8.0, 300.0, output=300), tier(), tier("large"), route("small", "large"), budget={product: 3}, startup=20.0
    )
    found = result(of)
    points = sorted({point.at for each in found.tiers for point in each.timeline})

    def held(at: float) -> int:
        return sum(next(point.replicas for point in reversed(each.timeline) if point.at <= at) for each in found.tiers)

    assert max(held(at) for at in points) == 3
    assert found.tiers[0].seconds_at_budget > 100


def test_pressure_takes_from_a_full_reference_tier_what_it_cannot_serve() -> None:
    policy = {"type": "Classifier", "classifier": {"configMapName": "c"}}
    documents = (tier(), tier("large", maxReplicas=1))
    shares = []
    choices: tuple[dict[str, Any], ...] = ({}, {"pressure": {}})
    for limits in choices:
        over = route("small", "large", policy=policy, queue={"maxRequests": 1000}, **limits)
        found = result(scenario(even(12.0, 240.0, output=200), *documents, over, share=100.0))
        shares.append(found.total.share["small"])
    assert shares[0] == 0.0
    assert shares[1] > 0.2


def test_what_a_full_engine_refuses_is_tried_elsewhere_and_counted_once() -> None:
    """Two routers that do not talk give an engine twice what it takes."""
    body = tier(replicas=2)
    body["spec"]["batching"] = {"maxSequences": 8, "maxQueuedRequests": 4}
    found = ran(scenario(even(14.0, 120.0), body, route("small", replicas=2, queue={"timeoutSeconds": 5})))
    rejected = sum(sum(one.engine.stats.rejections.values()) for one in found.fleets["small"].replicas)
    account = found.account.all()
    assert rejected > 20
    assert account.retried > 0
    assert account.answered + account.open + sum(account.refused.values()) == 14 * 120
