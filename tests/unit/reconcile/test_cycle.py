"""Checks that the four rooms run in the right order, and that the right state is kept between cycles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.workloads import only
from tests.unit.act.worlds import deployment_ref, service_ref
from tests.unit.reconcile.scenes import Scene, tier_ref
from tierwise import reasons, reconcile
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import plan
from tierwise.errors import Conflict, Transient
from tierwise.types import Installation, Installations, TierView


async def test_a_tier_becomes_replicas_and_a_status() -> None:
    scene = Scene()
    scene.add()
    done = await scene.cycle()
    assert only(done.outcome.tiers[0]).event == reasons.CREATED
    await scene.settle()
    assert scene.store.seen(deployment_ref())["spec"]["replicas"] == 1
    status = scene.status()
    assert status.desired_replicas == 1
    assert [child.name for child in status.inference_services] == ["chat"]
    told = [event.reason for event in scene.store.events]
    assert told.count(reasons.CREATED) == 1
    assert told.count(reasons.SCALED_UP) == 1


async def test_nothing_is_written_when_nothing_changes() -> None:
    scene = Scene()
    for number in range(5):
        scene.add(f"t{number}")
    await scene.settle()
    events = len(scene.store.events)
    for _ in range(10):
        await scene.cycle()
    assert scene.store.writes == []
    assert len(scene.store.events) == events


async def test_a_standby_knows_everything_and_writes_nothing() -> None:
    scene = Scene()
    scene.add()
    done = await scene.cycle(writing=False)
    assert scene.store.writes == []
    assert scene.store.events == []
    assert done.outcome.tiers == ()
    assert done.plan.tiers[0].serve
    assert done.report.tiers[0].status.model == "small"
    assert len(scene.kept.tiers) == 1


async def test_an_informer_that_is_behind_does_not_make_us_write_onto_old_versions() -> None:
    scene = Scene()
    scene.add()
    await scene.cycle()
    scene.behind = scene.world()
    await scene.cycle(pass_=20)  # writes a status onto the version that the informer shows ...
    await scene.cycle(pass_=20)
    scene.store.put(deployment_ref(), scene.store.seen(deployment_ref()))
    writes = scene.store.writes.copy()
    await scene.cycle(pass_=20)
    # ... and never again the same one
    assert scene.store.writes.count(("status", "chat")) == writes.count(("status", "chat"))
    scene.behind = None
    await scene.settle()
    assert scene.status().desired_replicas == 1


async def test_our_own_chain_of_statuses_is_followed_while_the_informer_sleeps() -> None:
    scene = Scene()
    scene.add()
    await scene.settle()
    shown = scene.world()
    for replicas in (2, 3):  # two statuses in a row that the informer does not see
        changed = [
            replace(each, spec=each.spec.model_copy(update={"replicas": replicas})) for each in shown.tiers if each.spec
        ]
        scene.behind = replace(shown, tiers=changed)
        await scene.cycle(pass_=1)
    assert scene.store.writes.count(("status", "chat")) == 2
    assert scene.status().desired_replicas == 3


@pytest.mark.parametrize("error", [Conflict("modified", status=409), Transient("nobody answers")])
async def test_a_status_that_cannot_be_written_is_written_later(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.add()
    scene.store.failing["status"] = error  # type: ignore[assignment]
    await scene.cycle()
    assert scene.status() == ModelTierStatus()
    scene.store.failing.clear()
    await scene.settle()
    assert scene.status().desired_replicas == 1
    assert ("a status was not written" in caplog.text) is isinstance(error, Transient)


@pytest.mark.parametrize("error", [Conflict("modified", status=409), Transient("nobody answers")])
async def test_a_change_of_replicas_is_remembered_though_the_status_of_its_cycle_was_not_written(
    error: Exception,
) -> None:
    """The change was made: a status that is silent about it would lose it for ever, and its Event is not repeated."""
    scene = Scene()
    scene.add(replicas=1)
    await scene.settle()
    scene.store.events.clear()
    scene.pin(3)
    scene.store.failing["status"] = error  # type: ignore[assignment]
    await scene.cycle()
    assert scene.store.seen(deployment_ref())["spec"]["replicas"] == 3
    assert scene.status().scaling.decisions[0].to_replicas == 1
    scene.store.failing.clear()
    await scene.cycle()
    assert [(each.from_replicas, each.to_replicas) for each in scene.status().scaling.decisions[:2]] == [(1, 3), (0, 1)]
    assert [event.reason for event in scene.store.events].count(reasons.SCALED_UP) == 1
    assert scene.kept.publisher.outbox.empty


async def test_what_another_leader_told_meanwhile_stands_beside_what_was_not_told() -> None:
    scene = Scene()
    scene.add(replicas=1)
    await scene.settle()
    scene.pin(3)
    scene.store.failing["status"] = Transient("nobody answers")
    await scene.cycle()
    scene.store.failing.clear()
    other = Scene(store=scene.store, clock=scene.clock)
    scene.pin(2)
    await other.cycle()
    scene.pin(4)
    await scene.cycle()
    told = [(each.from_replicas, each.to_replicas) for each in scene.status().scaling.decisions]
    assert told == [(2, 4), (3, 2), (1, 3), (0, 1)]


async def test_an_event_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.add()
    scene.store.failing["event"] = Transient("nobody answers")
    await scene.cycle()
    assert "an Event was not written" in caplog.text
    assert scene.status().model == "small"


async def test_what_only_follows_the_load_is_not_written_every_time() -> None:
    scene = Scene()
    scene.add()
    await scene.settle()
    uid = scene.store.seen(tier_ref())["metadata"]["uid"]
    assert uid in scene.kept.publisher.statuses.writes
    await scene.cycle(pass_=1)
    assert scene.store.writes == []


async def test_what_is_kept_goes_with_the_tier_and_a_namesake_starts_afresh() -> None:
    scene = Scene()
    scene.add()
    await scene.settle()
    before = set(scene.kept.tiers)
    scene.store.drop(tier_ref())
    scene.store.drop(service_ref())
    scene.store.drop(deployment_ref())
    await scene.cycle()
    assert (scene.kept.tiers, scene.kept.publisher.statuses.writes, scene.kept.publisher.outbox.empty) == ({}, {}, True)
    scene.add()
    await scene.cycle()
    assert not before & set(scene.kept.tiers)


async def test_a_restarted_process_takes_its_memory_from_the_status() -> None:
    scene = Scene()
    scene.add()
    await scene.settle()
    remembered = scene.status().scaling.memory
    again = Scene(store=scene.store, clock=scene.clock)
    done = await again.cycle()
    assert done.plan.tiers[0].state.learned_for == remembered.learned_for
    assert scene.store.writes == []


async def test_a_tier_that_does_not_parse_leaves_the_others_alone() -> None:
    scene = Scene()
    scene.store.put(tier_ref("bad"), {"metadata": {"generation": 1}, "spec": {"model": {"name": "x"}}})
    scene.add("good")
    await scene.settle()
    assert scene.store.seen(deployment_ref("good"))["spec"]["replicas"] == 1
    accepted = next(each for each in scene.status("bad").conditions if each.type == reasons.ACCEPTED)
    assert (accepted.status, accepted.reason) == ("False", reasons.INVALID_SPEC)


@pytest.mark.parametrize(("room", "step"), [("plan", "recommend"), ("plan", "finalize"), ("reconcile", "report_tier")])
async def test_a_defect_that_one_tier_meets_leaves_it_as_it_is_and_the_others_are_served(
    room: str, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.add("ill")
    await scene.settle()
    module = {"plan": plan, "reconcile": reconcile}[room]
    work = getattr(module, step)
    memory = dict(scene.kept.tiers)

    def stumbles(*given: Any) -> Any:
        if any(isinstance(each, TierView) and each.tier.key.name == "ill" for each in given):
            raise ZeroDivisionError("a defect")
        return work(*given)

    monkeypatch.setattr(module, step, stumbles)
    scene.add("good")
    scene.pin(0, "ill")
    await scene.settle()
    assert scene.store.seen(deployment_ref("good"))["spec"]["replicas"] == 1
    assert scene.status("good").desired_replicas == 1
    assert scene.store.seen(deployment_ref("ill"))["spec"]["replicas"] == (1 if room == "plan" else 0)
    assert memory.keys() <= scene.kept.tiers.keys()
    assert "ZeroDivisionError: a defect" in caplog.text
    assert "ill" in {getattr(record, "tier", "").rpartition("/")[2] for record in caplog.records}


OTHER = Installation("platform", "tw")


async def test_where_another_installation_acts_nothing_is_written() -> None:
    scene = Scene(installations=Installations(instead={"default": OTHER}))
    scene.add()
    for _ in range(5):
        done = await scene.cycle()
    assert (scene.store.writes, scene.store.events) == ([], [])
    assert [each.key.name for each in done.plan.tiers] == ["chat"], "it knows all, as a standby does"
    scene.installations = Installations()
    await scene.settle()
    assert scene.replicas() == 1, "the other is gone"
    scene.installations = Installations(instead={"default": OTHER})
    scene.pin(3)
    for _ in range(5):
        await scene.cycle()
    assert (scene.store.writes, scene.replicas()) == ([], 1)


async def test_whoever_acts_tells_that_another_installation_is_there() -> None:
    scene = Scene(installations=Installations(beside={"": OTHER}))
    scene.add()
    await scene.settle()
    assert [each.reason for each in scene.status().advice if each.reason == reasons.TWO_INSTALLATIONS] != []
    scene.installations = Installations()
    await scene.settle()
    assert [each.reason for each in scene.status().advice if each.reason == reasons.TWO_INSTALLATIONS] == []
