"""Reads a Deployment, StatefulSet or Pod whose container is vLLM, as the documentation of vLLM and of clouds shows it.

The container of the engine is the one that starts it; the others of the pod, and the objects around it, are told of in
the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise_cli.convert import environment, placement, pod, volumes
from tierwise_cli.convert.draft import Draft, Reader
from tierwise_cli.convert.words import expanded, read

KINDS = ("Deployment", "StatefulSet", "Pod", "ReplicaSet")
_SPEC = {
    "selector": "replicas are found by labels of the tier",
    "strategy": "use rollout: Surge or Replace",
    "updateStrategy": "use rollout: Surge or Replace",
    "progressDeadlineSeconds": "use startupTimeoutSeconds",
    "revisionHistoryLimit": "KServe keeps the history",
    "serviceName": "the tier has a Service of its own",
    "volumeClaimTemplates": "a claim that all replicas share is model.cachePVC",
    "minReadySeconds": "a replica takes requests when it is ready",
    "podManagementPolicy": "replicas start side by side",
}

_DEFAULTS = {
    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    "podManagementPolicy": "OrderedReady",
    "progressDeadlineSeconds": 600,
    "revisionHistoryLimit": 10,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
}
_OF_SERVER = (
    "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "generateName",
    "ownerReferences", "selfLink",
)  # fmt: skip


def convert(manifest: Mapping[str, Any]) -> Draft:
    """The tier of a workload, with its list."""
    metadata = manifest.get("metadata") or {}
    draft = Draft(str(metadata.get("name") or "model"), str(metadata.get("namespace") or ""))
    spec = Reader(manifest.get("spec") or {}, "spec", draft)
    if manifest.get("kind") == "Pod":
        pod_reader, labels = spec, Reader(metadata, "metadata", draft)
        for key in _OF_SERVER:
            labels.take(key)
    else:
        spec.skip(_DEFAULTS)
        template = spec.inside("template")
        labels = template.inside("metadata")
        pod_reader = template.inside("spec")
        replicas = spec.number("replicas", 1)
        if replicas == 0:
            draft.put("replicas", 0, "spec.replicas")
        elif replicas != 1:
            draft.put("scaling.minReplicas", replicas, "spec.replicas")
            draft.put("scaling.maxReplicas", replicas, "spec.replicas")
        template.rest()
    containers = list(pod_reader.each("containers"))
    engine = next((each for each in containers if _is_engine(each.value)), containers[0] if containers else None)
    for each in containers:
        if each is not engine:
            draft.drop(each.where, each.value.get("name", each.value.get("image")), "a replica has one container")
    if engine is not None:
        container(engine, pod_reader, draft)
    placement.place(pod_reader, draft)
    environment.metadata({key: labels.take(key) for key in ("labels", "annotations")}, draft, labels.where)
    labels.take("creationTimestamp")
    labels.rest()
    pod_reader.rest(pod.POD)
    if manifest.get("kind") != "Pod":
        spec.rest(_SPEC)
    return draft


def _is_engine(container: Mapping[str, Any]) -> bool:
    said = (str(container.get(key, "")) for key in ("image", "command", "args"))
    return any("vllm" in text for text in said)


def container(engine: Reader, pod_reader: Reader, draft: Draft) -> None:
    """The engine's container."""
    engine.take("name")
    pod.filled_in(engine, str(engine.value.get("image") or ""))
    if engine.value.get("image"):
        pod.image(str(engine.take("image")), draft, engine.path("image"))
    claims = volumes.volumes(pod_reader, engine, draft)
    words = [*engine.words("command"), *engine.words("args")]
    variables = list(engine.each("env"))
    words, used = expanded(words, environment.literals(variables))
    environment.environment(variables, draft, used)
    pod.command(read(words), draft, claims)
    volumes.unused_claims(claims, draft)
    pod.resources(engine.inside("resources"), draft)
    pod.startup(engine.inside("startupProbe"), draft)
    engine.rest(pod.CONTAINER)
