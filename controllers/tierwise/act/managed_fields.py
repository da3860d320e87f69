"""Names the program that changed a field of an object by hand.

The API server keeps for every field who wrote it last (managedFields): `kubectl-edit`, a GitOps tool, a browser. A
program can give itself any name, so this is a hint for people, and no decision depends on it. For a removed field there
is no entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_NAMED = 3
_LONGEST = 64


def describe_edit(found: Mapping[str, Any], paths: Iterable[str], ours: str) -> str:
    """Which fields were changed and by whom, for an Event. `ours`: the field manager that is not meant."""
    changed = tuple(paths)
    where = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
    who = editors(found, changed, ours)
    return f"{where}: changed by {', '.join(who)}" if who else f"{where}: changed by hand"


def editors(found: Mapping[str, Any], paths: Iterable[str], ours: str) -> tuple[str, ...]:
    """The managers that own one of these fields (paths as `differences` gives them), sorted."""
    changed = tuple(paths)
    entries = found["metadata"].get("managedFields") or ()
    return tuple(
        sorted(
            {
                str(entry.get("manager") or "")[:_LONGEST]
                for entry in entries
                if entry.get("manager") not in (None, "", ours)
                and not entry.get("subresource")
                and any(_owns(entry.get("fieldsV1") or {}, path) for path in changed)
            }
        )
    )


def _owns(fields: Mapping[str, Any], path: str) -> bool:
    """Whether a set of fields holds this one, or a list or map above it that is owned as a whole."""
    if not path:
        return True
    below = [key for key in fields if key != "."]
    if not below:
        return "." not in fields
    for key in below:
        name = key.removeprefix("f:")
        if key.startswith("f:") and path.startswith(name):
            rest = path[len(name) :]
            if (not rest or rest[0] in ".[") and _owns(fields[key], rest.removeprefix(".")):
                return True
    return False
