"""Talks to the playground as a user does: with the real kubectl; objects are looked at without one.

Everything waits with a deadline and says, when it passes, what it last saw.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.api_reads import Unread, plural_of, reads

Object = dict[str, Any]
T = TypeVar("T")


class Refused(Exception):
    """kubectl ended with an error; its text is the message."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The kubectl of the playground with a kubeconfig; `namespace` is used where none is named."""

    binary: Path
    kubeconfig: Path
    namespace: str = "default"

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl; its output. Raises Refused."""
        command = [str(self.binary), "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise Refused((done.stderr or done.stdout).strip())
        return done.stdout

    def within(self, namespace: str) -> Kubectl:
        """The same in another namespace."""
        return Kubectl(self.binary, self.kubeconfig, namespace)

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply manifests server-side."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self("apply", "--server-side", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str) -> Object | None:
        """One object, or None. Raises Refused."""
        if plural := plural_of(kind):
            try:
                return reads(self.kubeconfig).get(plural, name, self.namespace)
            except Unread as unread:
                raise Refused(str(unread)) from unread
        text = self("get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def find(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind in the namespace. Raises Refused."""
        if plural := plural_of(kind):
            try:
                return reads(self.kubeconfig).find(plural, selector, self.namespace)
            except Unread as unread:
                raise Refused(str(unread)) from unread
        arguments = ("-l", selector) if selector else ()
        return list(json.loads(self("get", kind, *arguments, "-o", "json"))["items"])

    def tier(self, name: str) -> Object:
        """The ModelTier, which must exist."""
        tier = self.get("modeltier", name)
        assert tier is not None, f"ModelTier {name} does not exist"
        return tier

    def pods(self, tier: str) -> list[Object]:
        """The tier's pods, terminating ones included."""
        return self.find("pods", f"tierwise.io/tier={tier}")


def conditions(tier: Object) -> dict[str, Object]:
    """The conditions of an object by type."""
    return {condition["type"]: condition for condition in tier.get("status", {}).get("conditions") or []}


def has(tier: Object, type_: str, status: str, reason: str = "") -> bool:
    """Whether the object has this condition, said about its present spec."""
    condition = conditions(tier).get(type_)
    if condition is None or condition.get("observedGeneration", 0) < tier["metadata"]["generation"]:
        return False
    return bool(condition["status"] == status and reason in ("", condition["reason"]))


def ready(kubectl: Kubectl, name: str, replicas: int, seconds: float = 180) -> Object:
    """The tier once it is Ready with so many replicas. Fails after `seconds`."""
    return eventually(
        lambda: kubectl.tier(name),
        lambda tier: has(tier, "Ready", "True") and tier["status"].get("readyReplicas", 0) == replicas,
        seconds,
        f"{name} has {replicas} ready replicas",
    )


def eventually(look: Callable[[], T], done: Callable[[T], bool], seconds: float, what: str) -> T:
    """Look until it is done; the last look. Fails after `seconds` with `what` and the last look."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if done(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen:\n{_short(seen)}")
        time.sleep(0.5)


def _short(seen: object) -> str:
    if isinstance(seen, Mapping) and "status" in seen:
        seen = seen["status"]
    if isinstance(seen, Mapping | Sequence) and not isinstance(seen, str):
        return json.dumps(seen, indent=1, default=str)[:6000]
    return str(seen)[:6000]


def columns(head: str, row: str) -> dict[str, str]:
    """A row of a table by the names of its columns; an empty cell is empty, not the next one's value."""
    starts = [each.start() for each in re.finditer(r"\S+(?: \S+)*", head)]
    ends = [*starts[1:], max(len(head), len(row))]
    return {head[start:end].strip(): row[start:end].strip() for start, end in zip(starts, ends, strict=True)}
