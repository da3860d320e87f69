"""Checks that a container's environment is the one that a real kubelet builds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.kubelet.environment import (
    ConfigError,
    Reference,
    Surroundings,
    build_environment,
    command_line,
    expand,
    references,
    service_environment,
)
from playground.kubelet.fields import FieldError, PodFacts, field_value, resource_value

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "ns",
        "uid": "u-1",
        "labels": {"b": 'say "é"', "a": "1"},
        "annotations": {"x/y": "z"},
    },
    "spec": {
        "nodeName": "gpu-0",
        "serviceAccountName": "robot",
        "containers": [
            {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Gi"}}},
            {"name": "d"},
        ],
    },
}
FACTS = PodFacts(POD, "10.200.1.1", "10.200.0.1", {"cpu": "8", "memory": "16Gi"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("a$(A)b$(B)", "a1b2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C)", "$(C)"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("$()", "$()"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


@given(st.text(alphabet="ab($)", max_size=20))
def test_text_without_a_dollar_pair_or_known_name_is_left_alone(text: str) -> None:
    if "$$" not in text:
        assert expand(text, {}) == text


@given(st.text(alphabet="ab($)", max_size=20))
def test_a_doubled_dollar_protects_everything(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"a": "x", "b": "y", "": "z"}) == text


def around(**contents: dict[str, bytes] | None) -> Surroundings:
    kinds = {Reference(*name.split("_", 1)): data for name, data in contents.items()}
    return Surroundings(FACTS, kinds, {"SVC_HOST": "10.201.0.9"}, {"PATH": "/image", "FROM": "image"})


def test_services_then_sources_then_variables_each_over_the_last() -> None:
    container = {
        "name": "c",
        "envFrom": [
            {"configMapRef": {"name": "m"}},
            {"secretRef": {"name": "s"}, "prefix": "P_"},
            {"secretRef": {"name": "none", "optional": True}},
        ],
        "env": [
            {"name": "A", "value": "$(SVC_HOST) $(P_k) $(LATER)"},
            {"name": "LATER", "value": "$(A)!"},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "B"}}},
            {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": True}}},
        ],
    }
    assert references(container) == tuple(
        Reference(kind, name) for kind, name in (("configmap", "m"), ("secret", "s"), ("secret", "none"))
    )
    values = build_environment(
        container, around(configmap_m={"A": b"map", "B": b"b"}, secret_s={"k": b"v"}, secret_none=None)
    )
    assert values == {
        "PATH": "/image",
        "FROM": "image",
        "HOME": "/tmp",
        "HOSTNAME": "p",
        "SVC_HOST": "10.201.0.9",
        "B": "b",
        "P_k": "v",
        "A": "10.201.0.9 v $(LATER)",
        "LATER": "10.201.0.9 v $(LATER)!",
        "KEY": "b",
    }


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"secretRef": {"name": "s"}}]}, 'secret "s" not found'),
        ({"envFrom": [{"configMapRef": {"name": "m"}}]}, 'configmap "m" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            'secret "s" not found',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "t", "key": "k"}}}]},
            "couldn't find key k in Secret ns/t",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]},
            "unsupported fieldPath: spec.nope",
        ),
    ],
)
def test_what_is_missing_is_named_in_the_kubelets_words(container: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_environment({"name": "c", **container}, around(secret_s=None, configmap_m=None, secret_t={}))
    assert str(caught.value) == message


def test_the_command_replaces_the_entrypoint_and_is_expanded() -> None:
    assert command_line({"args": ["--x=$(A)"]}, ["run"], {"A": "1"}) == ["run", "--x=1"]
    assert command_line({"command": ["other"], "args": ["$$(A)"]}, ["run"], {"A": "1"}) == ["other", "$(A)"]


def test_fields() -> None:
    assert field_value(FACTS, "metadata.labels['a']") == "1"
    assert field_value(FACTS, "metadata.annotations['x/y']") == "z"
    assert field_value(FACTS, "metadata.labels['none']") == ""
    assert field_value(FACTS, "metadata.labels") == 'a="1"\nb="say \\"é\\""'
    assert field_value(FACTS, "status.hostIP") == "10.200.0.1"
    assert field_value(FACTS, "spec.serviceAccountName") == "robot"


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "limits.memory"}, str(16 * 2**30)),
        ({"resource": "requests.cpu"}, "0"),
        ({"resource": "limits.cpu", "containerName": "d", "divisor": "0"}, "8"),
    ],
)
def test_resources_are_whole_divisors_and_fall_back_to_the_node(reference: dict[str, Any], text: str) -> None:
    assert resource_value(FACTS, reference, "c") == text


def test_an_unknown_container_is_an_error() -> None:
    with pytest.raises(FieldError, match="container x not found"):
        resource_value(FACTS, {"resource": "limits.cpu"}, "x")


def service(namespace: str, name: str, address: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": address, "ports": list(ports)},
    }


def test_service_variables() -> None:
    services = [
        service("default", "kubernetes", "10.201.0.1", {"name": "https", "port": 443}),
        service("ns", "my-db", "10.201.0.2", {"name": "sql-x", "port": 5432}, {"port": 80}),
        service("ns", "headless", "None", {"port": 80}),
        service("other", "web", "10.201.0.3", {"port": 80}),
    ]
    links = service_environment(services, "ns", links=True)
    assert links["KUBERNETES_SERVICE_HOST"] == "10.201.0.1"
    assert links["MY_DB_SERVICE_PORT"] == "5432"
    assert links["MY_DB_SERVICE_PORT_SQL_X"] == "5432"
    assert links["MY_DB_PORT"] == "tcp://10.201.0.2:5432"
    assert links["MY_DB_PORT_80_TCP_ADDR"] == "10.201.0.2"
    assert not [name for name in links if name.startswith(("WEB", "HEADLESS"))]
    assert {name.partition("_")[0] for name in service_environment(services, "ns", links=False)} == {"KUBERNETES"}
