"""Checks which API server and credentials are used, and that rotated ones are noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from tierwise.errors import Invalid
from tierwise.kube import connection


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def kubeconfig(path: Path, server: str = "http://one", **user: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [
                    {"name": "c", "context": {"cluster": "one", "user": "u"}},
                    {"name": "d", "context": {"cluster": "two", "user": "u"}},
                ],
                "clusters": [
                    {"name": "one", "cluster": {"server": server}},
                    {"name": "two", "cluster": {"server": "http://two"}},
                ],
                "users": [{"name": "u", "user": user or {"token": "first"}}],
            }
        )
    )
    return path


async def test_the_kubeconfig_that_is_named(tmp_path: Path) -> None:
    found = await connection.load(kubeconfig(tmp_path / "k"))
    assert found.host == "http://one"
    assert await connection.authorization(found) == "Bearer first"
    assert (await connection.load(tmp_path / "k", "d")).host == "http://two"


async def test_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig(tmp_path / "home" / ".kube" / "config", "http://home")
    assert (await connection.load()).host == "http://home"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "k", "http://named")))
    assert (await connection.load()).host == "http://named"


@pytest.mark.parametrize("text", ["", "[", "a: b", "current-context: x"])
async def test_what_is_no_kubeconfig_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    with pytest.raises(Invalid, match="broken"):
        await connection.load(path)


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="absent"):
        await connection.load(tmp_path / "absent")


async def test_without_any_the_way_out_is_told() -> None:
    with pytest.raises(Invalid, match="--kubeconfig"):
        await connection.load()


async def test_an_unknown_context(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="nowhere"):
        await connection.load(kubeconfig(tmp_path / "k"), "nowhere")


class Time:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


async def test_a_rotated_token_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token, time = tmp_path / "token", Time()
    token.write_text("one")
    path = kubeconfig(tmp_path / "k", tokenFile=str(token))
    found = await connection.load(path, monotonic=time)
    token.write_text("two")
    assert await connection.authorization(found) == "Bearer one"
    time.at = 61.0
    assert await connection.authorization(found) == "Bearer two"
    path.write_text("half")  # caught while it is written
    time.at = 122.0
    assert await connection.authorization(found) == "Bearer two"
    assert "stay in use" in caplog.text


async def test_a_certificate_needs_no_header(tmp_path: Path) -> None:
    found = await connection.load(kubeconfig(tmp_path / "k", username="nobody"))
    assert await connection.authorization(found) == ""


async def test_in_a_pod_the_mounted_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(ca))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(Invalid, match="ServiceAccount"):
        await connection.load()
    token.write_text("mounted")
    ca.write_text("certificate")
    found = await connection.load()
    assert found.host == "https://10.0.0.1:443"
    assert await connection.authorization(found) == "bearer mounted"
    assert (await connection.load(kubeconfig(tmp_path / "k"))).host == "http://one"


async def test_the_client_says_who_it_is(tmp_path: Path) -> None:
    async with connection.client(await connection.load(kubeconfig(tmp_path / "k"))) as client:
        assert client.user_agent == "tierwise"
