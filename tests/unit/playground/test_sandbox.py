"""Checks the way into the namespaces, and the message on a machine that forbids them."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from playground.api import path_of
from playground.errors import PlaygroundError
from playground.network import local_route
from playground.sandbox import choose_namespaces, enter_command, inner_environment, loopback_listener


def _program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which only what a test puts there is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_forbidden_namespaces_say_what_failed_and_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(path, "unshare", "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1")
    _program(path, "nsenter", "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PlaygroundError) as raised:
        choose_namespaces()
    said = str(raised.value)
    assert said.count("Operation not permitted") == 1
    for way_out in ("run it as root", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", "KUBECONFIG", "kind"):
        assert way_out in said


def test_root_without_user_namespaces_uses_the_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(path, "unshare", 'case "$*" in *--user*) exit 1;; esac')
    _program(path, "nsenter", "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    command = choose_namespaces()
    assert "--user" not in command
    assert {"--net", "--pid", "--mount", "--kill-child"} <= set(command)


@pytest.mark.parametrize("absent", ["unshare", "nsenter"])
def test_an_absent_tool_names_its_package(path: Path, absent: str) -> None:
    for name in {"unshare", "nsenter"} - {absent}:
        _program(path, name, "exit 0")
    with pytest.raises(PlaygroundError, match=rf"(?s){absent} is not installed.*util-linux"):
        choose_namespaces()


def test_the_environment_inside_leads_nowhere_outside() -> None:
    outer = {"HOME": "/home/me", "KUBECONFIG": "/mine", "https_proxy": "http://p", "HTTP_PROXY": "http://p"}
    assert inner_environment(outer, Path("/src")) == {
        "HOME": "/home/me",
        "PYTHONPATH": "/src",
        "PYTHONUNBUFFERED": "1",
    }
    assert inner_environment({"PYTHONPATH": "/mine"}, Path("/src"))["PYTHONPATH"] == "/src:/mine"


def test_entering_one_s_own_namespaces_needs_no_user_namespace() -> None:
    command = enter_command(os.getpid(), Path("/tmp"))
    assert "--user" not in command
    assert command[-1] == "--"
    assert "--pid" in command
    assert "--pid" not in enter_command(os.getpid(), Path("/tmp"), processes=False)


def test_a_listener_is_only_on_the_loopback_and_takes_a_taken_port_ill() -> None:
    with loopback_listener() as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with socket.create_connection((host, port)), pytest.raises(OSError, match="in use"):
            loopback_listener(port)


def test_the_route_is_what_the_kernel_takes_for_a_local_range() -> None:
    message = local_route(7, IPv4Network("10.201.0.0/16"))
    assert message == bytes([socket.AF_INET, 16, 0, 0, 255, 3, 254, 2]) + bytes(4) + (
        struct.pack("=HH", 8, 1) + bytes([10, 201, 0, 0]) + struct.pack("=HHi", 8, 4, 7)
    )


def test_the_network_stands_in_real_namespaces(tmp_path: Path) -> None:
    """Any address of the service range can be listened on; forwarding is on."""
    code = (
        "import socket; from playground.network import prepare; prepare();"
        "s = socket.create_server(('10.201.77.8', 80)); c = socket.create_connection(('10.201.77.8', 80));"
        "print(c.getpeername(), open('/proc/sys/net/ipv4/ip_forward').read().strip(),"
        "socket.create_server(('10.200.0.1', 0)).getsockname()[0])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [*choose_namespaces(), sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "('10.201.77.8', 80) 1 10.200.0.1\n"


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (("v1", "Namespace", "a", None), "/api/v1/namespaces/a"),
        (("v1", "Service", "web", "a"), "/api/v1/namespaces/a/services/web"),
        (("v1", "ConfigMap", "c", None), "/api/v1/namespaces/default/configmaps/c"),
        (
            ("rbac.authorization.k8s.io/v1", "ClusterRole", "r", None),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/r",
        ),
    ],
)
def test_where_an_object_is(item: tuple[str, str, str, str | None], path: str) -> None:
    version, kind, name, namespace = item
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    assert path_of({"apiVersion": version, "kind": kind, "metadata": metadata}) == path
