"""Tiers that cannot be provisioned, each in its own way: what is seen of them, the reason, words of the message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.builders.workloads import outcome_of
from tests.unit.report.cases import (
    KEY,
    NOW,
    case,
    deployment,
    pod,
    service,
    spec,
    waiting,
    workload,
)
from tierwise import reasons
from tierwise.api.modeltier_status import FailedSpec, LastGood
from tierwise.report.report_context import ReportContext
from tierwise.types import ActionError, PodFacts, Rollout, TierOutcome, Workload

NO_GPU = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available."
NO_NODE = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
VIOLATION = (
    'pods "chat-predictor-1" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
    '(container "{0}" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container '
    '"{0}" must set securityContext.capabilities.drop=["ALL"])'
)
DIED = """INFO loading
ValueError: The model's architectures ['Nope'] are not supported
RuntimeError: Engine core initialization failed. See root cause above."""


def failed(reason: str, message: str = "said by the API server", *, transient: bool = False) -> TierOutcome:
    return outcome_of(KEY, error=ActionError(reason, message, transient))


def pending(message: str) -> PodFacts:
    return waiting(scheduled=False, node="", scheduled_at=None, unschedulable_message=message)


def rolling(message: str) -> Workload:
    return workload([pod(), pending(message)], deployment=deployment(2, updated_replicas=1))


def rolled_back(pods: Sequence[PodFacts] = (pod(),)) -> ReportContext:
    plain = case(spec(contextLength=4096), pods=pods)
    good = LastGood(generation=3, hash="a", replica_set="chat-predictor-1", spec="{}")
    given_up = FailedSpec(generation=4, hash="b", reason="EngineCrashed", message="pod x: exit code 2")
    return replace(plain, plan=replace(plain.plan, rollout=Rollout(spec(), "a", back=True, good=good, failed=given_up)))


KILLED: dict[str, Any] = {"last_exit_code": 137, "last_exit_reason": "OOMKilled"}
TEMPLATE = {"configMapName": "templates", "key": "llama.jinja"}
ON_NODE = spec(modelCache={"hostPath": "/mnt/nvme"}, certificates={"configMapName": "company-ca"})
TEMPLATED = spec(model={"name": "chat", "uri": "hf://Qwen/Qwen3-8B", "chatTemplate": TEMPLATE})
BOTH = spec(modelCache={"pvc": "shared"}, certificates={"configMapName": "company-ca"})
OF_ITS_OWN = spec(modelCache={"ephemeral": {"size": "200Gi", "storageClassName": "nobody"}})
QUOTA = 'pods "chat-x" is forbidden: exceeded quota: gpus'
FILLED = "Pod ephemeral local storage usage exceeds the total limit of containers 50Gi."
CACHED = spec(model={"name": "chat", "uri": "hf://Qwen/Qwen3-8B", "cachePVC": "hub"})
ON_CLAIM = spec(modelCache={"pvc": "shared"})
WEIGHTS = spec(model={"name": "chat", "uri": "pvc://weights/qwen3"})
# the case, the reason, and what the message must hold
ILL: dict[str, tuple[ReportContext, str, str]] = {
    "the tier is being deleted": (case(deleting=True), reasons.DELETING, "being deleted"),
    "KServe is not installed": (case(kserve_present=False), reasons.KSERVE_MISSING, "no InferenceService kind"),
    "KServe's webhook is silent": (
        case(outcome=failed(reasons.KSERVE_NOT_ANSWERING, "failed calling webhook: connection refused")),
        reasons.KSERVE_NOT_ANSWERING,
        "connection refused",
    ),
    "the API server refuses the child": (
        case(outcome=failed(reasons.APPLY_REFUSED, "spec.predictor: invalid")),
        reasons.APPLY_REFUSED,
        "spec.predictor: invalid",
    ),
    "too many pools were left": (
        case(outcome=failed(reasons.TOO_MANY_SERVICES, "20 InferenceServices of pools have not ended")),
        reasons.TOO_MANY_SERVICES,
        "20 InferenceServices of pools have not ended",
    ),
    "a verb is missing": (
        case(outcome=failed(reasons.FORBIDDEN, "cannot patch inferenceservices")),
        reasons.FORBIDDEN,
        "cannot patch",
    ),
    "a stranger's child": (
        case(work=workload(inference_service=service(owned=False))),
        reasons.NOT_OURS,
        "InferenceService chat belongs to somebody else",
    ),
    "no child yet": (case(work=Workload("chat")), reasons.CREATING, "being created"),
    "the child is going away": (
        case(work=workload(inference_service=service(deleting=True))),
        reasons.CREATING,
        "will be made again",
    ),
    "no Deployment yet": (case(work=workload([], deployment=None)), reasons.CREATING, "look at its controller"),
    "KServe cannot use the URI": (
        case(work=workload(inference_service=service(problem="StorageURI not supported: x://"))),
        reasons.STORAGE_PROBLEM,
        "x://",
    ),
    "KServe cannot use something else": (
        case(work=workload(inference_service=service(problem="name too long for a DNS label"))),
        reasons.KSERVE_REFUSED,
        "name too long",
    ),
    "a quota": (
        case(work=workload([], deployment=deployment(failed_create='pods "chat-x" is forbidden: exceeded quota'))),
        reasons.POD_REFUSED,
        "pods is forbidden: exceeded quota",
    ),
    "KServe's storage initializer in a restricted namespace": (
        case(work=workload([], deployment=deployment(failed_create=VIOLATION.format("storage-initializer")))),
        reasons.POD_REFUSED,
        "KServe's storage initializer does not meet it. Use hf:// or pvc://, or give KServe's ClusterStorageContainer",
    ),
    "KServe's model car in a restricted namespace": (
        case(work=workload([], deployment=deployment(failed_create=VIOLATION.format("modelcar-init")))),
        reasons.POD_REFUSED,
        "KServe's model car (oci://) does not meet it. Use hf:// or pvc://.",
    ),
    "a sidecar that somebody injects into a restricted namespace": (
        case(work=workload([], deployment=deployment(failed_create=VIOLATION.format("istio-proxy")))),
        reasons.POD_REFUSED,
        'unrestricted capabilities (container "istio-proxy" must set securityContext.capabilities.drop=["ALL"]). Read',
    ),
    "KServe's pod webhook is silent": (
        case(
            work=workload(
                [], deployment=deployment(failed_create='failed calling webhook "x.kserve-webhook-server.pod-mutator"')
            )
        ),
        reasons.KSERVE_NOT_ANSWERING,
        "pod-mutator",
    ),
    "the last good spec is served": (
        rolled_back(),
        reasons.ROLLED_BACK,
        "Generation 4 cannot start (EngineCrashed: pod x: exit code 2); served again is generation 3.",
    ),
    "the last good spec is served and does not start either": (
        rolled_back([pending(NO_GPU)]),
        reasons.ROLLED_BACK,
        "generation 3, which does not start either (InsufficientGPU: pod ",
    ),
    "the node is gone": (
        case(pods=[pod(), pod("chat-1", ready=False, node="gpu-7", node_lost=True)]),
        reasons.NODE_LOST,
        "pod chat-1: its node gpu-7 does not answer",
    ),
    "no such GPU": (case(pods=[pending(NO_GPU)]), reasons.INSUFFICIENT_GPU, "Insufficient nvidia.com/gpu"),
    "no node with such a label": (case(pods=[pending(NO_NODE)]), reasons.INSUFFICIENT_GPU, "node affinity/selector"),
    "no such GPU during a first roll-out": (
        case(work=workload([pending(NO_GPU)], deployment=deployment(1, updated_replicas=1))),
        reasons.INSUFFICIENT_GPU,
        "Insufficient",
    ),
    "a change needs a spare GPU": (case(work=rolling(NO_GPU)), reasons.SURGE_NEEDS_GPU, "rollout: Replace"),
    "replacing needs no spare GPU": (
        case(spec(rollout="Replace"), work=rolling(NO_GPU)),
        reasons.INSUFFICIENT_GPU,
        "Insufficient",
    ),
    "not enough memory on any node": (
        case(pods=[pending("0/2 nodes are available: 2 Insufficient memory.")]),
        reasons.UNSCHEDULABLE,
        "Insufficient memory",
    ),
    "a taint": (
        case(pods=[pending("0/2 nodes are available: 2 node(s) had untolerated taint(s).")]),
        reasons.UNTOLERATED_TAINT,
        "untolerated taint(s). Tolerate the taint in placement.tolerations",
    ),
    "a taint of the nodes that have GPUs": (
        case(
            pods=[
                pending(
                    "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint "
                    "{node-role.kubernetes.io/control-plane: }, 1 node(s) had untolerated taint "
                    "{nvidia.com/gpu: present}."
                )
            ]
        ),
        reasons.UNTOLERATED_TAINT,
        "{nvidia.com/gpu: present}",
    ),
    "no GPU beside the control plane": (
        case(
            pods=[
                pending(
                    "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint "
                    "{node-role.kubernetes.io/control-plane: }."
                )
            ]
        ),
        reasons.INSUFFICIENT_GPU,
        "placement.tolerations",
    ),
    "no GPU, and taints that are not named": (
        case(
            pods=[
                pending("0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint(s).")
            ]
        ),
        reasons.INSUFFICIENT_GPU,
        "tolerate their taints",
    ),
    "no node for a tier without GPUs": (
        case(spec(resources={"gpus": 0}), pods=[pending(NO_NODE)]),
        reasons.UNSCHEDULABLE,
        "node affinity",
    ),
    "no such claim": (
        case(pods=[pending('0/2 nodes are available: persistentvolumeclaim "hub" not found.')]),
        reasons.CLAIM_PROBLEM,
        '"hub" not found. Create the claim that model.cachePVC, modelCache.pvc',
    ),
    "a claim for one pod, and two replicas": (
        case(
            pods=[
                pod(),
                pending(
                    "0/2 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and "
                    "ReadWriteOncePod access mode."
                ),
            ]
        ),
        reasons.CLAIM_PROBLEM,
        "for several replicas its access mode is ReadWriteMany",
    ),
    "a claim for one node, and two replicas on two": (
        case(CACHED, pods=[pod(), waiting(reason="ContainerCreating", mounting=True, scheduled_at=NOW - 181)]),
        reasons.CLAIM_PROBLEM,
        "the claim hub may be mounted on another node",
    ),
    "a cache on a claim for one node": (
        case(ON_CLAIM, pods=[waiting(reason="PodInitializing", mounting=True, scheduled_at=NOW - 181)]),
        reasons.CLAIM_PROBLEM,
        "the claim shared may be mounted on another node",
    ),
    "weights on a claim for one node": (
        case(WEIGHTS, pods=[waiting(reason="PodInitializing", mounting=True, scheduled_at=NOW - 181)]),
        reasons.CLAIM_PROBLEM,
        "the claim weights may be mounted on another node",
    ),
    "a claim on other nodes": (
        case(CACHED, pods=[pending("0/3 nodes are available: 3 node(s) had volume node affinity conflict.")]),
        reasons.CLAIM_PROBLEM,
        "volume node affinity conflict. Create the claim",
    ),
    "a claim whose volume is not found": (
        case(
            CACHED,
            pods=[pending("0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.")],
        ),
        reasons.CLAIM_PROBLEM,
        "persistent volumes to bind",
    ),
    "a claim on other nodes, and no GPU on its own": (
        case(
            CACHED,
            pods=[
                pending(
                    "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, "
                    "2 node(s) had volume node affinity conflict."
                )
            ],
        ),
        reasons.INSUFFICIENT_GPU,
        "volume node affinity conflict",
    ),
    "a claim of its own that nobody makes": (
        case(OF_ITS_OWN, pods=[waiting(reason="PodInitializing", mounting=True, scheduled_at=NOW - 181)]),
        reasons.CLAIM_PROBLEM,
        "the claim of modelCache.ephemeral may be mounted on another node",
    ),
    "a chat template whose ConfigMap is missing": (
        case(TEMPLATED, pods=[waiting(reason="ContainerCreating", mounting=True, scheduled_at=NOW - 61)]),
        reasons.SECRET_MISSING,
        "Not all of this exists: ConfigMap templates (key llama.jinja). Create what the message names",
    ),
    "certificates and a folder of the node, of which something is missing": (
        case(ON_NODE, pods=[waiting(reason="ContainerCreating", mounting=True, scheduled_at=NOW - 61)]),
        reasons.SECRET_MISSING,
        "ConfigMap company-ca (key ca.crt) and the folder /mnt/nvme on the node",
    ),
    "certificates and a claim, of which something is missing": (
        case(BOTH, pods=[waiting(reason="ContainerCreating", mounting=True, scheduled_at=NOW - 181)]),
        reasons.CLAIM_PROBLEM,
        "the claim shared may be mounted on another node, or not all of this exists: ConfigMap company-ca (key ca.crt)",
    ),
    "a change needs the claim that the replica before it holds": (
        case(
            CACHED,
            work=rolling(
                "0/2 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and "
                "ReadWriteOncePod access mode."
            ),
        ),
        reasons.CLAIM_PROBLEM,
        "rollout: Replace ends the old replica before a change",
    ),
    "a change needs spare memory": (
        case(work=rolling("0/1 nodes are available: 1 Insufficient memory.")),
        reasons.UNSCHEDULABLE,
        "1 Insufficient memory; the replica before the change may hold it: with rollout: Replace that one ends first",
    ),
    "a change of a tier without GPUs needs a spare CPU": (
        case(spec(resources={"gpus": 0}), work=rolling("0/1 nodes are available: 1 Insufficient cpu.")),
        reasons.UNSCHEDULABLE,
        "with rollout: Replace that one ends first",
    ),
    "a change needs more than its quota": (
        case(work=workload([pod()], deployment=deployment(1, updated_replicas=0, failed_create=QUOTA))),
        reasons.POD_REFUSED,
        "exceeded quota: gpus; the replica before the change may hold it: with rollout: Replace that one ends first",
    ),
    "one that starts fills its disk": (
        case(pods=[waiting("chat-0", phase="Failed", evicted=FILLED), waiting(reason="ContainerCreating")]),
        reasons.EVICTED,
        "pod chat-0: Pod ephemeral local storage usage exceeds the total limit of containers 50Gi. Ask for the room",
    ),
    "an image that cannot be pulled": (
        case(pods=[waiting(reason="ErrImagePull", message="vllm:v9: not found")]),
        reasons.IMAGE_PULL,
        "pod chat-1: vllm:v9: not found. Correct engine.image",
    ),
    "an image that could not be pulled": (
        case(pods=[waiting(reason="ImagePullBackOff", message='Back-off pulling image "vllm:v9"')]),
        reasons.IMAGE_PULL,
        "pod chat-1: image vllm:v9 cannot be pulled",
    ),
    "an image that cannot be pulled, unnamed": (
        case(pods=[waiting(reason="InvalidImageName")]),
        reasons.IMAGE_PULL,
        "the image cannot be pulled",
    ),
    "a missing Secret": (
        case(pods=[waiting(reason="CreateContainerConfigError", message='secret "hf" not found')]),
        reasons.SECRET_MISSING,
        'secret "hf" not found. Create what the message names',
    ),
    "something missing, unnamed": (
        case(pods=[waiting(reason="CreateContainerConfigError")]),
        reasons.SECRET_MISSING,
        "a Secret or ConfigMap is missing",
    ),
    "an image without the program": (
        case(pods=[waiting(reason="RunContainerError", message='exec: "vllm":\nnot found')]),
        reasons.ENGINE_CRASHED,
        'cannot be started: exec: "vllm": not found',
    ),
    "an engine that dies at start": (
        case(pods=[waiting(reason="CrashLoopBackOff", restarts=3, last_exit_code=1, last_exit_message=DIED)]),
        reasons.ENGINE_CRASHED,
        "exit code 1: ValueError: The model's architectures ['Nope'] are not supported",
    ),
    "an engine that ends well": (
        case(pods=[waiting(phase="Running", restarts=1, last_exit_code=0)]),
        reasons.ENGINE_CRASHED,
        "ended with exit code 0 and left no message",
    ),
    "an engine killed by the kernel": (
        case(pods=[waiting(last_exit_code=137, last_exit_reason="OOMKilled", last_exit_message="loading 3/4")]),
        reasons.ENGINE_OUT_OF_MEMORY,
        "more than resources.memory; its last line: loading 3/4",
    ),
    "an engine killed by the kernel, silent and late": (
        case(
            pods=[waiting(last_exit_code=137, last_exit_reason="OOMKilled", scheduled_at=NOW - 9000)],
        ),
        reasons.ENGINE_OUT_OF_MEMORY,
        "killed because it used more than resources.memory. Lower contextLength",
    ),
    "an engine without memory for its cache": (
        case(
            pods=[waiting(last_exit_code=1, last_exit_message="ValueError: No available memory for the cache blocks")]
        ),
        reasons.ENGINE_OUT_OF_MEMORY,
        "No available memory for the cache blocks",
    ),
    "weights that cannot be brought": (
        case(
            pods=[
                waiting(
                    last_exit_container="storage-initializer", last_exit_code=1, last_exit_message="s3: NoSuchBucket"
                )
            ]
        ),
        reasons.STORAGE_PROBLEM,
        "the storage initializer failed: s3: NoSuchBucket",
    ),
    "a storage initializer that is killed for its memory": (
        case(
            pods=[waiting(last_exit_container="storage-initializer", last_exit_code=137, last_exit_reason="OOMKilled")]
        ),
        reasons.STORAGE_OUT_OF_MEMORY,
        "used more memory than its limit. Raise its memory limit: in KServe's ClusterStorageContainer",
    ),
    "an init container of somebody else": (
        case(pods=[waiting(last_exit_container="istio-init", last_exit_code=255, last_exit_message="no NET_ADMIN")]),
        reasons.CONTAINER_FAILED,
        "the container istio-init ended with exit code 255: no NET_ADMIN. Look at the log of the container",
    ),
    "a sidecar that is killed for its memory": (
        case(pods=[waiting(last_exit_container="proxy", **KILLED)]),
        reasons.CONTAINER_FAILED,
        "the container proxy was killed for its memory",
    ),
    "an adapter that cannot be fetched": (
        case(
            pods=[
                waiting(
                    last_exit_container="adapter-2",
                    last_exit_code=1,
                    last_exit_message="Error: Revision not found in 'org/lora'.\nHint: set HF_DEBUG=1 for more.",
                )
            ]
        ),
        reasons.STORAGE_PROBLEM,
        "model.adapters[2] could not be fetched: Error: Revision not found in 'org/lora'.",
    ),
    "an adapter whose fetching is killed for its memory": (
        case(pods=[waiting(last_exit_container="adapter-0", **KILLED)]),
        reasons.STORAGE_PROBLEM,
        "model.adapters[0] could not be fetched: its container was killed for its memory; from a claim (pvc://)",
    ),
    "a start that takes too long": (
        case(pods=[waiting(phase="Running", created_at=NOW - 9000, scheduled_at=NOW - 1801)]),
        reasons.START_TIMEOUT,
        "not ready 1800 s after it was scheduled. Raise startupTimeoutSeconds",
    ),
    "a start that takes too long, schedule unknown": (
        case(pods=[waiting(phase="Running", created_at=NOW - 1801, scheduled_at=None)]),
        reasons.START_TIMEOUT,
        "startupTimeoutSeconds",
    ),
    "a start that the kubelet ended": (
        case(pods=[waiting(last_exit_code=137, last_exit_reason="Error", scheduled_at=NOW - 1801)]),
        reasons.START_TIMEOUT,
        "startupTimeoutSeconds",
    ),
    "an engine killed early": (
        case(pods=[waiting(last_exit_code=137, last_exit_reason="Error")]),
        reasons.ENGINE_CRASHED,
        "exit code 137",
    ),
}
