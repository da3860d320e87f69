"""Names the kinds that people ask for, with all the words for each.

The table of `tierwise.api.kinds` says the same and more, and brings pydantic: half a second before the first byte.
A test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.errors import Invalid
from tierwise.kube.user_client import path_of

API_VERSION = "tierwise.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its name, its names in a URL and on the command line, whether it lies in a namespace."""

    name: str
    plural: str
    words: tuple[str, ...]
    namespaced: bool = True

    def path(self, namespace: str, name: str = "") -> str:
        """The URL path of an object, or of the collection."""
        return path_of(API_VERSION, self.plural, namespace if self.namespaced else "", name)


TIERS = Kind("ModelTier", "modeltiers", ("tier", "tiers", "modeltier", "modeltiers", "mt"))
ROUTES = Kind("ModelRoute", "modelroutes", ("route", "routes", "modelroute", "modelroutes", "mr"))
POOLS = Kind("GPUPool", "gpupools", ("pool", "pools", "gpupool", "gpupools", "gpool"), namespaced=False)
KINDS = (TIERS, ROUTES, POOLS)


def kind_of(word: str) -> Kind | None:
    """The kind that is meant by a word, e.g. "mt"."""
    return next((kind for kind in KINDS if word.lower() in kind.words), None)


def asked(words: list[str]) -> tuple[tuple[Kind, ...], tuple[tuple[Kind, str], ...]]:
    """What `[KIND] [NAME…]` or `KIND/NAME…` means: whole kinds, and single objects. Raises Invalid."""
    if not words:
        return KINDS, ()
    if any("/" in word for word in words):
        return (), tuple(_named(word, words) for word in words)
    parts = words[0].split(",")
    kinds = tuple(kind for kind in map(kind_of, parts) if kind is not None)
    if len(kinds) != len(parts):
        raise Invalid(f"{words[0]!r} is no kind; there are tiers, routes and pools (tierwise get tier NAME)")
    if len(words) == 1:
        return kinds, ()
    return (), tuple((kind, name) for kind in kinds for name in words[1:])


def _named(word: str, words: list[str]) -> tuple[Kind, str]:
    before, slash, name = word.partition("/")
    kind = kind_of(before)
    if not slash or kind is None or not name or "/" in name:
        raise Invalid(f"'{' '.join(words)}' is no list of tier/NAME, route/NAME and pool/NAME")
    return kind, name
