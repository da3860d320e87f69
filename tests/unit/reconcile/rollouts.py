"""A cluster in which a change of a tier comes to something: KServe, a Deployment's rolling update, and engines that
start or do not. The operator's own cycle runs against it, over the API server in memory."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.act.store import Store
from tests.unit.act.worlds import MODEL, NAMESPACE, deployment_ref, service_ref
from tierwise.act.inference_service import autoscaler_class
from tierwise.api.conditions import Condition
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.observe import Samples, World
from tierwise.observe.records import deployment_record, endpoint_slice_record, inference_service_record, pod_record
from tierwise.observe.tier_object import tier_object
from tierwise.ports import ObjectRef
from tierwise.reconcile import CycleResult, OperatorState, run
from tierwise.times import rfc3339

TIER = ObjectRef("tierwise.io/v1alpha1", "modeltiers", NAMESPACE, "chat")
START_SECONDS, CRASH_SECONDS = 10.0, 15.0
FLAKY_ENDS = 2
# What an image name says about the engine in it.
IMAGE = "registry.example.com/engine:{}"
STATES: dict[str, dict[str, Any]] = {
    "unpullable": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x": not found'}},
    "crashes": {"waiting": {"reason": "CrashLoopBackOff"}},
    "too-large": {"waiting": {"reason": "CrashLoopBackOff"}},
    "unstartable": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}},
}
UNREACHABLE = "OSError: We couldn't connect to 'https://huggingface.co'"
ENDS = {
    "flaky": {"exitCode": 1, "reason": "Error", "message": UNREACHABLE},
    "crashes": {"exitCode": 2, "reason": "Error", "message": "vllm: error: unrecognized arguments: --x"},
    "too-large": {"exitCode": 137, "reason": "OOMKilled"},
}


@dataclass
class Pod:
    """One pod: whose it is, what runs in it, since when."""

    name: str
    replica_set: str
    image: str
    created: float

    def ready(self, now: float) -> bool:
        if self.image == "flaky":  # it runs again at once, and the hub that it loads from is back by then
            return now >= self.created + FLAKY_ENDS * CRASH_SECONDS + START_SECONDS
        return self.image.startswith("good") and now >= self.created + START_SECONDS

    def body(self, now: float) -> dict[str, Any]:
        ready, restarts = self.ready(now), 0
        status: dict[str, Any] = {
            "name": "kserve-container",
            "ready": ready,
            "state": {"running": {"startedAt": rfc3339(now)}},
        }
        if self.image in STATES and now > self.created:
            status["state"] = STATES[self.image]
        if self.image in ENDS:
            ends = int((now - self.created) / CRASH_SECONDS)
            restarts = min(ends, FLAKY_ENDS) if self.image == "flaky" else ends
            if restarts:
                status["lastState"] = {"terminated": ENDS[self.image]}
        since = rfc3339(self.created + START_SECONDS if ready else self.created)
        truth = "True" if ready else "False"
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(self.created)},
            {"type": "Ready", "status": truth, "lastTransitionTime": since},
            {"type": "ContainersReady", "status": truth, "lastTransitionTime": since},
        ]
        return {
            "metadata": {
                "name": self.name,
                "namespace": NAMESPACE,
                "uid": f"uid-{self.name}",
                "creationTimestamp": rfc3339(self.created),
                "ownerReferences": [{"kind": "ReplicaSet", "name": self.replica_set, "controller": True}],
            },
            "spec": {"nodeName": "n"},
            "status": {
                "phase": "Running",
                "conditions": conditions,
                "containerStatuses": [{**status, "restartCount": restarts}],
            },
        }


@dataclass
class Clock:
    at: float = 1_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - 900_000.0


@dataclass
class Town:
    """One tier `chat`, and everything that follows from it. `rendered` keeps every image the InferenceService named."""

    store: Store = field(default_factory=Store)
    clock: Clock = field(default_factory=Clock)
    kept: OperatorState = field(default_factory=OperatorState)
    pods: list[Pod] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    writing_status: bool = True
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def apply(self, image: str, **spec: Any) -> None:
        """What a user writes: an engine image, and other fields of the spec."""
        before = self.store._objects.get(TIER)
        body = {**MODEL, "engine": {"image": IMAGE.format(image)}, "rollout": "Replace", **spec}
        if before is not None and before["spec"] == body:
            return
        metadata = {"generation": before["metadata"]["generation"] + 1 if before else 1}
        self.store.put(TIER, {"metadata": metadata, "spec": body, "status": before.get("status", {}) if before else {}})

    @property
    def status(self) -> ModelTierStatus:
        return ModelTierStatus.model_validate(self.store.seen(TIER).get("status") or {})

    @property
    def provisioned(self) -> Condition:
        return next(each for each in self.status.conditions if each.type == "Provisioned")

    @property
    def serving(self) -> list[str]:
        """The engines that answer."""
        return sorted(pod.image for pod in self.pods if pod.ready(self.clock.at))

    def restart(self) -> None:
        """The operator is killed and starts again."""
        self.kept = OperatorState()

    async def minutes(self, number: float) -> None:
        """Let time pass."""
        for _ in range(round(number * 6)):
            await self.cycle()

    async def cycle(self) -> CycleResult:
        """Ten seconds: the cluster works, then the operator."""
        self.clock.at += 10.0
        self._kserve()
        self._roll()
        done = await run(self._world(), Samples(), self.store, self.clock, self.kept, writing=True)
        image = self._image()
        if image and self.rendered[-1:] != [image]:
            self.rendered.append(image)
        return done

    def _image(self) -> str:
        try:
            predictor = self.store.seen(service_ref())["spec"]["predictor"]
        except KeyError:
            return ""
        return str(predictor["containers"][0]["image"]).rpartition(":")[2]

    def _kserve(self) -> None:
        if not self._image():
            return
        service = self.store.seen(service_ref())
        try:
            before = self.store.seen(deployment_ref())
        except KeyError:
            replicas = 0 if autoscaler_class(service) == "none" else 1
            before = {"metadata": {"generation": 0}, "spec": {"replicas": replicas}}
        predictor = {name: value for name, value in service["spec"]["predictor"].items() if name != "minReplicas"}
        strategy = predictor.pop("deploymentStrategy")
        spec = {"replicas": before["spec"]["replicas"], "strategy": strategy, "template": {"spec": predictor}}
        owner = {"uid": service["metadata"]["uid"], "controller": True, "kind": "InferenceService", "name": "chat"}
        annotations = service["metadata"]["annotations"]
        if (spec, annotations) != (before["spec"], before["metadata"].get("annotations")):
            generation = before["metadata"]["generation"] + 1
            metadata = {"ownerReferences": [owner], "annotations": annotations, "generation": generation}
            self.store.put(deployment_ref(), {**before, "metadata": metadata, "spec": spec})

    def _roll(self) -> None:
        """What the Deployment's controller does in ten seconds: as much as its strategy lets it."""
        try:
            deployment = self.store.seen(deployment_ref())
        except KeyError:
            return
        now, wanted = self.clock.at, deployment["spec"]["replicas"]
        template = deployment["spec"]["template"]["spec"]
        text = json.dumps(template, sort_keys=True).encode()
        newest = f"chat-predictor-{hashlib.sha256(text).hexdigest()[:8]}"
        image = str(template["containers"][0]["image"]).rpartition(":")[2]
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        least, most = wanted - rolling["maxUnavailable"], wanted + rolling["maxSurge"]
        for pod in sorted(self.pods, key=lambda each: (each.replica_set == newest, each.ready(now))):
            ready = sum(each.ready(now) for each in self.pods)
            old, surplus = pod.replica_set != newest, len(self.pods) > most
            if (old or surplus) and (not pod.ready(now) or ready > least):
                self.pods.remove(pod)
        current = sum(pod.replica_set == newest for pod in self.pods)
        for _ in range(min(wanted - current, most - len(self.pods))):
            self.pods.append(Pod(f"{newest}-{next(self._numbers):03d}", newest, image, now))
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(self.pods),
            "updatedReplicas": sum(pod.replica_set == newest for pod in self.pods),
            "readyReplicas": sum(pod.ready(now) for pod in self.pods),
        }
        self.store.put(deployment_ref(), deployment)

    def _world(self) -> World:
        found: dict[str, list[Mapping[str, Any]]] = {"modeltiers": [], "inferenceservices": [], "deployments": []}
        for ref, body in self.store._objects.items():
            if ref.plural in found:
                found[ref.plural].append({**body, "apiVersion": ref.api_version})
        names = [pod.name for pod in self.pods if pod.ready(self.clock.at)]
        service = "chat-predictor"
        endpoints = {
            "metadata": {
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": service},
                "ownerReferences": [{"kind": "Service", "name": service, "controller": True}],
            },
            "endpoints": [
                {"targetRef": {"kind": "Pod", "name": name}, "conditions": {"ready": True}} for name in names
            ],
        }
        return World(
            tiers=[tier_object(each) for each in found["modeltiers"]],
            pods=[pod_record(pod.body(self.clock.at)) for pod in self.pods],
            deployments=[deployment_record(each) for each in found["deployments"]],
            inference_services=[inference_service_record(each) for each in found["inferenceservices"]],
            endpoint_slices=[endpoint_slice_record(endpoints)],
        )
