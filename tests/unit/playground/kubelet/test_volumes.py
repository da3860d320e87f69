"""Checks that a pod's volumes are made from what the API holds, and kept up to date, against a server that speaks
HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from playground.kubelet import sources as sources_module
from playground.kubelet.fields import PodFacts
from playground.kubelet.model import timestamp
from playground.kubelet.projection import VolumeError
from playground.kubelet.sources import Sources
from playground.kubelet.volumes import PodVolumes
from playground.rest import Rest


@dataclass
class Server:
    """Objects by path, and tokens that name themselves."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: int = 0
    token_seconds: int = 3600

    async def get(self, request: web.Request) -> web.Response:
        found = self.objects.get(request.path.removeprefix("/api/v1/namespaces/ns/"))
        return web.json_response(found if found is not None else {"message": "no"}, status=200 if found else 404)

    async def token(self, request: web.Request) -> web.Response:
        asked = (await request.json())["spec"]
        assert asked["boundObjectRef"] == {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
        self.tokens += 1
        expires = timestamp(datetime.now(UTC) + timedelta(seconds=self.token_seconds))
        return web.json_response({"status": {"token": f"token {self.tokens}", "expirationTimestamp": expires}})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def sources(server: Server, tmp_path: Path) -> AsyncIterator[Sources]:
    application = web.Application()
    application.router.add_get("/{path:.*}", server.get)
    application.router.add_post("/api/v1/namespaces/ns/serviceaccounts/robot/token", server.token)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    client = Rest(tmp_path / "kubeconfig")
    yield Sources(client)
    await client.close()
    await runner.cleanup()


def volumes(tmp_path: Path, sources: Sources, *declared: dict[str, Any]) -> PodVolumes:
    pod = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "b"}},
        "spec": {"serviceAccountName": "robot", "containers": [], "volumes": list(declared)},
    }
    facts = PodFacts(pod, "10.200.1.1", "10.200.0.1", {})
    return PodVolumes(tmp_path / "volumes", tmp_path / "claims", facts, sources)


TOKEN = {
    "name": "token",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
    },
}


async def test_a_service_account_s_folder(server: Server, sources: Sources, tmp_path: Path) -> None:
    server.objects["configmaps/ca"] = {"data": {"ca.crt": "PEM", "other": "x"}}
    made = volumes(tmp_path, sources, TOKEN)
    await made.set_up()
    folder = made.path("token")
    files = {name: (folder / name).read_text() for name in ("token", "ca.crt", "ns")}
    assert files == {"token": "token 1", "ca.crt": "PEM", "ns": "ns"}
    await made.refresh()
    assert server.tokens == 1


async def test_a_token_is_renewed_before_it_ends(server: Server, sources: Sources, tmp_path: Path) -> None:
    server.objects["configmaps/ca"] = {"data": {"ca.crt": "PEM"}}
    server.token_seconds = 0
    made = volumes(tmp_path, sources, TOKEN)
    await made.set_up()
    await made.refresh()
    assert (made.path("token") / "token").read_text() == "token 2"


async def test_a_changed_config_map_arrives(
    server: Server, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.objects["configmaps/m"] = {"data": {"a": "1"}, "binaryData": {"b": base64.b64encode(b"\xff").decode()}}
    made = volumes(tmp_path, sources, {"name": "v", "configMap": {"name": "m"}})
    await made.set_up()
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/whole"},
            {"name": "v", "mountPath": "/one", "subPathExpr": "$(KEY)"},
        ]
    }
    whole, one = made.mounts(container, {"KEY": "a"})
    assert (whole.read_only, one.target, one.source.read_text()) == (True, "/one", "1")
    assert (made.path("v") / "b").read_bytes() == b"\xff"
    server.objects["configmaps/m"] = {"data": {"a": "2"}}
    await made.refresh()
    assert (whole.source / "a").read_text() == "1", "what was read a moment ago is fresh enough"
    monkeypatch.setattr(sources_module, "FRESH_S", -1.0)
    sources._known.clear()
    await made.refresh()
    assert (whole.source / "a").read_text() == "2"
    assert not (whole.source / "b").exists()


async def test_what_is_missing_holds_the_pod_and_says_so(server: Server, sources: Sources, tmp_path: Path) -> None:
    made = volumes(tmp_path, sources, {"name": "v", "secret": {"secretName": "s"}})
    with pytest.raises(VolumeError) as caught:
        await made.set_up()
    assert str(caught.value) == 'MountVolume.SetUp failed for volume "v" : secret "s" not found'
    server.objects["secrets/s"] = {"data": {"k": base64.b64encode(b"v").decode()}}
    await made.set_up()
    assert (made.path("v") / "k").read_text() == "v"
    with pytest.raises(VolumeError, match='persistentvolumeclaim "c" not found'):
        await volumes(tmp_path, sources, {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}).set_up()
    with pytest.raises(VolumeError, match="no volumes of type nfs"):
        await volumes(tmp_path, sources, {"name": "n", "nfs": {}}).set_up()


async def test_scratch_is_the_pod_s_and_a_claim_outlives_it(server: Server, sources: Sources, tmp_path: Path) -> None:
    server.objects["persistentvolumeclaims/c"] = {"kind": "PersistentVolumeClaim"}
    declared = (
        {"name": "scratch", "emptyDir": {}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
    )
    made = volumes(tmp_path, sources, *declared)
    await made.set_up()
    assert not made.refreshable
    below, claim = made.mounts(
        {
            "volumeMounts": [
                {"name": "scratch", "mountPath": "/s", "subPath": "new"},
                {"name": "claim", "mountPath": "/c"},
            ]
        },
        {},
    )
    assert below.source.is_dir()
    assert (below.read_only, claim.read_only) == (False, True)
    (claim.source / "kept").write_text("x")
    with pytest.raises(VolumeError, match="leads out of the volume"):
        made.mounts({"volumeMounts": [{"name": "scratch", "mountPath": "/x", "subPath": "../.."}]}, {})
    made.remove()
    assert not below.source.exists()
    assert (tmp_path / "claims" / "ns" / "c" / "kept").exists()
