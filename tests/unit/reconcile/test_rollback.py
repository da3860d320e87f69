"""Checks that `rollout: Replace` goes back to the last spec that served, once, and remembers it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.reconcile.rollouts import TIER, Town
from tierwise import reasons
from tierwise.errors import Conflict


async def town(image: str = "good-1", minutes: float = 2, **spec: Any) -> Town:
    made = Town()
    made.apply(image, **spec)
    await made.minutes(minutes)
    return made


async def test_what_has_served_is_remembered_with_the_fields_that_make_a_replica() -> None:
    here = await town(scaling={"minReplicas": 2, "maxReplicas": 3}, price={"gpuHour": "1"})
    good = here.status.rollout.last_good
    assert good is not None
    assert good.generation == 1
    assert '"image":"registry.example.com/engine:good-1"' in good.spec
    assert "scaling" not in good.spec
    assert "gpuHour" not in good.spec
    assert len(good.spec) < 300
    assert good.replica_set == here.pods[0].replica_set


@pytest.mark.parametrize(
    ("image", "reason", "words"),
    [
        ("unpullable", reasons.IMAGE_PULL, "not found"),
        ("crashes", reasons.ENGINE_CRASHED, "unrecognized arguments"),
        ("too-large", reasons.ENGINE_OUT_OF_MEMORY, "resources.memory"),
        ("unstartable", reasons.SECRET_MISSING, 'secret "x" not found'),
        ("hangs", reasons.START_TIMEOUT, "not ready 60 s"),
    ],
)
async def test_a_spec_that_cannot_start_is_given_up_and_the_last_good_one_serves_again(
    image: str, reason: str, words: str
) -> None:
    here = await town(startupTimeoutSeconds=60)
    here.apply(image, startupTimeoutSeconds=60)
    await here.minutes(5)
    assert here.rendered == ["good-1", image, "good-1"]
    assert here.serving == ["good-1"]
    failed = here.status.rollout.failed
    assert failed is not None
    assert (failed.generation, failed.reason) == (2, reason)
    told = here.provisioned
    assert (told.status, told.reason) == ("False", reasons.ROLLED_BACK)
    for part in ("Generation 2 cannot start", reason, words, "generation 1", "rollout: Surge"):
        assert part in told.message
    assert here.status.state == "Degraded"
    assert [event.reason for event in here.store.events].count(reasons.ROLLED_BACK) == 1
    assert reasons.HEALED not in [event.reason for event in here.store.events]


async def test_at_rest_after_the_way_back_nothing_is_written() -> None:
    here = await town()
    here.apply("crashes")
    await here.minutes(5)
    here.store.writes.clear()
    await here.minutes(5)
    assert here.store.writes == []


async def test_the_rest_serves_throughout_and_no_replica_is_added() -> None:
    here = await town(scaling={"minReplicas": 3, "maxReplicas": 8}, minutes=3)
    here.apply("crashes", scaling={"minReplicas": 3, "maxReplicas": 8})
    for _ in range(30):
        await here.cycle()
        assert len(here.serving) >= 2
        assert len(here.pods) <= 3
    assert here.serving == ["good-1"] * 3
    assert not [write for write in here.store.writes if write[0].startswith("scale") and write[0] != "scale to 3"]


async def test_surge_keeps_what_serves_and_goes_nowhere() -> None:
    here = await town(rollout="Surge")
    here.apply("crashes", rollout="Surge")
    for _ in range(30):
        await here.cycle()
        assert here.serving == ["good-1"]
    assert here.rendered == ["good-1", "crashes"]
    assert here.provisioned.reason == reasons.ENGINE_CRASHED


async def test_a_correction_is_tried_at_once_and_becomes_the_last_good_one() -> None:
    here = await town()
    here.apply("crashes")
    await here.minutes(5)
    here.apply("good-2")
    await here.minutes(3)
    assert here.rendered == ["good-1", "crashes", "good-1", "good-2"]
    assert here.serving == ["good-2"]
    rollout = here.status.rollout
    assert rollout.failed is None
    assert rollout.last_good is not None
    assert rollout.last_good.generation == 3
    assert here.provisioned.status == "True"


async def test_an_engine_that_ends_twice_and_then_serves_is_not_given_up() -> None:
    """What it loads from was away for half a minute."""
    here = await town()
    here.apply("flaky")
    told = []
    for _ in range(12):
        await here.cycle()
        told.append(here.provisioned.reason)
    assert reasons.ENGINE_CRASHED in told[:4], "a user hears of it at its first end"
    assert here.rendered == ["good-1", "flaky"]
    assert here.serving == ["flaky"]
    assert here.status.rollout.failed is None


async def test_a_correction_is_not_blamed_for_the_pods_before_it() -> None:
    here = await town()
    here.apply("crashes")
    await here.minutes(0.5)  # it has ended once: not given up yet
    here.apply("good-2")
    await here.minutes(3)
    assert here.rendered == ["good-1", "crashes", "good-2"]
    assert here.serving == ["good-2"]


async def test_scaling_is_followed_meanwhile_and_tries_nothing_again() -> None:
    here = await town()
    here.apply("crashes")
    await here.minutes(5)
    here.apply("crashes", scaling={"minReplicas": 3, "maxReplicas": 3})
    await here.minutes(2)
    assert here.rendered == ["good-1", "crashes", "good-1"]
    assert here.serving == ["good-1"] * 3
    here.apply("crashes", replicas=1)
    await here.minutes(2)
    assert here.serving == ["good-1"]
    assert here.provisioned.reason == reasons.ROLLED_BACK


async def test_the_failed_spec_again_with_surge_is_tried_beside_what_serves() -> None:
    here = await town()
    here.apply("crashes")
    await here.minutes(5)
    here.apply("crashes", rollout="Surge")
    for _ in range(12):
        await here.cycle()
        assert here.serving == ["good-1"]
    assert here.rendered[-1] == "crashes"


async def test_without_a_last_good_one_there_is_no_way_back() -> None:
    here = await town("crashes", minutes=10)
    assert here.rendered == ["crashes"]
    assert here.status.rollout.last_good is None
    assert here.status.rollout.failed is None
    assert here.provisioned.reason == reasons.ENGINE_CRASHED


async def test_what_answered_for_a_moment_only_is_not_the_last_good_one() -> None:
    here = await town()
    here.apply("good-2")
    for _ in range(5):
        await here.cycle()
        if here.serving == ["good-2"]:
            break
    here.pods[0].image = "crashes"  # it answers its first probe, and dies of its first requests
    await here.minutes(5)
    assert here.serving == ["good-1"]


async def test_a_failure_of_the_last_good_one_is_told_and_nothing_else_is_tried() -> None:
    here = await town()
    here.apply("crashes")
    await here.minutes(5)
    here.pods[0].image = "too-large"
    await here.minutes(5)
    assert here.rendered == ["good-1", "crashes", "good-1"]
    told = here.provisioned
    assert told.reason == reasons.ROLLED_BACK
    assert "which does not start either (EngineOutOfMemory" in told.message


async def test_one_good_replica_of_a_spec_shows_that_it_can_start() -> None:
    """The second one's node may be broken."""
    pinned: dict[str, Any] = {"replicas": 2}
    here = await town(**pinned)
    here.apply("good-2", **pinned)
    for _ in range(10):
        await here.cycle()
        if here.serving == ["good-2"]:
            break
    second = next(pod for pod in here.pods if not pod.ready(here.clock.at))
    second.image = "crashes"
    await here.minutes(5)
    assert here.rendered == ["good-1", "good-2"]


