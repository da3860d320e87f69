"""Checks what is read of kubeconfig files. tests/cluster/test_kubectl_tierwise.py compares with kubectl itself."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tierwise.errors import Invalid
from tierwise.kube.credentials import identified
from tierwise.kube.kubeconfig import Access, access, contexts, files

API_VERSION = "client.authentication.k8s.io/v1"


def config(path: Path, user: dict[str, Any] | None = None, **more: Any) -> Path:
    """A kubeconfig with one context, one cluster and one user."""
    body = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "k", "user": "u", "namespace": "models"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api.example.com:6443/"}}],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump({**body, **more}))
    return path


def test_the_current_context_says_who_where_and_in_which_namespace(tmp_path: Path) -> None:
    found = access(config(tmp_path / "a"), None)
    assert (found.server, found.namespace, found.context) == ("https://api.example.com:6443", "models", "one")
    assert found.identity.token == "t"


def test_paths_start_at_their_file_and_data_wins(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"authority")
    (tmp_path / "c.pem").write_bytes(b"certificate")
    key = base64.b64encode(b"key").decode()
    user = {"client-certificate": "c.pem", "client-key-data": key, "client-key": "gone.pem", "tokenFile": "token"}
    cluster = {
        "server": "https://h",
        "certificate-authority": "ca.crt",
        "tls-server-name": "x",
        "proxy-url": "http://p",
    }
    path = config(tmp_path / "a", user, clusters=[{"name": "k", "cluster": cluster}])
    found = access(path, None)
    assert (found.authority, found.tls_name, found.proxy) == (b"authority", "x", "http://p")
    assert (found.identity.certificate, found.identity.key) == (b"certificate", b"key")
    with pytest.raises(Invalid, match=r"token file .* cannot be read"):
        identified(found)
    (tmp_path / "token").write_text("fresh\n")
    assert identified(found).token == "fresh"


def test_several_files_are_one_configuration(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"contexts": [{"name": "two", "context": {"cluster": "k", "user": "u"}}]}))
    second = config(tmp_path / "second")
    environment = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"}
    assert files(None, environment) == [first, second]
    assert access(None, None, environment).context == "one"
    assert access(None, "two", environment).namespace == "default"
    found = contexts(None, environment)
    assert (found.current, found.namespaces) == ("one", {"one": "models", "two": "default"})


def test_one_who_acts_as_another(tmp_path: Path) -> None:
    user = {"token": "t", "as": "ann", "as-groups": ["a", "b"], "as-uid": "7", "as-user-extra": {"scope": ["x"]}}
    assert access(config(tmp_path / "a", user), None).identity.impersonate == (
        ("Impersonate-User", "ann"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-scope", "x"),
    )


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    for name, text in (("token", "sa\n"), ("ca.crt", "authority"), ("namespace", "tierwise-system")):
        (tmp_path / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "KUBECONFIG": "/no/such"}
    found = access(None, None, environment, tmp_path)
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "tierwise-system")
    assert identified(found).token == "sa"


@pytest.mark.parametrize(
    ("more", "context", "says"),
    [
        ({"current-context": ""}, None, "has no current-context: give --context"),
        ({}, "two", "has no context 'two'; it has: one"),
        ({"clusters": []}, None, "names the cluster 'k', which the kubeconfig does not have"),
        ({"users": []}, None, "names the user 'u', which the kubeconfig does not have"),
        ({"clusters": [{"name": "k", "cluster": {}}]}, None, "has no server"),
        ({"clusters": [{"cluster": {}}]}, None, "an entry of clusters has no name"),
        ({"users": [{"name": "u", "user": {"auth-provider": {"name": "gcp"}}}]}, None, "no longer read: use exec"),
        ({"users": [{"name": "u", "user": {"client-key": "gone"}}]}, None, "client-key of the kubeconfig cannot be"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, more: dict[str, Any], context: str | None, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        access(config(tmp_path / "a", **more), context)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="none of the files that KUBECONFIG names exists: /no/such"):
        access(None, None, {"KUBECONFIG": "/no/such"}, tmp_path)
    for text in ("- a", "a: [", "\x00"):
        (tmp_path / "a").write_text(text)
        with pytest.raises(Invalid, match="cannot be used"):
            access(tmp_path / "a", None)


def plugin(folder: Path, answer: str, *, code: int = 0, **more: Any) -> Access:
    """What a kubeconfig says whose plugin prints `answer` and keeps what it was asked."""
    program = folder / "plugin"
    program.write_text(
        f'#!/bin/sh\nprintf %s "$KUBERNETES_EXEC_INFO" > "$KEPT"\ncat <<END\n{answer}\nEND\nexit {code}\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    asked = {"apiVersion": API_VERSION, "command": "./plugin", "env": [{"name": "KEPT", "value": str(folder / "kept")}]}
    return access(config(folder / "a", {"exec": {**asked, **more}}), None)


def credential(**status: str) -> str:
    """What a plugin prints."""
    return json.dumps({"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status})


def test_a_plugin_hands_out_a_token(tmp_path: Path) -> None:
    found = plugin(tmp_path, credential(token="minted"), provideClusterInfo=True)
    assert identified(found).token == "minted"
    asked = json.loads((tmp_path / "kept").read_text())
    assert asked["spec"] == {"interactive": False, "cluster": {"server": "https://api.example.com:6443"}}


def test_a_plugin_hands_out_a_certificate(tmp_path: Path) -> None:
    found = plugin(tmp_path, credential(clientCertificateData="c", clientKeyData="k"))
    made = identified(found)
    assert (made.token, made.certificate, made.key) == ("", b"c", b"k")
    assert "cluster" not in json.loads((tmp_path / "kept").read_text())["spec"]


@pytest.mark.parametrize(
    ("answer", "more", "says"),
    [
        ("nothing", {}, "answers with no ExecCredential"),
        (credential(), {}, "gives neither a token nor a certificate"),
        (credential(token="t"), {"code": 3}, "ended with 3"),
        (credential(token="t").replace("/v1", "/v1beta1"), {}, "the kubeconfig wants client.authentication.k8s.io/v1"),
        (credential(token="t"), {"apiVersion": "v2"}, "it must be client.authentication.k8s.io/v1 or v1beta1"),
        (credential(token="t"), {"command": "no-such-x", "installHint": "get it"}, "is not installed; get it"),
    ],
)
def test_a_plugin_that_fails_is_said(tmp_path: Path, answer: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        identified(plugin(tmp_path, answer, **more))
