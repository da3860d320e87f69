"""The CRD of GPUPool against a real API server: its rules, what its schema refuses, its columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.api_server import ApiServer
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl, Refused
from tests.unit.api.structural import rules
from tierwise.api.crd import definition
from tierwise.api.kinds import GPU_POOL

pytestmark = pytest.mark.cluster
ROOT = definition(GPU_POOL)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
MESSAGES = {rule["message"] for _, _, rule in rules(ROOT)}
L40S: dict[str, Any] = {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L40S"}}

# One object for each rule that is about one object, that only this rule refuses.
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "nodeSelector has a key that is not a label name, e.g. nvidia.com/gpu.product": (
        "l40s",
        {"nodeSelector": {"not a label": "x"}},
    ),
    "gpu.memory must be above zero": ("l40s", {"gpu": {"memory": "0"}}),
    "the name of a pool has at most 40 characters": ("a" * 41, {}),
    "the name of a pool is lower-case letters, digits and dashes, and starts with a letter": ("4-gpus", {}),
}
# Before, after.
CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resourceName cannot change: create another pool and name it in the tiers": ({}, {"resourceName": "amd.com/gpu"}),
    "nodeSelector cannot change, since every replica of the pool would restart: create another pool": (L40S, {}),
}
REFUSED_BY_SCHEMA: dict[str, dict[str, Any]] = {
    "US dollars without a sign": {"pricePerGPUHour": "$2"},
    "must be of type string": {"budget": {"usdPerHour": 20}},
    "greater than or equal to 0": {"budget": {"gpus": -1}},
    'must be a compute capability in quotes, e.g. "8.9"': {"gpu": {"computeCapability": "90"}},
    'unknown field "spec.capacity"': {"capacity": 8},
}


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl on a cluster that has the CRD."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, GPU_POOL):
        yield admin


def pool(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A GPUPool as a manifest."""
    return {"apiVersion": GPU_POOL.api_version, "kind": GPU_POOL.name, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def server(playground: Playground, kubectl: Kubectl) -> Iterator[ApiServer]:
    """The API server, once it has the CRD."""
    found = ApiServer(playground.kubeconfig)
    yield found
    found.close()


def test_every_rule_has_a_case() -> None:
    assert {*REFUSED, *CHANGED} == MESSAGES


@pytest.mark.parametrize("message", sorted(REFUSED))
def test_refused_by_its_rule(server: ApiServer, message: str) -> None:
    assert message in server.refuses(pool(*REFUSED[message]))


@pytest.mark.parametrize("says", sorted(REFUSED_BY_SCHEMA))
def test_refused_by_the_schema(server: ApiServer, says: str) -> None:
    assert says in server.refuses(pool("l40s", REFUSED_BY_SCHEMA[says]))


@pytest.mark.parametrize("message", sorted(CHANGED))
def test_what_cannot_change(kubectl: Kubectl, message: str) -> None:
    before, after = CHANGED[message]
    kubectl.apply(pool("crd-changed", before))
    try:
        with pytest.raises(Refused) as refused:
            kubectl("replace", "-f", "-", stdin=json.dumps(pool("crd-changed", after)))
        assert message in str(refused.value)
        kubectl("replace", "-f", "-", stdin=json.dumps(pool("crd-changed", {**before, "budget": {"gpus": 2}})))
    finally:
        kubectl("delete", GPU_POOL.plural, "crd-changed")


def test_accepted_in_full_and_shown(kubectl: Kubectl, server: ApiServer) -> None:
    full = {
        **L40S,
        "gpu": {"product": "NVIDIA-L40S", "memory": "45Gi", "computeCapability": "8.9"},
        "pricePerGPUHour": "1.86",
        "budget": {"gpus": 6, "usdPerHour": "11.5"},
    }
    assert server.refuses(pool("full", full)) == ""
    kubectl.apply(pool("crd-shown", {}))
    try:
        header, line, *_ = kubectl("get", "gpool", "crd-shown").splitlines()
        assert header.split() == [
            "NAME", "CAPACITY", "USED", "OTHERS", "FREE", "BUDGET", "$/H", "STATUS", "AGE",
        ]  # fmt: skip
        assert line.split()[0] == "crd-shown"
    finally:
        kubectl("delete", GPU_POOL.plural, "crd-shown")
