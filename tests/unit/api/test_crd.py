"""The generated CRD: the habits of a good Kubernetes API, as assertions over every field of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field

from tests.unit.api.structural import rules, walk
from tierwise.api import crd
from tierwise.api.base import Model, Rule
from tierwise.api.crd import definition, structural, to_yaml
from tierwise.api.kinds import KINDS, MODEL_TIER

REPO = Path(__file__).resolve().parents[3]
CRD = definition(MODEL_TIER)
VERSION = CRD["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]
NODES = [(path, node) for path, node in walk(ROOT) if path.startswith((".spec", ".status"))]
FIELDS = [(path, node) for path, node in NODES if not path.endswith(("[]", ".*"))]
YAML_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}
# What a JSON schema may hold and a structural schema may not.
FOREIGN = {
    "$ref",
    "$defs",
    "anyOf",
    "allOf",
    "oneOf",
    "const",
    "title",
    "propertyNames",
    "nullable",
    "exclusiveMinimum",
}


def test_the_walk_reaches_the_whole_api() -> None:
    paths = [path for path, _ in FIELDS]
    assert ".spec.speculation.schedule[].fromBatch" in paths
    assert ".status.scaling.memory.peaks[].time" in paths
    assert len(paths) == len(set(paths)) > 120


@pytest.mark.parametrize(("path", "node"), FIELDS, ids=[path for path, _ in FIELDS])
def test_every_field_has_a_description(path: str, node: dict[str, Any]) -> None:
    text = node["description"]
    assert text[0].isupper()
    assert text.endswith(".")
    assert "\n" not in text
    assert "{{" not in text  # it is part of a helm template


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path for path, _ in NODES])
def test_every_node_is_structural_and_bounded(path: str, node: dict[str, Any]) -> None:
    assert not FOREIGN & set(node)
    if node.get("x-kubernetes-int-or-string"):
        assert "type" not in node
        assert node["maxLength"] <= 20
        assert "matches(" in node["x-kubernetes-validations"][0]["rule"]
        return
    match node["type"]:
        case "string":
            assert "maxLength" in node or "enum" in node
        case "array":
            assert node["maxItems"] <= 32
            assert node["x-kubernetes-list-type"] in {"atomic", "set", "map"}
        case "object":
            assert "properties" in node or node["maxProperties"] <= 16
        case "integer":
            assert node["format"] in {"int32", "int64"}
            # what a user may write has both ends; what we count may grow
            assert "minimum" in node
            assert "maximum" in node or path.startswith(".status")
        case other:
            pytest.fail(f"{path}: type {other} (floats differ between readers, and a bare boolean has no name)")


def test_no_enum_value_is_a_boolean_for_yaml_1_1() -> None:
    values = [str(value) for path, node in NODES for value in node.get("enum", ()) if ".conditions" not in path]
    assert values
    assert not [value for value in values if value.lower() in YAML_BOOLEANS]


def test_lists_of_conditions_and_children_merge_by_key() -> None:
    status = ROOT["properties"]["status"]["properties"]
    for name, key in (("conditions", "type"), ("inferenceServices", "name")):
        assert status[name]["x-kubernetes-list-type"] == "map"
        assert status[name]["x-kubernetes-list-map-keys"] == [key]
        assert key in status[name]["items"]["required"]


def test_defaults_are_in_the_spec_only_and_never_on_a_required_field() -> None:
    assert not [path for path, node in NODES if "default" in node and path.startswith(".status")]
    for path, node in NODES:
        for name in node.get("required", ()):
            assert "default" not in node["properties"][name], f"{path}.{name}"
    assert not [path for path, node in NODES if "default" in node and path.endswith("[]")]


def test_an_optional_object_carries_the_defaults_below_it() -> None:
    spec = ROOT["properties"]["spec"]["properties"]
    assert spec["scaling"]["default"]["maxReplicas"] == 1
    assert spec["resources"]["default"]["cpu"] == "4"
    assert spec["placement"]["default"] == {}
    for absent in ("model", "external", "price"):
        assert "default" not in spec[absent]


def test_rules_have_a_message_of_their_own_and_name_a_field_that_exists() -> None:
    found = rules(ROOT)
    messages = [rule["message"] for _, _, rule in found]
    assert len(messages) == len(set(messages)) >= 30
    for path, node, rule in found:
        assert 20 < len(rule["message"]) < 200
        assert not rule["message"].endswith(".")
        schema = node
        for part in filter(None, rule.get("fieldPath", "").split(".")):
            assert part in schema["properties"], (path, rule)
            schema = schema["properties"][part]


def test_a_key_is_of_a_secret_or_a_config_map() -> None:
    said = [(path, rule["message"]) for path, node in NODES for rule in node.get("x-kubernetes-validations", ())]
    found = [(path, message) for path, message in said if "must be a key of" in message]
    assert {path for path, _ in found} > {".spec.certificates.key", ".spec.model.tokenSecretRef.key"}
    assert {message.partition(":")[0] for _, message in found} == {"must be a key of a Secret or ConfigMap"}


def test_columns_are_those_of_the_design() -> None:
    columns = [(column["name"].upper(), column.get("priority", 0)) for column in VERSION["additionalPrinterColumns"]]
    assert [name for name, wide in columns if not wide] == [
        "MODEL", "READY", "DESIRED", "WAITING", "KV", "$/H", "LIMITED", "STATUS", "AGE",
    ]  # fmt: skip
    assert [name for name, wide in columns if wide] == [
        "ENGINE", "QUANTIZATION", "POOLS", "PREFIX-HIT", "ACCEPTED", "$/MTOK", "REASON", "URL",
    ]  # fmt: skip


def test_columns_and_scale_point_at_fields_of_their_type() -> None:
    nodes = dict(walk(ROOT))
    for column in VERSION["additionalPrinterColumns"]:
        if column["type"] != "date":
            assert nodes[column["jsonPath"]]["type"] == column["type"]
    scale = VERSION["subresources"]["scale"]
    assert nodes[scale["specReplicasPath"]]["type"] == "integer"
    assert nodes[scale["statusReplicasPath"]]["type"] == "integer"
    assert nodes[scale["labelSelectorPath"]]["type"] == "string"
    assert VERSION["subresources"]["status"] == {}


def test_names_of_the_kind() -> None:
    names = CRD["spec"]["names"]
    assert names["shortNames"] == ["mt"]
    assert names["categories"] == ["tierwise"]
    assert CRD["spec"]["scope"] == "Namespaced"
    assert CRD["metadata"]["name"] == f"{names['plural']}.{CRD['spec']['group']}"


def test_yaml_is_stable_has_no_anchors_and_says_the_same_as_the_dict() -> None:
    text = to_yaml(definition(MODEL_TIER))
    assert text == to_yaml(definition(MODEL_TIER))
    assert "&id" not in text
    assert yaml.safe_load(text) == CRD


def test_the_chart_keeps_the_crds_when_it_is_uninstalled() -> None:
    files = {path: yaml.safe_load(text) for path, text in crd.files().items()}
    for kind in KINDS:
        name = f"tierwise.io_{kind.plural}.yaml"
        plain, chart = files[Path("crds") / name], files[Path("charts/tierwise-crds/templates") / name]
        assert chart["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        del chart["metadata"]["annotations"]
        assert chart == plain


def test_the_files_in_the_repository_are_fresh() -> None:
    for path, text in crd.files().items():
        assert (REPO / path).read_text() == text, f"{path}: run `make crds`"


class Inner(Model):
    """Inner."""

    kind: Literal["one"] = Field(default="one", description="Kind.")


class Outer(Model):
    """Outer."""

    cel = (Rule(expression="has(self.inner)", message="no inner", field_path=".inner"),)
    inner: Inner | None = Field(default=None, description="Mine.")
    plain: Inner = Field(default_factory=Inner, description="Plain.")


class TwoTypes(Model):
    """A union, which has no structural form."""

    field: int | str = Field(description="Either.")


class Unknown(Model):
    """A keyword that the rewriting does not know."""

    field: int = Field(multiple_of=2, description="Even.")


def test_rewriting_of_the_forms_that_pydantic_writes() -> None:
    assert structural(Outer) == {
        "description": "Outer.",
        "type": "object",
        "x-kubernetes-validations": [{"rule": "has(self.inner)", "message": "no inner", "fieldPath": ".inner"}],
        "properties": {
            "inner": {
                "description": "Mine.",
                "type": "object",
                "properties": {
                    "kind": {"description": "Kind.", "type": "string", "enum": ["one"], "default": "one"},
                },
            },
            "plain": {
                "description": "Plain.",
                "type": "object",
                "properties": {
                    "kind": {"description": "Kind.", "type": "string", "enum": ["one"], "default": "one"},
                },
                "default": {"kind": "one"},
            },
        },
        "default": {"plain": {"kind": "one"}},
    }
    assert "default" not in str(structural(Outer, defaults=False))


def test_what_has_no_structural_form_is_an_error() -> None:
    with pytest.raises(ValueError, match="one type only"):
        structural(TwoTypes)
    with pytest.raises(ValueError, match="multipleOf"):
        structural(Unknown)
