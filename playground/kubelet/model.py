"""The values that pass between the parts of the kubelet: container states and records.

States are frozen: a container changes by getting a new one. `ContainerRecord` is the one mutable thing, owned
by the task that runs the container; everyone else only reads it to build the pod's status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running yet, or waiting for its next start."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Running since then."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended. `exit_code` is 128 + signal for a process that a signal ended."""

    exit_code: int
    reason: str
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""
    signal: int | None = None


State = Waiting | Running | Terminated

CREATING = Waiting("ContainerCreating")
INITIALIZING = Waiting("PodInitializing")


@dataclass(slots=True)
class ContainerRecord:
    """What is known of one container of one pod."""

    name: str
    image: str
    restart_policy: str
    state: State = CREATING
    last: Terminated | None = None
    restart_count: int = 0
    started: bool = False
    passing: bool = False
    container_id: str = ""
    volume_mounts: tuple[Json, ...] = field(default=())

    @property
    def ready(self) -> bool:
        """Tell whether the container counts as ready: running, started and its readiness probe passes."""
        return isinstance(self.state, Running) and self.started and self.passing


def utc_now() -> datetime:
    """Return the time, in UTC and whole seconds, as the API keeps it."""
    return datetime.now(UTC).replace(microsecond=0)


def timestamp(moment: datetime) -> str:
    """Write a time the way the API writes it (RFC 3339, seconds, Z)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 time. Raises ValueError on anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
