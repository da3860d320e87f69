"""Replicas from EndpointSlices: by the UID of the pod, ready and not on their way out."""

from __future__ import annotations

from typing import Any

import pytest

from tierwise_router.endpoints import Endpoint, endpoints, replicas


def part(*found: dict[str, Any], **fields: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 8000, "protocol": "TCP"}]
    return {"addressType": "IPv4", "ports": ports, "endpoints": list(found), **fields}


def endpoint(uid: str, address: str = "10.0.0.1", **conditions: Any) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "uid": uid}}


def test_a_replica_is_known_by_the_uid_of_its_pod() -> None:
    assert endpoints(part(endpoint("a"))) == (Endpoint(0, "a", "http://10.0.0.1:8000", True),)


@pytest.mark.parametrize(
    ("conditions", "takes"),
    [
        ({}, True),
        ({"ready": True}, True),
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
)
def test_only_one_that_is_ready_and_not_on_its_way_out_takes_requests(conditions: dict[str, Any], takes: bool) -> None:
    (found,) = endpoints(part(endpoint("a", **conditions)))
    assert found.takes is takes


def test_the_port_is_the_one_named_http_else_the_first() -> None:
    two = [{"name": "metrics", "port": 9}, {"name": "http1", "port": 8000}]
    assert endpoints(part(endpoint("a"), ports=two))[0].url == "http://10.0.0.1:8000"
    assert endpoints(part(endpoint("a"), ports=[{"name": "x", "port": 7}]))[0].url == "http://10.0.0.1:7"
    assert endpoints(part(endpoint("a"), ports=[{"name": "http", "port": 7, "protocol": "UDP"}])) == ()


@pytest.mark.parametrize("body", [{}, part(addressType="FQDN"), part({"addresses": []}), part(endpoints=None)])
def test_half_a_slice_has_no_endpoint(body: dict[str, Any]) -> None:
    assert endpoints(body) == ()


def test_an_endpoint_that_is_no_pod_is_known_by_its_address() -> None:
    assert endpoints(part({"addresses": ["10.0.0.9"]}))[0].key == "10.0.0.9"


def test_of_two_addresses_the_first_family_is_asked() -> None:
    four, six = endpoints(part(endpoint("a"))), endpoints(part(endpoint("a", "fd00::1"), addressType="IPv6"))
    assert six[0].url == "http://[fd00::1]:8000"
    assert replicas([six, four], ())[0] == {"a": "http://10.0.0.1:8000"}
    assert replicas([six], ())[0] == {"a": "http://[fd00::1]:8000"}


def test_a_replica_that_goes_drains_and_one_that_starts_is_not_there_yet() -> None:
    found = endpoints(part(endpoint("going", terminating=True), endpoint("new", ready=False), endpoint("here")))
    urls, draining = replicas([found], {"going", "here"})
    assert (set(urls), set(draining)) == ({"going", "here"}, {"going"})
    assert set(replicas([found], ())[0]) == {"here"}


def test_a_pod_in_two_slices_while_it_moves_takes_requests_if_one_says_so() -> None:
    one, two = endpoints(part(endpoint("a", ready=False))), endpoints(part(endpoint("a")))
    assert replicas([one, two], {"a"}) == ({"a": "http://10.0.0.1:8000"}, frozenset())
