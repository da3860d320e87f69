"""Checks that the models of the kserve SDK know every field of a manifest and give it back unchanged.

Run by the interpreter that has the SDK: manifests as a JSON object by name on standard input, complaints by name on
standard output. The SDK's own deserialiser drops unknown fields in silence, so this one walks the models' type tables
(`openapi_types`, `attribute_map`) itself, builds real instances (which check required fields), and compares what they
serialise to. Imports nothing of this repository: it runs elsewhere.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Mapping
from typing import Any

_PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "ResourceQuantity": (str, int),
    "IntOrString": (str, int),
    "object": (object,),
}


class Unfit(Exception):
    """A field that the models do not have, or a value of the wrong type."""


def build(type_name: str, value: Any, path: str) -> Any:
    """An instance of a model type, from plain data. Raises Unfit with the path."""
    if listed := re.fullmatch(r"[lL]ist\[(.+)\]", type_name):
        if not isinstance(value, list):
            raise Unfit(f"{path} is no list")
        return [build(listed[1], item, f"{path}[{index}]") for index, item in enumerate(value)]
    if mapped := re.fullmatch(r"[dD]ict[(\[](\w+), (.+)[)\]]", type_name):
        if not isinstance(value, dict):
            raise Unfit(f"{path} is no object")
        return {key: build(mapped[2], item, f"{path}.{key}") for key, item in value.items()}
    if type_name in _PLAIN:
        if not isinstance(value, _PLAIN[type_name]) or (isinstance(value, bool) and type_name in ("int", "str")):
            raise Unfit(f"{path} is {value!r}, which is no {type_name}")
        return value
    return _model(type_name, value, path)


def _model(type_name: str, value: Any, path: str) -> Any:
    model = _class(type_name)
    if not isinstance(value, dict):
        raise Unfit(f"{path} is no object")
    names = {wire: attribute for attribute, wire in model.attribute_map.items()}
    fields = {}
    for wire, item in value.items():
        if wire not in names:
            raise Unfit(f"{path}.{wire} is not a field of {model.__name__}")
        fields[names[wire]] = build(model.openapi_types[names[wire]], item, f"{path}.{wire}")
    try:
        return model(**fields)
    except ValueError as error:
        raise Unfit(f"{path}: {error}") from error


def _class(type_name: str) -> Any:
    # Kubernetes' own types appear as V1Container or as K8sIoApiCoreV1Container, depending on the generator's mood.
    short = re.sub(r"^K8sIo(?:Api|Apimachinery)[A-Z][A-Za-z]*?(?=V[0-9])", "", type_name)
    for module in ("kserve", "kubernetes.client.models"):
        found = getattr(importlib.import_module(module), short, None)
        if found is not None:
            return found
    raise Unfit(f"the SDK has no model {type_name}")


def plain(value: Any) -> Any:
    """What an instance of a model says, as plain data under the names of the wire."""
    if hasattr(value, "attribute_map"):
        fields = {wire: getattr(value, attribute) for attribute, wire in value.attribute_map.items()}
        return {wire: plain(item) for wire, item in fields.items() if item is not None}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def complaints(manifests: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong, by the name of the manifest; a manifest that is fine is not named."""
    found = {}
    for name, manifest in manifests.items():
        try:
            again = plain(build("V1beta1InferenceService", manifest, "."))
        except Unfit as error:
            found[name] = str(error)
            continue
        if again != manifest:
            found[name] = f"the models give back something else: {json.dumps(again, sort_keys=True)}"
    return found


if __name__ == "__main__":
    json.dump(complaints(json.load(sys.stdin)), sys.stdout)
