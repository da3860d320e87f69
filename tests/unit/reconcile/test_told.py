"""Checks that every change of replicas is reported once, in the status and as an Event, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.act.store import Store
from tests.unit.reconcile.scenes import Scene
from tierwise import reasons
from tierwise.errors import Forbidden, Refused, Transient
from tierwise.ports import EventRecord, ObjectRef

AWAY = Transient("nobody answers")
NAMES = [f"t{number:02d}" for number in range(20)]


class Deaf(Store):
    """A store that does what it is asked for and does not say so: the answer is lost, or never comes. Or it never gets
    the request."""

    lands, answers = True, True
    hanging = 0
    events_at_once = peak = 0

    async def scale(self, ref: ObjectRef, replicas: int, *, resource_version: str) -> None:
        if self.lands:
            await super().scale(ref, replicas, resource_version=resource_version)
        await self._answer("scale")

    async def patch_status(self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str) -> str:
        await self._answer("status")
        return await super().patch_status(ref, status, resource_version=resource_version)

    async def record_event(self, event: EventRecord) -> None:
        self.events_at_once += 1
        self.peak = max(self.peak, self.events_at_once)
        await asyncio.sleep(0)
        self.events_at_once -= 1
        await super().record_event(event)

    deaf_for = ""

    async def _answer(self, verb: str) -> None:
        if self.deaf_for != verb:
            return
        if self.answers:
            raise AWAY
        self.hanging += 1
        await asyncio.sleep(600)


async def scene_of(*names: str) -> tuple[Scene, Deaf]:
    store = Deaf()
    scene = Scene(store=store)
    for name in names:
        scene.add(name, replicas=1)
    await scene.settle()
    store.events.clear()
    return scene, store


async def given_up(scene: Scene, store: Deaf, hanging: int) -> None:
    """A cycle that is given up while so many of its requests hang."""
    cycle = asyncio.create_task(scene.cycle())
    async with asyncio.timeout(10):
        while store.hanging < hanging:  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0)
    cycle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cycle


async def test_a_cycle_that_is_given_up_while_it_tells_loses_no_decision_and_no_event() -> None:
    scene, store = await scene_of(*NAMES)
    for name in NAMES:
        scene.pin(3, name)
    store.deaf_for, store.answers = "status", False
    await given_up(scene, store, 8)
    store.deaf_for = ""
    assert [scene.replicas(name) for name in NAMES] == [3] * 20
    for _ in range(3):
        await scene.cycle()
    assert {name: scene.changes(name)[0] for name in NAMES} == dict.fromkeys(NAMES, (1, 3))
    assert Counter(scene.told)[reasons.SCALED_UP] == 20
    assert scene.kept.publisher.outbox.empty


async def unanswered(scene: Scene, store: Deaf, how: str) -> None:
    """A cycle whose change of replicas is not answered."""
    store.deaf_for, store.answers = "scale", how != "hangs"
    store.lands = how != "never arrives"
    if store.answers:
        await scene.cycle()
    else:
        await given_up(scene, store, 1)
    store.deaf_for, store.lands = "", True


@pytest.mark.parametrize("how", ["answer lost", "hangs"])
async def test_a_change_that_was_made_and_not_answered_is_told(how: str) -> None:
    scene, store = await scene_of("chat")
    scene.pin(3)
    await unanswered(scene, store, how)
    assert (scene.replicas(), scene.changes()) == (3, [(0, 1)])
    for _ in range(3):
        await scene.cycle()
    assert scene.changes() == [(1, 3), (0, 1)]
    assert scene.told.count(reasons.SCALED_UP) == 1
    newest, before = scene.status().scaling.decisions
    assert newest.reason == reasons.PINNED
    assert newest.time > before.time
    assert scene.store.writes.count(("scale to 3", "chat-predictor")) == 1
    assert scene.kept.publisher.outbox.pending == {}


async def test_a_change_that_never_arrived_is_told_when_it_is_made() -> None:
    scene, store = await scene_of("chat")
    scene.pin(3)
    await unanswered(scene, store, "never arrives")
    await scene.cycle(writing=False)
    assert (scene.replicas(), scene.changes()) == (1, [(0, 1)])
    assert scene.kept.publisher.outbox.empty
    for _ in range(3):
        await scene.cycle()
    assert scene.changes() == [(1, 3), (0, 1)]
    assert scene.told.count(reasons.SCALED_UP) == 1
    assert scene.kept.publisher.outbox.pending == {}


async def test_a_change_of_replicas_that_another_made_is_not_told_as_ours() -> None:
    """The tier's own read fails, so nothing was sent; then somebody writes the same number by hand."""
    scene, store = await scene_of("chat")
    scene.pin(3)
    store.failing["get chat"] = AWAY
    await scene.cycle()
    store.failing.clear()
    scene.hand_scale(3)
    await scene.cycle()
    assert scene.changes() == [(0, 1)]
    assert reasons.SCALED_UP not in scene.told


