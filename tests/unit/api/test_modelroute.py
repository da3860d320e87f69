"""The CRD of ModelRoute: the same habits as that of ModelTier."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.structural import rules, walk
from tierwise.api.crd import definition
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import ModelRouteStatus

CRD = definition(MODEL_ROUTE)
VERSION = CRD["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]
FIELDS = [
    (path, node)
    for path, node in walk(ROOT)
    if path.startswith((".spec", ".status")) and not path.endswith(("[]", ".*"))
]


@pytest.mark.parametrize(("path", "node"), FIELDS, ids=[path for path, _ in FIELDS])
def test_every_field_has_a_description_and_bounds(path: str, node: dict[str, Any]) -> None:
    assert node["description"].endswith((".", ":"))
    match node["type"]:
        case "string":
            assert "maxLength" in node or "enum" in node
        case "array":
            assert node["maxItems"] <= 64
        case "integer":
            assert "minimum" in node
            assert "maximum" in node or path.startswith(".status")
        case other:
            assert other in ("object", "boolean")


def test_columns_are_those_that_have_something_to_show_and_point_at_their_type() -> None:
    nodes = dict(walk(ROOT))
    columns = VERSION["additionalPrinterColumns"]
    assert [(column["name"].upper(), column.get("priority", 0)) for column in columns] == [
        ("URL", 0), ("TIERS", 0), ("REQ/S", 0), ("SHARE", 0), ("SAVED", 0), ("QUALITY", 0), ("$/H", 0), ("SPENT", 0),
        ("STATUS", 0),
        ("MODEL NAMES", 1), ("WAITING", 1), ("SPILLED", 1), ("FALLBACKS", 1), ("P95 TTFT", 1), ("SAVED AT LEAST", 1),
        ("PRESSED", 1),
        ("ROUTERS", 1),
        ("REASON", 1), ("AGE", 0),
    ]  # fmt: skip
    for column in columns:
        if column["type"] != "date":
            assert nodes[column["jsonPath"]]["type"] == column["type"]


def test_names_of_the_kind() -> None:
    names = CRD["spec"]["names"]
    assert (names["shortNames"], names["plural"], CRD["spec"]["scope"]) == (["mr"], "modelroutes", "Namespaced")
    assert VERSION["subresources"] == {"status": {}}


def test_rules_name_a_field_that_exists_and_have_messages_of_their_own() -> None:
    messages = []
    for _, node, rule in rules(ROOT):
        messages.append(rule["message"])
        schema = node
        for part in filter(None, rule.get("fieldPath", "").split(".")):
            schema = schema["properties"][part]
    assert len(messages) == len(set(messages)) == 17


def test_a_spec_needs_nothing_but_a_tier() -> None:
    spec = ModelRouteSpec.model_validate({"tiers": [{"name": "small"}]})
    assert (spec.replicas, spec.drain_seconds, spec.direct_access, spec.tiers[0].use) == (2, 300, True, "Always")
    assert VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] == ["tiers"]


def test_a_status_of_the_longest_names_fits() -> None:
    names = ", ".join(["m" * 128] * 16)
    assert ModelRouteStatus(model_names=names).model_names == names
