"""The end of the process makes way for another one at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tierwise_operator import app
from tierwise_operator.leader import Leader
from tierwise_operator.settings import Settings
from tierwise_operator.watches import Watches

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

    async def stop_sources(_: Watches) -> None:
        ended.append("sources")

    async def release(_: Leader) -> None:
        ended.append("lease")

    monkeypatch.setattr(Watches, "start", lambda _: None)
    monkeypatch.setattr(Watches, "stop", stop_sources)
    monkeypatch.setattr(Leader, "release", release)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    stop = asyncio.Event()
    stop.set()
    await app.run(Settings(kubeconfig=kubeconfig, metrics_host="127.0.0.1", metrics_port=0, identity="a"), stop)
    assert ended == ["lease", "sources"]
