"""Checks that a mirror of a collection stays equal to it, through lost watches and versions that are too old."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from playground import rest
from playground.rest import ApiError, Mirror, Rest


def item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


class Server:
    """An API server of two answers: a list, and a watch from a script of events per call."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.version = 1
        self.watches: list[list[dict[str, Any]]] = []
        self.lists = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer t0ken"
        if request.query.get("watch") != "true":
            self.lists += 1
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": self.items})
        response = web.StreamResponse()
        await response.prepare(request)
        if not self.watches:
            await asyncio.sleep(60)
        for event in self.watches.pop(0):
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[Rest]:
    application = web.Application()
    application.router.add_get("/items", server.answer)
    application.router.add_get("/refused", refused)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": f"http://{host}:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t0ken"}}],
            }
        )
    )
    made = Rest(kubeconfig)
    yield made
    await made.close()
    await runner.cleanup()


async def refused(_: web.Request) -> web.Response:
    return web.json_response({"message": "not you"}, status=403)


async def test_a_refusal_carries_the_server_s_words(client: Rest) -> None:
    with pytest.raises(ApiError) as caught:
        await client.get("/refused")
    assert (caught.value.code, caught.value.message) == (403, "not you")


async def test_a_mirror_follows_and_lists_again_when_too_far_behind(
    server: Server, client: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "FIRST_RETRY_S", 0.05)
    server.items = [item("a", 1), item("b", 1)]
    big = {**item("big", 3), "data": "x" * 300_000}
    server.watches = [
        [
            {"type": "MODIFIED", "object": item("a", 2)},
            {"type": "ADDED", "object": big},
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
        ],
        [{"type": "ERROR", "object": {"code": 410, "message": "too old"}}],
    ]
    seen: list[tuple[str, str]] = []
    done = asyncio.Event()

    def changed(kind: str, body: dict[str, Any]) -> None:
        seen.append((kind, body["metadata"]["name"]))
        if seen[-1] == ("ADDED", "big"):
            server.items = [item("a", 5), item("big", 3)]
        if len(seen) == 6:
            done.set()

    mirror = Mirror(client, "/items", {}, changed)
    running = asyncio.create_task(mirror.run())
    await asyncio.wait_for(done.wait(), 5)
    assert mirror.synced.is_set()
    running.cancel()
    assert seen == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("ADDED", "big"),
        ("DELETED", "b"),
        ("MODIFIED", "a"),
    ]
    assert set(mirror.objects) == {"uid-a", "uid-big"}
