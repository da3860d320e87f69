"""Builds a pod's status: phase, conditions and container statuses.

Pure: from what is known of the containers to the status object, by the rules of the kubelet
(pkg/kubelet/kubelet_pods.go getPhase, status/generate.go). Transition times are kept from the status before,
so that they change only when the condition does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from playground.kubelet.backoff import restart_wanted
from playground.kubelet.model import (
    ContainerRecord,
    Json,
    Running,
    State,
    Terminated,
    Waiting,
    timestamp,
)


@dataclass(frozen=True, slots=True)
class PodView:
    """Everything a pod's status is made of."""

    pod: Json
    init: Sequence[ContainerRecord]
    main: Sequence[ContainerRecord]
    host_ip: str
    pod_ip: str = ""
    started_at: datetime | None = None
    sandbox_ready: bool = False
    # Nothing of it runs any more and nothing will be started again.
    finished: bool = False
    reason: str = ""
    message: str = ""


def sidecar(record: ContainerRecord) -> bool:
    """Tell whether an init container is one that keeps running (restartPolicy Always of its own)."""
    return record.restart_policy == "Always"


def init_done(record: ContainerRecord, is_sidecar: bool) -> bool:
    """Tell whether the next container may start after this init container."""
    if is_sidecar:
        return record.started
    ended = record.state if isinstance(record.state, Terminated) else None
    return ended is not None and ended.exit_code == 0


def build_status(view: PodView, now: datetime, before: Json) -> Json:
    """Return the status; `before` is the last one known to the API (for transition times and foreign gates)."""
    sidecars = sidecar_names(view.pod)
    initialized = all(init_done(record, record.name in sidecars) for record in view.init)
    phase = pod_phase(view, initialized)
    status: Json = {
        "phase": phase,
        "observedGeneration": view.pod["metadata"].get("generation", 1),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "conditions": _conditions(view, phase, initialized, now, before),
        "containerStatuses": [container_status(record) for record in view.main],
        "qosClass": qos_class(view.pod["spec"]),
    }
    if view.init:
        status["initContainerStatuses"] = [container_status(record, initial=True) for record in view.init]
    if view.pod_ip:
        status |= {"podIP": view.pod_ip, "podIPs": [{"ip": view.pod_ip}]}
    if view.started_at is not None:
        status["startTime"] = timestamp(view.started_at)
    if view.reason:
        status |= {"reason": view.reason, "message": view.message}
    return status


def sidecar_names(pod: Json) -> set[str]:
    """Return the names of the init containers that keep running."""
    return {c["name"] for c in pod["spec"].get("initContainers", []) if c.get("restartPolicy") == "Always"}


def pod_phase(view: PodView, initialized: bool) -> str:
    """Return Pending, Running, Succeeded or Failed."""
    if view.reason:
        return "Failed"
    ends = [record.state for record in view.main if isinstance(record.state, Terminated)]
    if view.finished:
        failed_init = any(isinstance(r.state, Terminated) and r.state.exit_code for r in view.init)
        clean = len(ends) == len(view.main) and all(end.exit_code == 0 for end in ends)
        return "Succeeded" if clean and not failed_init else "Failed"
    never_ran = any(isinstance(r.state, Waiting) and r.last is None for r in view.main)
    if not initialized or never_ran:
        started = any(isinstance(r.state, Running) or r.last is not None for r in view.main)
        return "Running" if initialized and started and not never_ran else "Pending"
    if len(ends) < len(view.main):
        return "Running"
    return "Running" if _any_restarts(view.main, ends) else _outcome(ends)


def _any_restarts(records: Iterable[ContainerRecord], ends: Iterable[Terminated]) -> bool:
    return any(restart_wanted(r.restart_policy, e.exit_code) for r, e in zip(records, ends, strict=True))


def _outcome(ends: Iterable[Terminated]) -> str:
    return "Succeeded" if all(end.exit_code == 0 for end in ends) else "Failed"


