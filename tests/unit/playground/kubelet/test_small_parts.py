"""The kubelet's smaller parts: addresses, GPUs, deadlines, files for /etc, ports, nodes."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from playground.kubelet.deadline import Deadline
from playground.kubelet.devices import Devices
from playground.kubelet.network import AddressPool
from playground.kubelet.node import node_status
from playground.kubelet.preparation import etc_files
from playground.kubelet.prober import Heard, Target, check, port_number, watch
from playground.kubelet.probes import Kind, ProbeSpec
from playground.nodes import GPU_RESOURCE, NODES


def test_an_address_is_not_used_again_at_once_and_never_twice() -> None:
    pool = AddressPool("10.200.255.250", "10.200.0.0/16")
    first = [pool.take() for _ in range(3)]
    pool.give_back(first[0])
    rest = [pool.take() for _ in range(2)]
    assert first[0] not in rest
    assert len({*first, *rest}) == 5
    assert pool.take() == first[0]
    with pytest.raises(OSError, match="no pod address is left"):
        pool.take()


def spec(*gpus: int) -> dict[str, Any]:
    return {
        "containers": [
            {"name": f"c{n}", "resources": {"limits": {GPU_RESOURCE: str(count)}}} for n, count in enumerate(gpus)
        ]
    }


def test_gpus_are_given_once_and_come_back() -> None:
    def numbers(uid: str) -> dict[str, str]:
        return {name: each["NVIDIA_VISIBLE_DEVICES"] for name, each in devices.variables(uid).items()}

    devices = Devices(4, "NVIDIA-L4")
    devices.claim("a", spec(1, 2))
    devices.claim("a", spec(1, 2))
    devices.claim("b", spec(1, 0))
    assert numbers("a") == {"c0": "0", "c1": "1,2"}
    assert devices.variables("b") == {"c0": {"NVIDIA_VISIBLE_DEVICES": "3", "PLAYGROUND_GPU": "NVIDIA-L4"}}
    devices.release("a")
    devices.claim("c", spec(2))
    assert numbers("c") == {"c0": "0,1"}
    assert devices.variables("unknown") == {}


async def test_a_deadline_can_come_sooner_and_never_later_by_that() -> None:
    deadline = Deadline(100)
    waiting = asyncio.create_task(deadline.passed())
    await asyncio.sleep(0)
    deadline.bring_forward(200)
    assert deadline.remaining > 90
    deadline.bring_forward(0.01)
    await asyncio.wait_for(waiting, 10)
    assert deadline.remaining == 0
    deadline.at_least(50)
    assert deadline.remaining > 40


async def test_the_first_of_event_and_deadline() -> None:
    assert await Deadline(10).first(asyncio.sleep(0)) is True
    assert await Deadline(0.01).first(asyncio.sleep(10)) is False


def test_the_files_of_etc(tmp_path: Path) -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"subdomain": "s", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]},
    }
    mounts = etc_files(tmp_path, pod, "10.200.1.1", "nameserver 10.201.0.10\n")
    assert [mount.target for mount in mounts] == [
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/etc/nsswitch.conf",
    ]
    hosts = (tmp_path / "etc" / "hosts").read_text().splitlines()
    assert hosts[2:] == ["10.200.1.1\tp.s.n.svc.cluster.local\tp", "1.2.3.4\tx\ty"]


def test_ports_by_number_and_name() -> None:
    container = {"ports": [{"name": "http", "containerPort": 8000}]}
    assert [port_number(container, port) for port in (1, "http", "81")] == [1, 8000, 81]
    with pytest.raises(ValueError, match="couldn't find port: grpc"):
        port_number(container, "grpc")


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_probes_on_sockets(listening: int) -> None:
    target = Target("127.0.0.1", {}, 0, {})
    assert (await check({"tcpSocket": {"port": listening}}, target, 1))[0] is True
    good, why = await check({"httpGet": {"port": listening, "path": "/"}}, target, 0.2)
    assert (good, why) == (False, "timed out after 0.2 s")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert (await check({"tcpSocket": {"port": free}}, target, 1))[0] is False
    good, why = await check({"grpc": {"port": 1}}, target, 1)
    assert (good, why) == (False, "the playground has no probe of type grpc")


async def test_a_watch_reports_changes_only() -> None:
    outcomes = iter([False, True, True, False, False, False, True])
    heard: list[object] = []
    done = asyncio.Event()

    async def look() -> tuple[bool, str]:
        try:
            return next(outcomes), "why"
        except StopIteration:
            done.set()
            await asyncio.sleep(60)
            raise

    probe = ProbeSpec(Kind.READINESS, {}, period=0.01, failure_threshold=2)
    listener = Heard(lambda _, passing: heard.append(passing), lambda _, why: heard.append(why))
    watching = asyncio.create_task(watch(probe, look, listener, 0))
    await asyncio.wait_for(done.wait(), 5)
    watching.cancel()
    assert heard == ["why", True, "why", "why", False, "why", True]


async def test_a_liveness_watch_ends_with_its_verdict() -> None:
    async def look() -> tuple[bool, str]:
        return False, "dead"

    heard: list[bool] = []
    probe = ProbeSpec(Kind.LIVENESS, {}, period=0.01, failure_threshold=3)
    await asyncio.wait_for(watch(probe, look, Heard(lambda _, ok: heard.append(ok), lambda *_: None), 0), 10)
    assert heard == [False]


def test_nodes_carry_the_labels_that_selectors_are_written_against() -> None:
    by_name = {node.name: node for node in NODES}
    assert by_name["gpu-0"].labels()["nvidia.com/gpu.product"] == "NVIDIA-L4"
    assert by_name["gpu-1"].labels()["nvidia.com/gpu.compute.major"] == "9"
    assert by_name["gpu-1"].capacity()[GPU_RESOURCE] == "8"
    assert GPU_RESOURCE not in by_name["cpu-0"].capacity()
    assert not [label for label in by_name["cpu-0"].labels() if "nvidia" in label]


def test_a_node_keeps_its_transition_times() -> None:
    first = node_status(NODES[0], datetime(2026, 1, 1, tzinfo=UTC), {})
    later = node_status(NODES[0], datetime(2026, 1, 2, tzinfo=UTC), first)
    assert {c["lastTransitionTime"] for c in later["conditions"]} == {"2026-01-01T00:00:00Z"}
    away = {"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    back = node_status(NODES[0], datetime(2026, 1, 2, tzinfo=UTC), away)
    assert back["conditions"][-1]["lastTransitionTime"] == "2026-01-02T00:00:00Z"