async def test_a_change_that_was_made_is_told_though_the_informer_is_behind() -> None:
    """Its next try is refused, since the version is gone; that does not mean that the first one was not carried out."""
    scene, store = await scene_of("chat")
    scene.pin(3)
    scene.behind = scene.world()
    await unanswered(scene, store, "answer lost")
    await scene.cycle()
    assert scene.changes() == [(0, 1)]
    scene.behind = None
    await scene.cycle()
    assert scene.changes() == [(1, 3), (0, 1)]
    assert scene.told.count(reasons.SCALED_UP) == 1


async def test_what_the_next_leader_told_is_not_told_again() -> None:
    scene, store = await scene_of("chat")
    scene.pin(3)
    await unanswered(scene, store, "never arrives")
    other = Scene(store=scene.store, clock=scene.clock)
    await other.cycle()
    assert scene.changes() == [(1, 3), (0, 1)]
    await scene.cycle(writing=False)
    await scene.cycle()
    assert scene.changes() == [(1, 3), (0, 1)]
    assert scene.told.count(reasons.SCALED_UP) == 1


async def test_an_event_is_told_later_where_neither_it_nor_the_status_could_be_written() -> None:
    scene, store = await scene_of("chat")
    scene.pin(3)
    store.failing |= {"status": AWAY, "event": AWAY}
    await scene.cycle()
    store.failing.clear()
    for _ in range(3):
        await scene.cycle()
    assert scene.changes() == [(1, 3), (0, 1)]
    assert scene.told.count(reasons.SCALED_UP) == 1


async def test_six_changes_in_a_row_are_told_though_the_status_cannot_be_written() -> None:
    scene, store = await scene_of("chat")
    store.failing["status"] = AWAY
    for replicas in (2, 3, 4, 5, 6, 7):
        scene.pin(replicas)
        await scene.cycle()
    store.failing.clear()
    await scene.cycle()
    assert scene.changes() == [(6, 7), (5, 6), (4, 5), (3, 4), (2, 3)]
    assert scene.told.count(reasons.SCALED_UP) == 6
    assert scene.kept.publisher.outbox.empty


@pytest.mark.parametrize(
    "refusal", [Forbidden("events is forbidden", status=403), Refused("note: too long", status=422)]
)
async def test_an_event_that_is_refused_is_not_tried_again(refusal: Refused, caplog: pytest.LogCaptureFixture) -> None:
    scene, store = await scene_of("chat")
    scene.pin(3)
    store.failing["event"] = refusal
    await scene.cycle()
    store.failing.clear()
    await scene.cycle()
    assert reasons.SCALED_UP not in scene.told
    assert caplog.text.count("an Event was not written") == 1


async def test_events_of_several_tiers_are_written_side_by_side_and_those_of_one_in_order() -> None:
    store = Deaf()
    scene = Scene(store=store)
    for name in NAMES:
        scene.add(name, replicas=1)
    await scene.settle()
    assert 1 < store.peak <= 8
    for name in NAMES:
        own = [event.reason for event in store.events if event.name == name]
        assert own == [reasons.CREATED, reasons.SCALED_UP]


@pytest.mark.parametrize("late", [0, 1, 3])
async def test_what_was_written_is_forgotten_once_the_informer_has_passed_it(late: int) -> None:
    scene, _ = await scene_of("chat")
    worlds = [scene.world()] * (late + 1)
    for number in range(50):
        scene.hand_scale(2 + number % 2)
        worlds.append(scene.world())
        scene.behind = replace(scene.world(), tiers=worlds[-1 - late].tiers)
        await scene.cycle()
    assert scene.store.writes.count(("status", "chat")) == 50
    (written,) = scene.kept.publisher.statuses.writes.values()
    assert len(written.onto) <= late + 1
