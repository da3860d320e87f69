"""Checks that Services lead to their ready endpoints, by address and by name."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.services.dns import MAX_ANSWERS, answer, resolve, search_list
from playground.services.routing import Address, names, routes


def service(name: str, address: str | None = "10.201.0.9", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": name},
        "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}], **spec},
    }


def endpoints(name: str, *hosts: tuple[str, bool | None], port: int = 8000, **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [host], "conditions": {"ready": ready}} for host, ready in hosts],
        **fields,
    }


def test_ready_endpoints_of_all_slices_in_order() -> None:
    table = routes(
        [service("a"), service("none", "10.201.0.8")],
        [
            endpoints("a", ("10.200.1.2", True), ("10.200.1.9", False)),
            endpoints("a", ("10.200.1.1", None)),
            endpoints("a", ("fd00::1", True), addressType="IPv6"),
            endpoints("other", ("10.200.1.5", True)),
        ],
    )
    assert table == {
        Address("10.201.0.9", 80): (Address("10.200.1.1", 8000), Address("10.200.1.2", 8000)),
        Address("10.201.0.8", 80): (),
    }


def test_terminating_endpoints_count_only_when_no_other_does_and_while_they_serve() -> None:
    going = {"ready": False, "serving": True, "terminating": True}
    gone = {"ready": False, "serving": False, "terminating": True}
    failing = {"ready": False, "serving": False, "terminating": False}
    leaving = endpoints("a")
    leaving["endpoints"] = [
        {"addresses": [f"10.200.1.{number}"], "conditions": state}
        for number, state in enumerate((going, gone, failing))
    ]
    ready = endpoints("a", ("10.200.1.7", True))
    address = Address("10.201.0.9", 80)
    assert routes([service("a")], [leaving])[address] == (Address("10.200.1.0", 8000),)
    assert routes([service("a")], [leaving, ready])[address] == (Address("10.200.1.7", 8000),)
    assert names([service("a", None)], [leaving]) == {("ns", "a"): ()}


def test_ports_are_matched_by_name_and_only_tcp_is_forwarded() -> None:
    ports = [
        {"name": "http", "port": 80},
        {"name": "metrics", "port": 81},
        {"name": "u", "port": 53, "protocol": "UDP"},
    ]
    table = routes([service("a", ports=ports)], [endpoints("a", ("10.200.1.1", True))])
    assert table[Address("10.201.0.9", 80)] == (Address("10.200.1.1", 8000),)
    assert table[Address("10.201.0.9", 81)] == ()
    assert len(table) == 2
    nameless = routes([service("a", ports=[{"port": 80}])], [endpoints("a", ("10.200.1.1", True), ports=[{"port": 1}])])
    assert nameless[Address("10.201.0.9", 80)] == (Address("10.200.1.1", 1),)


def test_names_of_ordinary_and_headless_services() -> None:
    table = names(
        [service("a"), service("bare", "None"), service("away", "", type="ExternalName"), service("empty", "None")],
        [endpoints("bare", ("10.200.1.2", True), ("10.200.1.1", True), ("10.200.1.3", False))],
    )
    assert table == {
        ("ns", "a"): ("10.201.0.9",),
        ("ns", "bare"): ("10.200.1.1", "10.200.1.2"),
        ("ns", "empty"): (),
    }


NAMES = {("ns", "a"): ("10.201.0.9",), ("ns", "many"): tuple(f"10.200.1.{n}" for n in range(1, 60))}


def query(name: str, kind: int = 1, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    return struct.pack(">HHHHHH", 77, flags, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)


def outcome(packet: bytes) -> tuple[int, int]:
    identity, flags, _, answers, _, _ = struct.unpack_from(">HHHHHH", packet)
    assert identity == 77
    assert flags & 0x8000
    return flags & 0xF, answers


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a.ns.svc.cluster.local", 1, (0, 1)),
        ("A.NS.svc.Cluster.local", 1, (0, 1)),
        ("a.ns.svc.cluster.local", 28, (0, 0)),
        ("b.ns.svc.cluster.local", 1, (3, 0)),
        ("a.ns.svc", 1, (3, 0)),
        ("x.a.ns.svc.cluster.local", 1, (3, 0)),
        ("example.com", 1, (3, 0)),
        ("many.ns.svc.cluster.local", 1, (0, MAX_ANSWERS)),
    ],
)
def test_dns_answers(name: str, kind: int, expected: tuple[int, int]) -> None:
    packet = answer(query(name, kind), NAMES)
    assert packet is not None
    assert outcome(packet) == expected
    assert len(packet) <= 512


def test_an_address_record_holds_the_address() -> None:
    packet = answer(query("a.ns.svc.cluster.local"), NAMES)
    assert packet is not None
    assert packet.endswith(bytes([10, 201, 0, 9]))


def test_short_names_work_through_the_search_list() -> None:
    for short in ("a", "a.ns", "a.ns.svc"):
        full = [f"{short}.{domain}" for domain in search_list("ns").split()]
        assert [resolve(name, NAMES) for name in full if resolve(name, NAMES)] == [("10.201.0.9",)]


@given(st.binary(max_size=80))
def test_no_datagram_upsets_the_server(data: bytes) -> None:
    packet = answer(data, NAMES)
    assert packet is None or packet[:2] == data[:2]


def test_an_answer_is_not_answered() -> None:
    assert answer(query("a.ns.svc.cluster.local", flags=0x8000), NAMES) is None
