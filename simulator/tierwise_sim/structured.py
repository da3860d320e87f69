"""Makes values that follow a JSON schema, for structured output and the arguments of tools.

vLLM forbids every token that its grammar does not allow, so what a real model says under a schema is always valid. So
is this; what cannot be made so (a regular expression, for one) is refused rather than ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from tierwise_sim.tokens import WORDS

_DEEPEST = 16
_REFUSED = frozenset({"pattern", "not", "if", "patternProperties", "propertyNames", "multipleOf"})


class UnsupportedSchema(ValueError):
    """The schema is none, or asks for what is not simulated."""


def text(value: object) -> str:
    """A value as a model writes it under a grammar without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def any_object(rng: Random) -> dict[str, str]:
    """What `json_object` brings: an object of which nothing is known."""
    return {"answer": " ".join(rng.choices(WORDS, k=6))}


def example(schema: object, rng: Random) -> Any:
    """A value that follows the schema. Raises UnsupportedSchema."""
    return _value(schema, schema, rng, 0)


def _value(schema: object, root: object, rng: Random, depth: int) -> Any:
    if schema is True or schema == {}:
        return {}
    if not isinstance(schema, Mapping):
        raise UnsupportedSchema("a schema is an object")
    if depth > _DEEPEST:
        raise UnsupportedSchema("the schema is too deep, or has no end")
    if unknown := sorted(_REFUSED & schema.keys()):
        raise UnsupportedSchema(f"{unknown[0]} is not simulated")
    if "$ref" in schema:
        return _value(_resolved(schema["$ref"], root), root, rng, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(list(schema["enum"]))
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _value(schema[name][0], root, rng, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _value(each, root, rng, depth + 1) for name, each in properties.items()}
    if kind == "array":
        return [_value(schema.get("items", {}), root, rng, depth + 1) for _ in range(max(1, schema.get("minItems", 0)))]
    return _scalar(kind, schema, rng)


def _scalar(kind: object, schema: Mapping[str, Any], rng: Random) -> Any:
    if kind == "string":
        words = " ".join(rng.choices(WORDS, k=2))
        return words.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength", None)]
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100) - 1)
        return rng.randint(int(low), max(int(low), int(high)))
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    raise UnsupportedSchema(f"type {kind!r} is not simulated")


def _resolved(reference: object, root: object) -> object:
    found = root
    for step in str(reference).removeprefix("#/").split("/"):
        if not isinstance(found, Mapping) or step not in found:
            raise UnsupportedSchema(f"{reference} leads nowhere")
        found = found[step]
    return found
