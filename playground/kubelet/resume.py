"""Decides what happens to pods that an earlier process of this kubelet ran.

Their processes died with it, so it is as after a reboot of the node: containers start again with a higher
count where the restart policy says so, and end as lost where it does not. Pure: the pod's last status in,
records out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from playground.kubelet.backoff import restart_wanted
from playground.kubelet.model import (
    CREATING,
    INITIALIZING,
    ContainerRecord,
    Json,
    Terminated,
    parse_timestamp,
)

LOST = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was terminated"


def records(pod: Json, key: str, now: datetime) -> list[ContainerRecord]:
    """Return the records of `containers` or `initContainers`, with what their statuses remember."""
    spec, status = pod["spec"], pod.get("status", {})
    policy = spec.get("restartPolicy", "Always")
    initial = key == "initContainers"
    statuses = status.get("initContainerStatuses" if initial else "containerStatuses") or []
    waiting = INITIALIZING if spec.get("initContainers") and not initial else CREATING
    found = []
    for container in spec.get(key, []):
        own = container.get("restartPolicy") or ("OnFailure" if initial and policy == "Always" else policy)
        record = ContainerRecord(container["name"], container["image"], own, state=waiting)
        _remember(record, _status_of(statuses, container["name"]), now)
        found.append(record)
    return found


def finished(pod: Json, main: Iterable[ContainerRecord]) -> bool:
    """Tell whether nothing of the pod is to be started again."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return True
    return all(over(record) for record in main)


def over(record: ContainerRecord) -> bool:
    """Tell whether a container has ended for good."""
    return isinstance(record.state, Terminated) and not restart_wanted(record.restart_policy, record.state.exit_code)


def _status_of(statuses: Iterable[Json], name: str) -> Json:
    return next((status for status in statuses if status["name"] == name), {})


def _remember(record: ContainerRecord, status: Json, now: datetime) -> None:
    state = status.get("state") or {}
    record.restart_count = status.get("restartCount", 0)
    record.container_id = status.get("containerID", "")
    ended = _terminated(state.get("terminated"))
    if ended is None and "running" in state:
        started = parse_timestamp(state["running"]["startedAt"])
        ended = Terminated(137, LOST, LOST_MESSAGE, started, now, record.container_id)
    if ended is None:
        record.last = _terminated((status.get("lastState") or {}).get("terminated"))
    elif restart_wanted(record.restart_policy, ended.exit_code):
        record.last = ended
        record.restart_count += 1
    else:
        record.state = ended


def _terminated(document: Json | None) -> Terminated | None:
    if document is None:
        return None
    started, finished_at = document.get("startedAt"), document.get("finishedAt")
    return Terminated(
        exit_code=document["exitCode"],
        reason=document.get("reason", ""),
        message=document.get("message", ""),
        started_at=parse_timestamp(started) if started else None,
        finished_at=parse_timestamp(finished_at) if finished_at else None,
        container_id=document.get("containerID", ""),
        signal=document.get("signal"),
    )