async def test_a_restarted_operator_decides_the_same() -> None:
    here = await town()
    here.restart()
    here.apply("crashes")
    for _ in range(40):
        here.restart()
        await here.cycle()
    assert here.rendered == ["good-1", "crashes", "good-1"]
    assert here.serving == ["good-1"]


async def test_nothing_is_given_up_before_that_is_remembered() -> None:
    """While the mark cannot be written the present spec stays: otherwise each loss of it would be another try."""
    here = await town()
    here.apply("crashes")
    await here.cycle()
    here.store.failing["status"] = Conflict("modified", status=409)
    await here.minutes(5)
    assert here.rendered == ["good-1", "crashes"]
    here.store.failing.clear()
    await here.minutes(2)
    assert here.rendered == ["good-1", "crashes", "good-1"]


async def test_a_last_good_spec_that_this_release_refuses_is_no_way_back() -> None:
    here = await town()
    good = here.status.rollout.last_good
    assert good is not None
    body = here.store.seen(TIER)
    body["status"]["rollout"]["lastGood"]["spec"] = good.spec.replace("hf://org/small", "hf://not a repository")
    here.store.put(TIER, body)
    here.restart()
    here.apply("crashes")
    await here.minutes(5)
    assert here.rendered == ["good-1", "crashes"]
    assert here.provisioned.reason == reasons.ENGINE_CRASHED
