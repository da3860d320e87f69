"""Checks that the probes answer for the loop, and the metrics for the registry."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from tierwise.runtime.health_server import TICKS_UNTIL_DEAD, Health, application, serve


class Time:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_the_loop_is_alive_until_it_is_too_late() -> None:
    time = Time()
    health = Health(time, 10.0)
    time.at = TICKS_UNTIL_DEAD * 10.0
    assert health.alive()[0]
    time.at += 0.1
    assert not health.alive()[0]
    health.finished()
    assert health.alive()[0]
    assert health.age_seconds == 0.0


def test_ready_means_that_a_cycle_ran_and_nothing_keeps_it_from_its_work() -> None:
    time = Time()
    health = Health(time, 10.0)
    assert health.ready() == (False, "the first cycle has not finished")
    health.finished("the ModelTier CRD is not installed")
    assert health.ready() == (False, "the ModelTier CRD is not installed")
    health.finished()
    assert health.ready()[0]
    time.at = 1000.0
    assert not health.ready()[0]


async def test_the_endpoints() -> None:
    time, registry = Time(), CollectorRegistry()
    Gauge("thing", "A thing.", registry=registry).set(4)
    health = Health(time, 10.0)
    runner, port = await serve(application(health, registry), "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(path) as response:
                    return response.status, await response.text()

            status, text = await get("/metrics")
            assert (status, "thing 4.0" in text) == (200, True)
            assert (await get("/readyz"))[0] == 503
            health.finished()
            assert (await get("/readyz"))[0] == 200
            assert (await get("/healthz"))[0] == 200
            time.at = 1000.0
            status, text = await get("/healthz")
            assert (status, "1000.0 s ago" in text) == (500, True)
            assert (await get("/secrets"))[0] == 404
        with pytest.raises(OSError, match="in use"):
            await serve(application(health, registry), "127.0.0.1", port)
    finally:
        await runner.cleanup()
