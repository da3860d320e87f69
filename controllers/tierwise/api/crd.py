"""Makes the CRDs that the API server enforces, from the models of the kinds.

A CRD takes only *structural* schemas: no references, no `anyOf` with null, no titles. pydantic writes all of these, so
its JSON schema is rewritten here, and what pydantic cannot say is added: list types, integer formats, nested defaults
(on an optional object, without which the API server never looks at the defaults below it), printer
columns, the subresources, and a sentence for every pattern. The output depends on nothing but the models, so it is
byte-stable and can be compared with the files in the repository (`tools/crds.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tierwise.api.base import GROUP, VERSION, Model
from tierwise.api.kinds import KINDS, Column, Kind
from tierwise.api.pattern_words import worded

HEADER = "# Generated from controllers/tierwise/api by `make crds`; edit the models, not this file.\n"

# JSON schema keywords that are copied as they are; the others are rewritten below or must not be in a CRD.
_COPIED = (
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_REWRITTEN = (
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "items",
    "properties",
    "propertyNames",  # bounds of map keys: CEL checks them, a structural schema cannot
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
)
_INT32 = 2**31 - 1


def structural(model: type[Model], *, defaults: bool = True) -> dict[str, Any]:
    """The structural schema of `model`. Without `defaults` no field has one: a status is written, never defaulted.

    Raises ValueError for a JSON schema keyword that this rewriting does not know.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _rewrite(raw, raw.get("$defs", {}), defaults)


def _rewrite(node: Mapping[str, Any], definitions: Mapping[str, Any], defaults: bool) -> dict[str, Any]:
    node, optional = _resolve(node, definitions)
    unknown = sorted(set(node) - set(_COPIED) - set(_REWRITTEN))
    if unknown:
        raise ValueError(f"JSON schema keywords that have no structural form: {', '.join(unknown)}")
    out: dict[str, Any] = {}
    if "description" in node:
        out["description"] = " ".join(node["description"].split())
    if node.get("x-kubernetes-int-or-string"):
        out["x-kubernetes-int-or-string"] = True
    else:
        out["type"] = node["type"]
    out.update({key: node[key] for key in _COPIED if key in node})
    if "const" in node:
        out["enum"] = [node["const"]]
    if defaults and node.get("default") is not None:
        out["default"] = node["default"]
    if node["type"] == "integer":
        out["format"] = "int32" if node.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    if node["type"] == "array":
        out.setdefault("x-kubernetes-list-type", "atomic")
        out["items"] = _rewrite(node["items"], definitions, defaults)
        out["items"].pop("default", None)
    if node["type"] == "object":
        _rewrite_object(node, out, definitions, defaults)
        if defaults and not optional and "properties" in out and "required" not in out:
            # in full, not {}: the API server checks a default against the CEL rules before it fills it in
            out["default"] = {name: field["default"] for name, field in out["properties"].items() if "default" in field}
    return out


def _rewrite_object(
    node: Mapping[str, Any], out: dict[str, Any], definitions: Mapping[str, Any], defaults: bool
) -> None:
    if "properties" not in node:
        out["additionalProperties"] = _rewrite(node["additionalProperties"], definitions, defaults)
        return
    required = list(node.get("required", ()))
    if required:
        out["required"] = required
    out["properties"] = {name: _rewrite(child, definitions, defaults) for name, child in node["properties"].items()}
    for name in required:
        out["properties"][name].pop("default", None)


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """`node` with its reference replaced by what it names, and whether None stands for "not set".

    What is said beside a reference (the text of the field) wins over what the definition says of itself.
    """
    out, optional = dict(node), False
    while "$ref" in out or "anyOf" in out:
        if "$ref" in out:
            inner = definitions[out.pop("$ref").rsplit("/", 1)[-1]]
        else:
            options = [option for option in out.pop("anyOf") if option.get("type") != "null"]
            if len(options) != 1:
                raise ValueError(f"a field may have one type only, not {len(options)}")
            inner, optional = options[0], True
        out = {**inner, **out}
    return out, optional


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, as a dict ready for the API server."""
    root = kind.model.model_json_schema(by_alias=True)
    spec = worded(structural(kind.model)["properties"]["spec"])
    status = structural(kind.model, defaults=False)["properties"]["status"]
    text = {"type": "string"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["tierwise"],
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "shortNames": list(kind.short_names),
                "singular": kind.singular,
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {
                        "openAPIV3Schema": {
                            "description": root["description"],
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"description": "Version of this API.", **text},
                                "kind": {"description": f"{kind.name}.", **text},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                            "x-kubernetes-validations": root["x-kubernetes-validations"],
                        }
                    },
                    "subresources": {"status": {}} | ({"scale": dict(kind.scale)} if kind.scale else {}),
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return shown | ({"priority": 1} if column.wide else {})


class _Dumper(yaml.SafeDumper):
    """Plain YAML without anchors: `kubectl diff` and people read it."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write an anchor, even where two fields share one value."""
        return True


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """`manifest` as YAML in its own order, wrapped at 120 columns."""
    return yaml.dump(dict(manifest), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def files() -> dict[Path, str]:
    """Every file of the CRDs: its path below the root of the repository, and its text."""
    made: dict[Path, str] = {}
    for kind in KINDS:
        crd = definition(kind)
        kept = {**crd, "metadata": {**crd["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
        name = f"{GROUP}_{kind.plural}.yaml"
        made[Path("crds") / name] = HEADER + to_yaml(crd)
        made[Path("charts/tierwise-crds/templates") / name] = HEADER + to_yaml(kept)
    return made
