"""Reads what the operator asked of the API server from the audit log.

One JSON line per request, two for a watch: when it starts and when it ends. A watch is counted as it starts (it may
never end), everything else when it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """One request of the operator. `resource` includes the subresource: modeltiers/status. `at`: when it came, in
    seconds since the epoch."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    at: float
    allowed: bool  # by the authorizer; an admission plugin may still say 403, as in a namespace that goes away

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb not in READS


class AuditLog:
    """The requests of one user since this object was made, or since `restart`."""

    def __init__(self, path: Path, user: str, *, whole: bool = False) -> None:
        """`whole` starts at the beginning of the log instead of at its present end."""
        self._path = path
        self._user = user
        self._offset = 0 if whole else path.stat().st_size

    def restart(self) -> None:
        """Forget what was logged until now."""
        self._offset = self._path.stat().st_size

    def requests(self) -> list[Request]:
        """The requests, in order."""
        return list(self._read())

    def sent(self) -> list[str]:
        """The requests as they stand in the log, with the bodies where it keeps them, and without what was answered:
        an answer repeats what others wrote into the object."""
        events = (json.loads(line) for line in self._lines())
        return [
            json.dumps({name: value for name, value in event.items() if name != "responseObject"})
            for event in events
            if event["user"].get("username") == self._user
        ]

    def _lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # being written
                yield line

    def _read(self) -> Iterator[Request]:
        for line in self._lines():
            event = json.loads(line)
            stage = "ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"
            if event["stage"] != stage or event["user"].get("username") != self._user:
                continue
            object_ = event.get("objectRef")
            if object_ is None:
                continue
            parts = [object_["resource"], object_.get("subresource", "")]
            yield Request(
                verb=event["verb"],
                group=object_.get("apiGroup", ""),
                resource="/".join(part for part in parts if part),
                namespace=object_.get("namespace", ""),
                name=object_.get("name", ""),
                code=event.get("responseStatus", {}).get("code", 0),
                at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
                allowed=event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow",
            )
