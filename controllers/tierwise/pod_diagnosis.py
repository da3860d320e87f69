"""Finds what is wrong with a tier's pods, as a reason and a sentence.

The cluster reports it in five places (a waiting reason, a scheduler's message, an exit code, the engine's last lines,
an age); a person wants one sentence. Only pods that do not answer are examined, the most serious finding is reported,
and pods with the same problem are counted, not listed.

Two rooms need it: one reports it, the other decides whether a spec cannot start at all. So the rules are here, once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.pod_template_hash import CONTAINER
from tierwise.text_sanitize import last_words, pull_failure, sanitize
from tierwise.types import PodFacts, Workload

FINISHED = frozenset({"Succeeded", "Failed"})  # phases of a pod that was evicted, say: it stays in the API, and is past
IMAGE_WAITS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
    | {"RegistryUnavailable", "SignatureValidationFailed"}
)
_STORAGE = "storage-initializer"  # KServe's init container that brings the weights
_ADAPTER = "adapter-"  # our init containers that fetch adapters, by the adapter's place in model.adapters
_CONFIG = "CreateContainerConfigError"
_CREATE = frozenset({"CreateContainerError", "RunContainerError", "PostStartHookError", "PreCreateHookError"})
_KILLED = frozenset({137, 143})  # SIGKILL and SIGTERM: how the kubelet ends a container whose start-up probe fails
_MEMORY = (
    "out of memory",
    "OutOfMemoryError",
    "No available memory for the cache blocks",
    "Free memory on device",
    "is larger than the maximum number of tokens that can be stored in KV cache",
    "larger than the available KV cache memory",
)
# What may still pass by itself is waited for, since a change that is undone stays undone until somebody edits the tier:
# a registry, hub or store that is away for a minute must not do that. The kubelet tries to pull an image at 0, 10, 30
# and 70 s, and starts an engine that ends at once after 0, 10, 20 and 40 s. Neither is enough alone: a back-off may be
# set to 1 s, and an engine that loads for minutes has had one try in this time. Two restarts, and down: three ends.
PATIENCE_SECONDS = 90.0
RESTARTS = 2
_TAINT = re.compile(r"untolerated taint \{([^:}]+)")
_UNNAMED = "untolerated taint(s)"
_NOT_OURS = ("node.kubernetes.io/", "node-role.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
# Of a scheduler that finds the pod's volumes elsewhere than on the nodes that it might run on.
_VOLUMES = ("volume node affinity", "persistentvolume's node affinity", "persistent volumes to bind")
# A volume of a cloud that is detached from one node and attached to another takes a minute or two.
MOUNT_SECONDS = 180.0
# A ConfigMap and a folder of the node are there at once, or they are missing.
FILES_SECONDS = 60.0
HELD = "the replica before the change may hold it: with rollout: Replace that one ends first"
# A node with GPUs: 3 to 8 minutes until it is there and its driver is.
NODE_SECONDS = 600.0
# The gravest first. What a person must change stands before what may pass by itself.
_ORDER = (
    reasons.IMAGE_PULL,
    reasons.SECRET_MISSING,
    reasons.ENGINE_OUT_OF_MEMORY,
    reasons.ENGINE_CRASHED,
    reasons.START_TIMEOUT,
    reasons.STORAGE_OUT_OF_MEMORY,
    reasons.STORAGE_PROBLEM,
    reasons.CONTAINER_FAILED,
    reasons.CLAIM_PROBLEM,
    reasons.NODE_LOST,
    reasons.INSUFFICIENT_GPU,
    reasons.UNTOLERATED_TAINT,
    reasons.UNSCHEDULABLE,
    reasons.SURGE_NEEDS_GPU,
)


@dataclass(frozen=True, slots=True)
class PodIssue:
    """What keeps a pod from answering: a reason of tierwise.reasons and what happened."""

    reason: str
    detail: str


def diagnose(workload: Workload, spec: ModelTierSpec, at: float) -> PodIssue | None:
    """The gravest finding over all pods that do not answer; None when there is none. `at`: seconds since the epoch.

    Pods of the present template come first: what is wrong with one of a former template may be corrected already. Of
    those, only the ones that have answered before are judged at all: the others are about to end (`left_over`)."""
    present = workload.present_set
    if not present:
        return _gravest(workload, workload.pods, spec, at) or _evicted(workload.pods, spec, at)
    of_present = [pod for pod in workload.pods if pod.replica_set == present]
    others = [pod for pod in workload.pods if pod.replica_set != present and pod.was_ready]
    found = _gravest(workload, of_present, spec, at) or _gravest(workload, others, spec, at)
    return found or _evicted(of_present, spec, at)


def _evicted(pods: Collection[PodFacts], spec: ModelTierSpec, at: float) -> PodIssue | None:
    """That a kubelet has just ended a start: another pod takes its place at once, and comes to the same end.

    Once one answers, the others are past; so are those that a start since would have outlived."""
    if any(pod.ready for pod in pods):
        return None
    ended = [pod for pod in pods if pod.evicted and not pod.was_ready]
    ended = [pod for pod in ended if at - pod.created_at <= spec.startup_timeout_seconds]
    last = max(ended, key=lambda pod: (pod.created_at, pod.name), default=None)
    return None if last is None else PodIssue(reasons.EVICTED, f"pod {last.name}: {last.evicted}")


def waits_for_nodes(workload: Workload, at: float) -> bool:
    """Whether pods wait for a node and for no longer than one takes to be started: an autoscaler of nodes may be at it.
    `at`: seconds since the epoch."""
    silent = [pod for pod in workload.pods if not (pod.ready or pod.terminating or pod.phase in FINISHED)]
    waiting = [pod for pod in silent if not pod.scheduled]
    return bool(waiting) and waiting == silent and all(at - pod.created_at < NODE_SECONDS for pod in waiting)


def left_over(workload: Workload, spec: ModelTierSpec, at: float) -> Mapping[str, tuple[PodFacts, ...]]:
    """Pods that serve nobody, by the ReplicaSet of a former template that made them: none of them has ever answered.

    One that has begun well is among them only while the present template waits for room: it serves nobody either, but
    to end it sooner would lose what it has loaded. `at`: seconds since the epoch."""
    present, found = workload.present_set, dict[str, list[PodFacts]]()
    if not present:
        return {}
    waits = _waits_for_room(workload, present)
    for pod in workload.pods:
        former = pod.replica_set not in ("", present) and not pod.terminating and pod.phase not in FINISHED
        silent = not pod.was_ready and pod.name not in workload.ready_endpoints
        if former and silent and (waits or _examine(pod, workload, spec, at) is not None):
            found.setdefault(pod.replica_set, []).append(pod)
    return {name: tuple(found[name]) for name in sorted(found)}


def _waits_for_room(workload: Workload, present: str) -> bool:
    """Whether a replica of the present template finds no node, or is refused, by a quota say."""
    deployment = workload.deployment
    if deployment is not None and deployment.failed_create:
        return True
    return any(pod.unschedulable_message for pod in workload.pods if pod.replica_set == present)


def _gravest(workload: Workload, pods: Iterable[PodFacts], spec: ModelTierSpec, at: float) -> PodIssue | None:
    found: dict[str, list[tuple[str, str]]] = {}
    for pod in sorted(pods, key=lambda pod: pod.name):
        if pod.ready or pod.terminating or pod.phase in FINISHED:
            continue
        finding = _examine(pod, workload, spec, at)
        if finding is not None:
            found.setdefault(finding.reason, []).append((pod.name, finding.detail))
    for reason in (*_ORDER, *sorted(found.keys() - set(_ORDER))):
        if reason in found:
            (name, detail), *others = found[reason]
            more = f" ({len(others)} more in the same state)" if others else ""
            return PodIssue(reason, f"pod {name}{more}: {detail}")
    return None


def cannot_start(workload: Workload, spec: ModelTierSpec, at: float) -> PodIssue | None:
    """Why none of these pods will ever answer: the gravest finding that has lasted; None while one of them may.

    The pods of `workload` are those made from `spec`. One that answers, or starts without trouble so far, shows that
    the node of another may be broken. One whose node is gone, or that has none, shows nothing. `at`: seconds since the
    epoch."""
    living = [pod for pod in workload.pods if not pod.terminating and pod.phase not in FINISHED]
    if any(pod.ready for pod in workload.pods):
        return None
    if any(pod.scheduled and _examine(pod, workload, spec, at) is None for pod in living):
        return None
    lasting = tuple(pod for pod in living if _lasts(pod, workload, spec, at))
    return diagnose(replace(workload, pods=lasting), spec, at)


def _lasts(pod: PodFacts, workload: Workload, spec: ModelTierSpec, at: float) -> bool:
    finding = _examine(pod, workload, spec, at)
    if finding is None or finding.reason == reasons.NODE_LOST:
        return False
    if finding.reason == reasons.START_TIMEOUT:
        return True
    if not pod.scheduled:
        return at - pod.created_at > spec.startup_timeout_seconds
    # The engine's image is pulled, and the engine started, once its init containers have ended.
    if at - max(_scheduled_at(pod), pod.prepared_at or 0.0) <= PATIENCE_SECONDS:
        return False
    if pod.last_exit_code is None:
        return True
    return pod.restarts >= RESTARTS and (not pod.running_again or _late(pod, spec, at))


def _scheduled_at(pod: PodFacts) -> float:
    return pod.created_at if pod.scheduled_at is None else pod.scheduled_at


def _late(pod: PodFacts, spec: ModelTierSpec, at: float) -> bool:
    return at - _scheduled_at(pod) > spec.startup_timeout_seconds


def _examine(pod: PodFacts, workload: Workload, spec: ModelTierSpec, at: float) -> PodIssue | None:
    if not pod.scheduled:
        return _unscheduled(pod, workload, spec) if pod.unschedulable_message else None
    if pod.node_lost:
        return PodIssue(reasons.NODE_LOST, f"its node {pod.node} does not answer")
    if pod.waiting_reason in IMAGE_WAITS:
        return PodIssue(reasons.IMAGE_PULL, pull_failure(pod.waiting_message) or "the image cannot be pulled")
    if pod.waiting_reason == _CONFIG:
        return PodIssue(reasons.SECRET_MISSING, pod.waiting_message or "a Secret or ConfigMap is missing")
    if pod.waiting_reason in _CREATE:
        return PodIssue(reasons.ENGINE_CRASHED, f"the engine cannot be started: {sanitize(pod.waiting_message)}")
    if pod.mounting and (unmounted := _unmounted(spec, at - _scheduled_at(pod))) is not None:
        return unmounted
    late = _late(pod, spec, at)
    killed = pod.last_exit_code in _KILLED and pod.last_exit_reason != "OOMKilled"
    if pod.last_exit_code is not None and not (killed and late):
        return _ended(pod)
    if late:
        return PodIssue(reasons.START_TIMEOUT, f"not ready {spec.startup_timeout_seconds} s after it was scheduled")
    return None


def _unmounted(spec: ModelTierSpec, waited: float) -> PodIssue | None:
    """Which volume a pod may wait for. Only its kubelet knows, in an Event, and the operator reads none."""
    claims, files = _claims(spec), " and ".join(_files(spec))
    if claims and waited > MOUNT_SECONDS:
        said = f"the claim {' or '.join(claims)} may be mounted on another node"
        said += f", or not all of this exists: {files}" if files else ""
        return PodIssue(reasons.CLAIM_PROBLEM, f"it has had no volumes for {MOUNT_SECONDS:.0f} s; {said}")
    if files and not claims and waited > FILES_SECONDS:
        return PodIssue(reasons.SECRET_MISSING, f"it gets no volumes. Not all of this exists: {files}")
    return None


def _files(spec: ModelTierSpec) -> list[str]:
    """What a pod of this spec mounts besides claims, as a person would look for it."""
    template = None if spec.model is None else spec.model.chat_template
    maps = [each for each in (spec.certificates, template) if each is not None]
    found = [f"ConfigMap {each.config_map_name} (key {each.key})" for each in maps]
    folder = None if spec.model_cache is None else spec.model_cache.host_path
    return found if folder is None else [*found, f"the folder {folder} on the node"]


def _claims(spec: ModelTierSpec) -> tuple[str, ...]:
    """The claims that a pod of this spec mounts."""
    model = spec.model
    if model is None:
        return ()
    addresses = [model.uri, *(each.uri for each in model.adapters)]
    weights = [uri.removeprefix("pvc://").split("/")[0] for uri in addresses if uri.startswith("pvc://")]
    cache = spec.model_cache
    own = None if cache is None or cache.ephemeral is None else "of modelCache.ephemeral"
    caches = [model.cache_pvc, None if cache is None else cache.pvc, own]
    return tuple(dict.fromkeys([*weights, *(name for name in caches if name is not None)]))


def _unscheduled(pod: PodFacts, workload: Workload, spec: ModelTierSpec) -> PodIssue:
    message = pod.unschedulable_message
    if "persistentvolumeclaim" in message.lower():
        return PodIssue(reasons.CLAIM_PROBLEM, message)
    tainted = _tainted(message)
    lacks_gpu = f"Insufficient {spec.resources.resource_name}" in message
    surges = spec.rollout == "Surge" and _rolling(workload)
    if "Insufficient" not in message and any(words in message.lower() for words in _VOLUMES):
        return PodIssue(reasons.CLAIM_PROBLEM, message)
    wrong_node = "node affinity/selector" in message and "Insufficient" not in message
    if tainted and (tainted != _UNNAMED or not lacks_gpu):
        return PodIssue(reasons.UNTOLERATED_TAINT, message)
    if spec.resources.gpus == 0 or not (lacks_gpu or wrong_node):
        held = surges and "Insufficient" in message
        return PodIssue(reasons.UNSCHEDULABLE, f"{message.rstrip('. ')}; {HELD}" if held else message)
    if lacks_gpu and surges:
        return PodIssue(reasons.SURGE_NEEDS_GPU, message)
    return PodIssue(reasons.INSUFFICIENT_GPU, message)


def _tainted(message: str) -> str:
    """The first taint in a scheduler's message that a tier could tolerate; `_UNNAMED` where taints are only counted.

    That a node is not ready, or belongs to the control plane, is nothing to tolerate."""
    named = [taint for taint in _TAINT.findall(message) if not taint.startswith(_NOT_OURS)]
    return named[0] if named else _UNNAMED if _UNNAMED in message else ""


def _rolling(workload: Workload) -> bool:
    """Whether pods of a former template stand beside those of the present one, or end just now."""
    deployment, present = workload.deployment, workload.present_set
    if present and any(pod.replica_set not in ("", present) and pod.phase not in FINISHED for pod in workload.pods):
        return True
    return deployment is not None and 0 < deployment.updated_replicas < deployment.replicas


def _ended(pod: PodFacts) -> PodIssue:
    words = last_words(pod.last_exit_message)
    killed = pod.last_exit_reason == "OOMKilled"
    if pod.last_exit_container == _STORAGE and killed:
        return PodIssue(reasons.STORAGE_OUT_OF_MEMORY, "the storage initializer used more memory than its limit")
    if pod.last_exit_container == _STORAGE:
        return PodIssue(reasons.STORAGE_PROBLEM, f"the storage initializer failed: {words or 'it left no message'}")
    if pod.last_exit_container.startswith(_ADAPTER):
        place = f"model.adapters[{pod.last_exit_container.removeprefix(_ADAPTER)}]"
        why = "its container was killed for its memory; from a claim (pvc://) nothing is fetched" if killed else words
        return PodIssue(reasons.STORAGE_PROBLEM, f"{place} could not be fetched: {why or 'it left no message'}")
    if pod.last_exit_container not in ("", CONTAINER):
        how = "was killed for its memory" if killed else f"ended with exit code {pod.last_exit_code}"
        said = f"the container {pod.last_exit_container} {how}: {words or 'it left no message'}"
        return PodIssue(reasons.CONTAINER_FAILED, said)
    memory = next((sign for sign in _MEMORY if sign.lower() in pod.last_exit_message.lower()), "")
    if pod.last_exit_reason == "OOMKilled":
        said = f"; its last line: {words}" if words else ""
        return PodIssue(reasons.ENGINE_OUT_OF_MEMORY, f"killed because it used more than resources.memory{said}")
    how = f"ended with exit code {pod.last_exit_code}"
    detail = f"{how}: {words}" if words else f"{how} and left no message"
    return PodIssue(reasons.ENGINE_OUT_OF_MEMORY if memory else reasons.ENGINE_CRASHED, detail)
