"""Says which other installations of Tierwise there are, and who of them acts where.

Two that serve the same namespace would write over each other for ever, so one of them keeps still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Installation(NamedTuple):
    """One installation of Tierwise: the namespace and the name of its operator's Deployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Installations:
    """Other installations of Tierwise in the cluster, as far as they meet this one.

    `everywhere` serves all namespaces instead of this one, those in `instead` the namespaces of their keys. Those in
    `beside` keep still where this one acts; their key is a namespace, or empty: everywhere. `nowhere`: whether others
    serve all that this one would, so that it writes nothing, not even what belongs to no namespace."""

    everywhere: Installation | None = None
    instead: Mapping[str, Installation] = field(default_factory=dict)
    beside: Mapping[str, Installation] = field(default_factory=dict)
    nowhere: bool = False

    def acts(self, namespace: str) -> bool:
        """Whether this installation is the one that acts in a namespace."""
        return self.everywhere is None and namespace not in self.instead

    def still(self, namespace: str) -> Installation | None:
        """Who keeps still in a namespace where this one acts; None: nobody else is there."""
        return self.beside.get(namespace) or self.beside.get("")


ALONE = Installations()
