"""Checks that a cycle that fails or hangs does not affect the next one, and that the end waits for the running one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.jumping import jumping
from tests.unit.act.store import Store
from tests.unit.act.worlds import MODEL, NAMESPACE
from tests.unit.observe import test_route_object as routes
from tierwise.api.modeltier import API_VERSION
from tierwise.observe import Samples, World
from tierwise.observe.route_object import route_object
from tierwise.observe.tier_object import tier_object
from tierwise.ports import ObjectRef
from tierwise.report.metrics import OperatorMetrics
from tierwise.runtime.clock import SystemClock
from tierwise.runtime.health_server import Health
from tierwise_operator.debounce import DebounceConfig, Debouncer
from tierwise_operator.loop import Dependencies, Loop

USUAL = DebounceConfig(tick=10, quiet=1, limit=2)


class Stage:
    """A loop over a world that a script makes."""

    def __init__(
        self,
        world: Callable[[], Awaitable[World | None]],
        *,
        limit: float = 40.0,
        problem: str = "",
        store: Store | None = None,
    ) -> None:
        clock = SystemClock()
        self.store = Store() if store is None else store
        self.health = Health(clock.monotonic, 1.0)
        self.registry = CollectorRegistry()
        parts = Dependencies(
            world=world,
            problem=lambda: problem,
            samples=Samples,
            cluster=self.store,
            leading=lambda: self.leading,
            metrics=OperatorMetrics(self.registry, clock.monotonic),
            health=self.health,
            clock=clock,
        )
        self.leading = True
        self.loop = Loop(parts, limit)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.loop.run(Debouncer(USUAL, monotonic=asyncio.get_running_loop().time)))

    async def end(self, seconds: float = 100.0) -> None:
        await self.loop.finish(seconds)
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    @property
    def cycles(self) -> float:
        return self.registry.get_sample_value("tierwise_cycle_duration_seconds_count") or 0.0


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not done():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(1)


@jumping
async def test_cycle_after_cycle() -> None:
    async def world() -> World:
        return World()

    stage = Stage(world)
    stage.start()
    await until(lambda: stage.cycles >= 3)
    assert stage.health.ready()[0]
    await stage.end()


@jumping
async def test_an_unknown_cluster_is_no_failure_but_is_told() -> None:
    async def world() -> None:
        return None

    stage = Stage(world, problem="the ModelTier CRD is not installed")
    stage.start()
    await until(lambda: stage.cycles >= 2)
    assert stage.health.alive()[0]
    assert stage.health.ready() == (False, "the ModelTier CRD is not installed")
    assert stage.store.writes == []
    await stage.end()


@jumping
async def test_a_cycle_that_fails_leaves_the_next_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    worlds: list[Any] = [RuntimeError("a defect"), RuntimeError("again"), World()]

    async def world() -> World:
        found = worlds.pop(0) if len(worlds) > 1 else worlds[0]
        if isinstance(found, Exception):
            raise found
        made: World = found
        return made

    stage = Stage(world)
    stage.start()
    await until(lambda: stage.cycles >= 1)
    assert caplog.text.count("a cycle failed") == 2
    await stage.end()


@jumping
async def test_a_cycle_that_hangs_is_given_up_and_does_not_count_as_death(caplog: pytest.LogCaptureFixture) -> None:
    async def world() -> World:
        await asyncio.sleep(3600)
        raise AssertionError

    stage = Stage(world)
    stage.start()
    await until(lambda: "given up" in caplog.text)
    await asyncio.sleep(0)
    assert stage.health.alive()[0]
    assert "given up" in stage.health.ready()[1]
    await stage.end()


@jumping
async def test_a_status_is_told_in_a_cycle_whose_writes_hang(caplog: pytest.LogCaptureFixture) -> None:
    class Hanging(Store):
        async def apply(self, ref: ObjectRef, manifest: Any, *, force: bool = True) -> Any:
            await asyncio.sleep(3600)

    ref = ObjectRef(API_VERSION, "modeltiers", NAMESPACE, "chat")
    store = Hanging()
    body = store.put(ref, {"apiVersion": API_VERSION, "metadata": {"generation": 1}, "spec": MODEL})

    async def world() -> World:
        return World(tiers=[tier_object(body)])

    stage = Stage(world, store=store)
    stage.start()
    await until(lambda: "does not write the InferenceService in time" in str(store.seen(ref).get("status")))
    await stage.end()
    assert "given up" not in caplog.text


@jumping
async def test_the_end_waits_for_the_cycle_that_runs_and_begins_no_other(caplog: pytest.LogCaptureFixture) -> None:
    running, going_on = asyncio.Event(), asyncio.Event()

    async def world() -> World:
        running.set()
        await going_on.wait()
        return World()

    stage = Stage(world)
    stage.start()
    await running.wait()
    ending = asyncio.create_task(stage.end())
    await asyncio.sleep(30)
    assert not ending.done()
    going_on.set()
    await ending
    assert stage.cycles == 1
    assert "did not end in time" not in caplog.text


@jumping
async def test_the_end_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    async def world() -> World:
        await asyncio.sleep(3600)
        raise AssertionError

    stage = Stage(world)
    stage.start()
    await asyncio.sleep(20)
    await stage.end(10)
    assert "did not end in time" in caplog.text


async def test_the_metrics_of_routes_are_those_of_the_process_that_leads() -> None:
    async def world() -> World:
        return World(routes=[route_object(routes.body())])

    stage = Stage(world)
    labels = {"route_namespace": "team", "route": "chat"}
    await stage.loop.once()
    assert stage.registry.get_sample_value("tierwise_route_tiers", labels) == 1
    stage.leading = False
    await stage.loop.once()
    assert stage.registry.get_sample_value("tierwise_route_tiers", labels) is None
