"""Validates values by schema as the API server does, for the keywords that our CRDs use; and draws values of a schema
by Hypothesis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]
# The one form of rule that says which numbers a field may have.
_ONE_OF = re.compile(r"self\.(\w+) in \[([0-9, ]+)\]")


def errors(schema: Schema, value: Any, path: str = "") -> list[str]:
    """What the API server would refuse about `value`, by path; [] when it accepts it."""
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            return [f"{path}: neither integer nor string"]
        return list(_string(schema, value, path) if isinstance(value, str) else _integer(schema, value, path))
    kind = schema["type"]
    checks: dict[str, Callable[[Schema, Any, str], Iterator[str]]] = {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": _integer,
    }
    types = {"object": dict, "array": list, "string": str, "integer": int}
    if isinstance(value, bool) or not isinstance(value, types[kind]):
        return [f"{path}: not {kind}"]
    return list(checks[kind](schema, value, path))


def _object(schema: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path}: too many entries"
    if "properties" not in schema:
        for key, child in value.items():
            yield from errors(schema["additionalProperties"], child, f"{path}.{key}")
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: required"
    for name, child in value.items():
        if name in schema["properties"]:
            yield from errors(schema["properties"][name], child, f"{path}.{name}")
    for name, numbers in _listed(schema).items():
        if name in value and value[name] not in numbers:
            yield f"{path}.{name}: not one of {numbers}"


def _listed(schema: Schema) -> dict[str, list[int]]:
    """The fields that may have a few numbers only, by a rule, and these."""
    found = (_ONE_OF.fullmatch(rule["rule"]) for rule in schema.get("x-kubernetes-validations", ()))
    return {each[1]: [int(number) for number in each[2].split(",")] for each in found if each is not None}


def _array(schema: Schema, value: list[Any], path: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{path}: {len(value)} items"
    if schema["x-kubernetes-list-type"] == "set" and len(set(map(str, value))) != len(value):
        yield f"{path}: duplicate"
    keys = schema.get("x-kubernetes-list-map-keys", ())
    named = [tuple(str(item.get(key)) for key in keys) for item in value if keys and isinstance(item, dict)]
    if len(set(named)) != len(named):
        yield f"{path}: duplicate"
    for index, child in enumerate(value):
        yield from errors(schema["items"], child, f"{path}[{index}]")


def _string(schema: Schema, value: str, path: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: too long"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} not in enum"
    # RE2 has no "before a last newline" meaning of $
    if "pattern" in schema and not re.search(re.sub(r"\$$", r"\\Z", schema["pattern"]), value):
        yield f"{path}: {value!r} does not match"


def _integer(schema: Schema, value: int, path: str) -> Iterator[str]:
    limit = 2**31 if schema.get("format") == "int32" else 2**63
    if not max(schema.get("minimum", -limit), -limit) <= value <= min(schema.get("maximum", limit - 1), limit - 1):
        yield f"{path}: {value} out of range"


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that the schema accepts, edges included."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 10**6) | _texts(schema)
    match schema["type"]:
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum", 2**63 - 1))
        case "string":
            return _texts(schema)
        case "array":
            keys = schema.get("x-kubernetes-list-map-keys", ())
            return st.lists(
                values(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=min(schema["maxItems"], 3),
                unique_by=lambda item: str([item[key] for key in keys] if keys else item),
            )
    if "properties" not in schema:
        return st.dictionaries(st.from_regex(r"\A[a-z]{1,9}\Z"), values(schema["additionalProperties"]), max_size=3)
    required = schema.get("required", ())
    properties = {name: values(child) for name, child in schema["properties"].items()}
    properties |= {name: st.sampled_from(numbers) for name, numbers in _listed(schema).items()}
    return st.fixed_dictionaries(
        {name: properties[name] for name in required},
        optional={name: child for name, child in properties.items() if name not in required},
    )


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    longest = schema["maxLength"]
    if "pattern" in schema:
        return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True).filter(
            lambda text: len(text) <= longest
        )
    return st.text(max_size=min(longest, 20))


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.integers(-(10**10), 10**10),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(["0", "on", "-1", "a\n", "1e3", "x" * 600, "..", "hf://a"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def spoiled(draw: st.DrawFn, schema: Schema) -> Any:
    """A value of the schema in which one place may hold something else."""
    value = draw(values(schema))
    places: list[tuple[Any, Any]] = list(_places(value))
    if draw(st.booleans()) and places:
        container, key = draw(st.sampled_from(places))
        container[key] = draw(JUNK)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every node of a schema with its path; items as `[]`, values of a map as `.*`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}.*")


def is_word(node: Schema) -> bool:
    """Whether a node is a text (or a quantity): its rules say what its pattern says, in words (pattern_words)."""
    return node.get("type") == "string" or bool(node.get("x-kubernetes-int-or-string"))


def rules(root: Schema) -> list[tuple[str, Schema, Mapping[str, Any]]]:
    """The rules about more than one text, with their path and node."""
    return [
        (path, node, rule)
        for path, node in walk(root)
        if not is_word(node)
        for rule in node.get("x-kubernetes-validations", ())
    ]
