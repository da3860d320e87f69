"""Varies manifests: the same trace on the same tiers, with another value in one field.

A text names the tier, the field as it stands in the YAML, and its values: `small.scaling.maxReplicas=2,4,8`. So
whatever can be applied can be tried, and a value that the API server would refuse is refused here.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from tierwise.api.kinds import MODEL_ROUTE, MODEL_TIER
from tierwise.errors import Invalid

OPTIONS = ("autoscaler", "budget-rule", "gpus", "inter-token", "seed", "share", "startup", "ttft")
"""What else may take other values: options of the command."""
HELP = (
    "NAME.FIELD=VALUE,VALUE (a field of a tier's or the route's spec as in the YAML, e.g. small.replicas=1,2,3), or "
    f"OPTION=VALUE,VALUE (one of {', '.join(OPTIONS)})"
)
SHORT = {"minReplicas": "scaling.minReplicas", "maxReplicas": "scaling.maxReplicas"}
_MOST = 64
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one object, and the texts of the values that it takes in turn. An option has an empty path."""

    name: str
    path: tuple[str, ...]
    values: tuple[str, ...]

    def said(self, value: str) -> str:
        """How a value is asked for."""
        return f"{'.'.join((self.name, *self.path))}={value}"


@dataclass(frozen=True, slots=True)
class Variant:
    """The manifests with one choice of values, and the options that it changes. `said` is that choice, empty for what
    was given."""

    said: tuple[str, ...]
    documents: tuple[Document, ...]
    options: Mapping[str, str] = field(default_factory=dict)


def change_of(text: str) -> Change:
    """The change that a text asks for. Raises Invalid with what was expected."""
    where, equals, values = text.partition("=")
    name, dot, path = where.partition(".")
    if not (equals and name and values) or not (path if dot else name in OPTIONS):
        raise Invalid(f"--what-if {text!r} is not understood; expected {HELP}")
    words = SHORT.get(path, path.removeprefix("spec.")).split(".") if dot else ()
    return Change(name, tuple(words), tuple(values.split(",")))


def variants(documents: Sequence[Document], changes: Sequence[Change]) -> Iterator[Variant]:
    """The manifests with every choice of values, in the order in which they are said. Raises Invalid for an object that
    is not there, and for more choices than anybody waits for."""
    count = 1
    for change in changes:
        count *= len(change.values)
        if change.path and not any(_is(document, change.name) for document in documents):
            raise Invalid(f"--what-if: there is no ModelTier and no ModelRoute {change.name!r} in these files")
    if count > _MOST:
        raise Invalid(f"--what-if asks for {count} simulations; at most {_MOST} are run at once")
    for values in itertools.product(*(change.values for change in changes)):
        chosen = list(zip(changes, values, strict=True))
        yield Variant(
            said=tuple(change.said(value) for change, value in chosen),
            documents=tuple(_changed(document, chosen) for document in documents),
            options={change.name: value for change, value in chosen if not change.path},
        )


def _is(document: Document, name: str) -> bool:
    metadata = document.get("metadata")
    named = isinstance(metadata, Mapping) and metadata.get("name") == name
    return named and document.get("kind") in (MODEL_TIER.name, MODEL_ROUTE.name)


def _changed(document: Document, chosen: Sequence[tuple[Change, str]]) -> Document:
    found = copy.deepcopy(dict(document))
    for change, value in chosen:
        if not change.path or not _is(document, change.name):
            continue
        place = found.setdefault("spec", {})
        for word in change.path[:-1]:
            place = place.setdefault(word, {})
            if not isinstance(place, dict):
                raise Invalid(f"--what-if {change.said(value)}: {word} is no object")
        last = change.path[-1]
        # "1.50" is a price as it stands, and no number, where the field holds a text.
        place[last] = value if isinstance(place.get(last), str) else yaml.safe_load(value)
    return found
