"""Reads from the API server's audit log what was written, by whom, and with which body.

Reads are left out. The bodies of a few kinds are kept by the playground's audit policy; of the others there is only who
wrote what, and when.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

# A line is a megabyte at most and there are many: reads are recognized before they are parsed.
_READS = (b'"verb":"get"', b'"verb":"list"', b'"verb":"watch"')
_POD = "authentication.kubernetes.io/pod-name"


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was answered. `at`: when it came, `done`: when it was answered (seconds since the epoch).
    `instance`: the pod that wrote, or the ServiceAccount's name where that was no pod."""

    at: float
    done: float
    user: str
    instance: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    request: Any = None
    response: Mapping[str, Any] = field(default_factory=dict)

    @property
    def landed(self) -> bool:
        """Whether it changed something (or would have, had it not been so already)."""
        return 200 <= self.code < 300

    @property
    def uid(self) -> str:
        """UID of the object that was written, where the body was kept."""
        return str((self.response.get("metadata") or {}).get("uid") or "")

    @property
    def version(self) -> int:
        """Resource version after it; 0 where the body was not kept."""
        return int((self.response.get("metadata") or {}).get("resourceVersion") or 0)

    @property
    def owner(self) -> str:
        """UID of the object's controller; empty without one."""
        owners = (self.response.get("metadata") or {}).get("ownerReferences") or ()
        return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name}"


def writes(path: Path) -> list[Write]:
    """Every write in the log, in the order in which they were answered."""
    with path.open("rb") as log:
        return parse(log)


def parse(lines: Iterable[bytes]) -> list[Write]:
    """The same of lines; one that is being written right now is left out."""
    return sorted(_parsed(lines), key=lambda write: write.done)


def _parsed(lines: Iterable[bytes]) -> Iterator[Write]:
    for line in lines:
        if not line.endswith(b"\n") or any(read in line for read in _READS):
            continue
        event = json.loads(line)
        target = event.get("objectRef")
        if event["stage"] != "ResponseComplete" or target is None:
            continue
        user = event["user"].get("username", "")
        pods = (event["user"].get("extra") or {}).get(_POD) or [user.rsplit(":", 1)[-1]]
        response = event.get("responseObject") or {}
        name = target.get("name") or (response.get("metadata") or {}).get("name") or ""
        yield Write(
            at=_seconds(event["requestReceivedTimestamp"]),
            done=_seconds(event["stageTimestamp"]),
            user=user,
            instance=pods[0],
            verb=event["verb"],
            resource="/".join(part for part in (target["resource"], target.get("subresource", "")) if part),
            namespace=target.get("namespace", ""),
            name=name,
            code=event.get("responseStatus", {}).get("code", 0),
            request=event.get("requestObject"),
            response=response if response.get("kind") != "Status" else {},
        )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
