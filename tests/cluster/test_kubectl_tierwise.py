"""The command line as a plugin of the real kubectl, against a real API server, and its kubeconfigs beside kubectl's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.handle import Playground
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl
from tierwise.api.kinds import MODEL_TIER
from tierwise.kube.kubeconfig import Access, merged, of_context

pytestmark = pytest.mark.cluster
NAMESPACE = "plugin-of-kubectl"
SCRIPTS = Path(sys.executable).parent
STAMP = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """A cluster with two tiers in a namespace of these tests."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_TIER):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        within = admin.within(NAMESPACE)
        for name in ("chat", "large"):
            within.apply(
                {
                    "apiVersion": "tierwise.io/v1alpha1",
                    "kind": "ModelTier",
                    "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"size": name}},
                    "spec": {"model": {"name": name, "uri": f"hf://org/{name}"}},
                }
            )
        yield within
        admin("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def environment(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A kubeconfig whose context has the namespace, and a path on which kubectl finds the plugin."""
    config = tmp_path_factory.mktemp("config") / "config"
    body = yaml.safe_load(kubectl.kubeconfig.read_text())
    for context in body["contexts"]:
        context["context"]["namespace"] = NAMESPACE
    config.write_text(yaml.safe_dump(body))
    config.chmod(0o600)
    path = f"{kubectl.binary.parent}:{SCRIPTS}:{os.environ['PATH']}"
    return {**os.environ, "KUBECONFIG": str(config), "PATH": path, "HOME": str(config.parent)}


def called(environment: Mapping[str, str], *arguments: str) -> str:
    """What `kubectl ARGUMENTS` prints."""
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=120, env=dict(environment))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_is_what_kubectl_shows(environment: dict[str, str], kubectl: Kubectl) -> None:
    ours = called(environment, "tierwise", "get", "tiers", "-o", "wide").splitlines()
    theirs = called(environment, "get", "modeltiers", "-o", "wide").splitlines()
    assert ours[0].split() == theirs[0].split()
    assert [line.split()[0] for line in ours[1:]] == [line.split()[0] for line in theirs[1:]] == ["chat", "large"]
    (line,) = called(environment, "tierwise", "get", "mt", "-l", "size=large", "--no-headers").splitlines()
    assert line.startswith("large ")


def test_whole_objects_are_what_kubectl_gives(environment: dict[str, str]) -> None:
    ours = json.loads(called(environment, "tierwise", "get", "tier", "chat", "-o", "json"))
    assert ours == json.loads(called(environment, "get", "modeltier", "chat", "-o", "json"))
    listed = yaml.safe_load(called(environment, "tierwise", "get", "tiers", "-A", "-o", "yaml"))
    assert {each["metadata"]["name"] for each in listed["items"]} >= {"chat", "large"}


def test_kubectl_completes_the_plugin(environment: dict[str, str]) -> None:
    assert called(environment, "__complete", "tierwise", "restart", "").splitlines()[:2] == ["chat", "large"]
    assert "get\twhat there is: tiers, routes, GPU pools" in called(environment, "__complete", "tierwise", "g")


def test_explain_obeys_the_namespace_of_the_context(environment: dict[str, str]) -> None:
    assert called(environment, "tierwise", "explain", "chat").startswith(f"{NAMESPACE}/chat")


def test_a_restart_is_written_on_the_tier(environment: dict[str, str], kubectl: Kubectl) -> None:
    called(environment, "tierwise", "restart", "large", "--dry-run")
    assert STAMP not in kubectl.tier("large")["metadata"].get("annotations", {})
    called(environment, "tierwise", "restart", "large")
    tier = json.loads(kubectl("get", "mt", "large", "-o", "json", "--show-managed-fields"))
    assert STAMP in tier["metadata"]["annotations"]
    assert {each["manager"] for each in tier["metadata"]["managedFields"]} >= {"kubectl-tierwise"}


def test_rights_are_those_of_the_one_who_asks(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["kubectl", "tierwise", "get", "--as", "nobody"], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 1
    assert 'User "nobody" cannot list resource "modeltiers"' in done.stderr


def view(kubectl: Kubectl, files: list[Path], *options: str) -> dict[str, Any]:
    """How kubectl reads these files."""
    done = subprocess.run(
        [str(kubectl.binary), "config", "view", "--raw", "--flatten", "--minify", "-o", "json", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "KUBECONFIG": ":".join(map(str, files))},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def said(access: Access) -> tuple[Any, ...]:
    """What is compared of ours."""
    identity = access.identity
    return access.server, access.namespace, access.context, access.authority, identity.token, identity.certificate


def test_files_are_read_as_kubectl_reads_them(kubectl: Kubectl, tmp_path: Path) -> None:
    """Two files, entries twice, a relative path, data beside a path: kubectl is the judge."""
    whole = yaml.safe_load(kubectl.kubeconfig.read_text())
    (tmp_path / "one").mkdir()
    (tmp_path / "one/ca.pem").write_bytes(b"first authority")
    entry = whole["contexts"][0]
    first = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "mine", "context": {"cluster": "k", "user": "u", "namespace": "a"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://first", "certificate-authority": "ca.pem"}}],
    }
    second = {
        **first,
        "current-context": "mine",
        "contexts": [{"name": "mine", "context": {"cluster": "other", "user": "u"}}, entry],
        "clusters": [{"name": "k", "cluster": {"server": "https://second"}}, *whole["clusters"]],
        "users": [{"name": "u", "user": {"token": "t"}}, *whole["users"]],
    }
    files = [tmp_path / "one/config", tmp_path / "two"]
    for path, body in zip(files, (first, second), strict=True):
        path.write_text(yaml.safe_dump(body))
    for options in ((), ("--context", entry["name"])):
        theirs = view(kubectl, files, *options)
        ours = of_context(merged(files), options[1] if options else None)
        (context,), (cluster,), (user,) = theirs["contexts"], theirs["clusters"], theirs["users"]

        def pem(body: dict[str, Any], key: str) -> bytes | None:
            return base64.b64decode(body[f"{key}-data"]) if f"{key}-data" in body else None

        assert said(ours) == (
            cluster["cluster"]["server"],
            context["context"].get("namespace", "default"),
            context["name"],
            pem(cluster["cluster"], "certificate-authority"),
            user["user"].get("token", ""),
            pem(user["user"], "client-certificate"),
        )
