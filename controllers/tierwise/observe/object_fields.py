"""Reads fields of Kubernetes objects that may lack them.

A watch delivers the API server's JSON. It is mostly complete, but a field may be absent, null, or of an older shape.
These readers then return an empty value instead of raising an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tierwise.times import seconds


def mapping(body: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The object at `path`; empty when there is none."""
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def items(body: Mapping[str, Any], *path: str) -> Iterator[Mapping[str, Any]]:
    """The objects of the list at `path`."""
    found = mapping(body, *path[:-1]).get(path[-1])
    yield from (each for each in found if isinstance(each, Mapping)) if isinstance(found, list | tuple) else ()


def text(body: Mapping[str, Any], name: str) -> str:
    """A string; empty when it is absent."""
    found = body.get(name)
    return "" if found is None else str(found)


def number(body: Mapping[str, Any], name: str) -> int:
    """An integer; 0 when it is absent or not one."""
    return optional_number(body.get(name)) or 0


def optional_number(found: object) -> int | None:
    """An integer, also one written as text; None when it is not one."""
    try:
        return int(found)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError):
        return None


def time(body: Mapping[str, Any], name: str) -> float | None:
    """A timestamp in seconds since the epoch; None when it is absent or not one."""
    return seconds(body.get(name))


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of this type in `status.conditions`; empty when there is none."""
    return next((each for each in items(body, "status", "conditions") if each.get("type") == kind), {})


def controller(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The owner that controls the object; empty when there is none."""
    return next((owner for owner in items(metadata, "ownerReferences") if owner.get("controller")), {})