def _conditions(view: PodView, phase: str, initialized: bool, now: datetime, before: Json) -> list[Json]:
    over = phase in ("Succeeded", "Failed")
    completed = ("PodCompleted", "") if phase == "Succeeded" else None
    waiting = [r.name for r in view.init if not init_done(r, r.name in sidecar_names(view.pod))]
    initial = _because(initialized, completed, "ContainersNotInitialized", "incomplete", waiting)
    unready = [r.name for r in view.main if not r.ready]
    containers_ready = not unready and not over
    ready_why = completed or (
        ("PodFailed", "")
        if phase == "Failed"
        else _because(containers_ready, None, "ContainersNotReady", "unready", unready)
    )
    gates = [
        gate["conditionType"]
        for gate in view.pod["spec"].get("readinessGates", [])
        if _condition(before, gate["conditionType"]).get("status") != "True"
    ]
    ready = containers_ready and not gates
    pod_why = ready_why
    if containers_ready and gates:
        pod_why = ("ReadinessGatesNotReady", f"the readiness gates {', '.join(gates)} are not True")
    found = [
        ("PodReadyToStartContainers", view.sandbox_ready, ("", "")),
        ("Initialized", initialized, initial),
        ("Ready", ready, pod_why),
        ("ContainersReady", containers_ready, ready_why),
    ]
    return [_stamp(kind, value, why, now, before) for kind, value, why in found]


def _because(
    good: bool, completed: tuple[str, str] | None, reason: str, word: str, names: list[str]
) -> tuple[str, str]:
    if completed is not None:
        return completed
    if good:
        return ("", "")
    return (reason, f"containers with {word} status: [{' '.join(names)}]")


def _stamp(kind: str, value: bool, why: tuple[str, str], now: datetime, before: Json) -> Json:
    old = _condition(before, kind)
    status = "True" if value else "False"
    since = old["lastTransitionTime"] if old.get("status") == status else timestamp(now)
    # Empty texts are written as null: a strategic patch merges a condition with the one that is there.
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since,
        "reason": why[0] or None,
        "message": why[1] or None,
    }


def _condition(status: Json, kind: str) -> Json:
    return next((c for c in status.get("conditions") or [] if c["type"] == kind), {})


def container_status(record: ContainerRecord, *, initial: bool = False) -> Json:
    """Return one entry of containerStatuses."""
    completed = initial and isinstance(record.state, Terminated) and record.state.exit_code == 0
    status: Json = {
        "name": record.name,
        "image": record.image,
        "imageID": f"playground://{record.image}" if record.container_id else "",
        "ready": record.ready or completed,
        "started": record.started and isinstance(record.state, Running),
        "restartCount": record.restart_count,
        "state": state_document(record.state),
        "lastState": state_document(record.last) if record.last is not None else {},
    }
    if record.container_id:
        status["containerID"] = record.container_id
    return status


def state_document(state: State) -> Json:
    """Return a container state as the API has it."""
    if isinstance(state, Waiting):
        return {"waiting": _without_empty({"reason": state.reason, "message": state.message})}
    if isinstance(state, Running):
        return {"running": {"startedAt": timestamp(state.started_at)}}
    times = {"startedAt": state.started_at, "finishedAt": state.finished_at}
    return {
        "terminated": {
            "exitCode": state.exit_code,
            **_without_empty(
                {
                    "reason": state.reason,
                    "message": state.message,
                    "containerID": state.container_id,
                    "signal": state.signal,
                }
            ),
            **{key: timestamp(moment) if moment is not None else None for key, moment in times.items()},
        }
    }


def _without_empty(entries: dict[str, Any]) -> Json:
    return {key: value for key, value in entries.items() if value not in ("", None)}


def qos_class(spec: Json) -> str:
    """Return Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos)."""
    resources = [c.get("resources", {}) for c in [*spec["containers"], *spec.get("initContainers", [])]]
    named = [
        {k: v for k, v in r.get(part, {}).items() if k in ("cpu", "memory")}
        for r in resources
        for part in ("requests", "limits")
    ]
    if not any(named):
        return "BestEffort"
    whole = all(
        set(r.get("limits", {})) >= {"cpu", "memory"}
        and all(r.get("requests", r["limits"]).get(k, r["limits"][k]) == r["limits"][k] for k in ("cpu", "memory"))
        for r in resources
    )
    return "Guaranteed" if whole else "Burstable"


def same_status(wanted: Json, present: Json) -> bool:
    """Tell whether the API already shows what this kubelet has to say (conditions of others aside)."""
    ours: Json = {c["type"]: c for c in wanted.get("conditions", [])}
    theirs = {c["type"]: c for c in present.get("conditions") or [] if c["type"] in ours}
    rest = {key: value for key, value in wanted.items() if key != "conditions"}
    shown = {key: present.get(key) for key in rest}
    return bool(_pruned(ours) == _pruned(theirs) and _pruned(rest) == _pruned(shown))


def _pruned(node: Any) -> Any:
    """Return a value without what the API server leaves out: nulls and empty containers."""
    if isinstance(node, dict):
        entries = {key: _pruned(value) for key, value in node.items()}
        return {key: value for key, value in entries.items() if value not in (None, "", {}, [])}
    if isinstance(node, list):
        return [_pruned(item) for item in node]
    return node
