"""Does a part that failed come back, and does the end of the process make way for another one at once?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tierwise_operator import app
from tierwise_operator.leader import Leader
from tierwise_operator.settings import Settings
from tierwise_operator.sources import Sources

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
"""


async def test_the_lease_is_given_back_before_anything_that_may_take_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended: list[str] = []

    async def stop_sources(_: Sources) -> None:
        ended.append("sources")

    async def release(_: Leader) -> None:
        ended.append("lease")

    monkeypatch.setattr(Sources, "start", lambda _: None)
    monkeypatch.setattr(Sources, "stop", stop_sources)
    monkeypatch.setattr(Leader, "release", release)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    stop = asyncio.Event()
    stop.set()
    await app.run(Settings(kubeconfig=kubeconfig, metrics_host="127.0.0.1", metrics_port=0, identity="a"), stop)
    assert ended == ["lease", "sources"]


async def test_a_part_that_fails_is_started_again_later_each_time_but_not_after_a_long_good_run() -> None:
    runs = [0.0, 0.0, 0.0, 0.0, 3600.0, 0.0]  # how long each run lasts
    now, started, slept = 0.0, 0, list[float]()

    async def part() -> None:
        nonlocal now, started
        started += 1
        if not runs:
            return
        now += runs.pop(0)
        raise RuntimeError("a defect")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await app.for_ever("part", part, monotonic=lambda: now, sleep=sleep)
    assert started == 7
    assert slept[3] > slept[2] > slept[1] > slept[0]
    assert slept[4] <= 0.5 < slept[3]
    assert slept[5] > slept[4]
