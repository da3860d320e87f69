"""Holds a tier while it is put together, and what could not be carried over.

Fields are named by their paths in the CRD. A path that this release does not have is no error: the value goes into the
list, and into the tier as soon as the field exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from tierwise.api.base import API_VERSION, NAME_LENGTH
from tierwise.api.modeltier import ModelTierSpec

NO_FIELD = "a ModelTier has no field for it"
TIER_NAME = f"a tier's name is [a-z][-a-z0-9]*, {NAME_LENGTH} at most"
VALUE_LENGTH = 120
Default = TypeVar("Default")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
# Names of what nobody should read in a list.
_SECRET = re.compile(r"(?i)(api[-_]?key|token|secret|password)(=|$)")


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was not carried over: where it stood, what it was, why, and what to do instead."""

    where: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """One tier as a manifest, and what is not in it."""

    manifest: dict[str, Any]
    dropped: tuple[Dropped, ...]


def has_field(path: str) -> bool:
    """Whether a ModelTier's spec has a field, e.g. "model.revision"."""
    model: type[BaseModel] | None = ModelTierSpec
    for part in path.split("."):
        if model is None:
            return False
        found = next((one for name, one in model.model_fields.items() if (one.alias or name) == part), None)
        if found is None:
            return False
        model = _model_in(found.annotation)
    return True


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def said(value: Any) -> str:
    """A value on one line, not too long."""
    text = " ".join(str(value).split())
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


@dataclass(slots=True)
class Draft:
    """A tier in the making."""

    name: str
    namespace: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)

    def put(self, path: str, value: Any, where: str, otherwise: str = NO_FIELD) -> bool:
        """Set a field; where it does not exist in this release, drop the value with the reason `otherwise`. Whether it
        was set."""
        if not has_field(path):
            self.drop(where, value, otherwise)
            return False
        *parents, last = path.split(".")
        below = self.spec
        for part in parents:
            below = below.setdefault(part, {})
        below[last] = value
        return True

    def get(self, path: str, default: Any = None) -> Any:
        """What was set."""
        below: Any = self.spec
        for part in path.split("."):
            if not isinstance(below, Mapping) or part not in below:
                return default
            below = below[part]
        return below

    def drop(self, where: str, value: Any, reason: str) -> None:
        """Put something into the list; what looks like a secret is not repeated."""
        entry = Dropped(where, "(not shown)" if _SECRET.search(where) else said(value), reason)
        if entry not in self.dropped:
            self.dropped.append(entry)

    def finished(self) -> Conversion:
        """The manifest, its fields in the order of the CRD."""
        name = tier_name(self.name)
        if name != self.name:
            self.drop("metadata.name", self.name, f"{TIER_NAME}: now {name}")
        metadata = {"name": name, **({"namespace": self.namespace} if self.namespace else {})}
        order = [one.alias or key for key, one in ModelTierSpec.model_fields.items()]
        spec = {key: self.spec[key] for key in order if key in self.spec}
        manifest = {"apiVersion": API_VERSION, "kind": "ModelTier", "metadata": metadata, "spec": spec}
        return Conversion(manifest, tuple(self.dropped))


def tier_name(name: str) -> str:
    """A legal name for a tier, as near as can be."""
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    made = made if made[:1].isalpha() else f"tier-{made}"
    return made[:NAME_LENGTH].strip("-")


@dataclass(slots=True)
class Reader:
    """A mapping of the input that knows what nobody has taken from it. `where`: its path, for the list."""

    value: Mapping[str, Any]
    where: str
    draft: Draft
    taken: set[str] = field(default_factory=set)

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, which counts as dealt with."""
        self.taken.add(key)
        found = self.value.get(key)
        return default if found is None else found

    def inside(self, key: str) -> Reader:
        """The mapping below a key; an empty one where there is none."""
        found = self.take(key, {})
        if not isinstance(found, Mapping):
            self.draft.drop(self.path(key), found, "a mapping was expected here")
            found = {}
        return Reader(found, self.path(key), self.draft)

    def each(self, key: str) -> Iterator[Reader]:
        """The mappings of a list below a key."""
        for number, item in enumerate(self.items(key)):
            where = f"{self.path(key)}[{number}]"
            if isinstance(item, Mapping):
                yield Reader(item, where, self.draft)
            elif item is not None:
                self.draft.drop(where, item, "a mapping was expected here")

    def words(self, key: str) -> list[str]:
        """The words of a list below a key."""
        return [str(word) for word in self.items(key)]

    def items(self, key: str) -> list[Any]:
        """The list below a key."""
        found = self.take(key, [])
        if isinstance(found, list):
            return found
        self.draft.drop(self.path(key), found, "a list was expected here")
        return []

    def number(self, key: str, default: Default) -> int | Default:
        """The whole number below a key, `default` where there is none; a word, or a template that nobody has rendered,
        goes into the list."""
        found = self.take(key)
        if found is None or found == "":
            return default
        if isinstance(found, float) and found.is_integer():
            return int(found)
        if isinstance(found, bool) or not _WHOLE.fullmatch(str(found)):
            self.draft.drop(self.path(key), found, "a whole number was expected here: write it into the tier")
            return default
        return int(found)

    def skip(self, defaults: Mapping[str, Any]) -> None:
        """Count what equals Kubernetes' defaults as dealt with: the API server fills them in, and nobody chose them."""
        self.taken |= {key for key, value in defaults.items() if self.value.get(key) == value}

    def path(self, key: str) -> str:
        """Where a key stands."""
        return f"{self.where}.{key}" if self.where else key

    def drop(self, key: str, reason: str) -> None:
        """Put the value of a key into the list, unless there is none."""
        found = self.take(key)
        if not _empty(found):
            self.draft.drop(self.path(key), found, reason)

    def rest(self, reasons: Mapping[str, str] | None = None, otherwise: str = NO_FIELD) -> None:
        """Put everything that nobody has taken into the list."""
        for key in self.value:
            if key not in self.taken:
                self.drop(key, (reasons or {}).get(key, otherwise))


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {}) or value is False
