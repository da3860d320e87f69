"""Reads a KServe InferenceService (v1beta1) whose predictor is vLLM or KServe's Hugging Face runtime.

A ServingRuntime in the same file is read with it: OpenShift AI keeps the engine's arguments there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tierwise_cli.convert import environment, placement, pod, volumes
from tierwise_cli.convert.draft import Draft, Reader
from tierwise_cli.convert.words import expanded, read

RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
_PREDICTOR = {
    "batcher": "the engine batches by itself: batching",
    "canaryTrafficPercent": "a rollout replaces all replicas; divide requests in a ModelRoute",
    "containerConcurrency": "use batching.maxSequences and batching.maxQueuedRequests",
    "deploymentStrategy": "use rollout: Surge or Replace",
    "logger": "the routers write the access log",
    "scaleMetric": "a tier scales by its KV cache, its queue and its batch",
    "scaleTarget": "a tier scales by its KV cache, its queue and its batch: scaling.kvCachePercent, waitingPerReplica",
    "autoScaling": "a tier scales by its KV cache, its queue and its batch",
    "timeout": "time limits are deadlines of a ModelRoute",
    "workerSpec": "a replica is one pod",
    **pod.POD,
}
_SPEC = {
    "transformer": "a tier serves the model alone",
    "explainer": "a tier serves the model alone",
}
_STORES = ("hf://", "pvc://", "s3://", "gs://", "oci://", "https://")


def convert(manifest: Mapping[str, Any], others: Iterable[Mapping[str, Any]] = ()) -> Draft:
    """The tier of an InferenceService, with its list. `others`: the objects beside it, with its runtime perhaps."""
    metadata = manifest.get("metadata") or {}
    draft = Draft(str(metadata.get("name") or "model"), str(metadata.get("namespace") or ""))
    told = Reader(metadata, "metadata", draft)
    for key, value in told.inside("annotations").value.items():
        if key not in environment.BOOKKEEPING:
            draft.drop(f"metadata.annotations.{key}", value, _annotation(str(key)))
    for key, value in told.inside("labels").value.items():
        draft.drop(f"metadata.labels.{key}", value, "write it on the ModelTier; a pod's labels are podMetadata")
    spec = Reader(manifest.get("spec") or {}, "spec", draft)
    predictor = spec.inside("predictor")
    model = predictor.inside("model")
    engine = model
    if not model.value:
        engine = next(predictor.each("containers"), model)
    runtime = _runtime(str(model.value.get("runtime") or ""), others)
    _model(model, draft)
    claims = volumes.volumes(predictor, engine, draft)
    _engine(engine, runtime, predictor, draft, claims)
    if not draft.get("model.name"):
        draft.put("model.name", draft.name, "metadata.name")
    _replicas(predictor, draft)
    placement.place(predictor, draft)
    environment.metadata({kind: predictor.take(kind) for kind in ("labels", "annotations")}, draft, "spec.predictor")
    predictor.rest(_PREDICTOR)
    spec.rest(_SPEC)
    return draft


def _annotation(key: str) -> str:
    if "deploymentMode" in key or "autoscalerClass" in key:
        return "Tierwise sets it: KServe's Standard mode, scaled by the operator"
    if key.startswith(environment.KUBECTL):
        return environment.KUBECTL_REASON
    if key.startswith("prometheus.io/"):
        return "the chart's PodMonitor scrapes every tier"
    return "write it on the ModelTier; a pod's annotations are podMetadata"


def _model(model: Reader, draft: Draft) -> None:
    uri = str(model.take("storageUri", ""))
    storage = model.inside("storage")
    if storage.value:
        uri = uri or str(storage.take("storageUri", ""))
        storage.rest(otherwise="name the weights in model.uri, and whose credentials open them in serviceAccountName")
    if uri.startswith(_STORES):
        uri, revision = _revision(uri)
        draft.put("model.uri", uri.rstrip("/"), model.path("storageUri"))
        if revision:
            draft.put("model.revision", revision, model.path("storageUri"))
    elif uri:
        draft.drop(model.path("storageUri"), uri, f"a tier's weights are one of {', '.join(_STORES)}: copy them there")
    form = model.inside("modelFormat")
    form.take("name")
    form.rest(otherwise="a tier is served by vLLM")
    for key in ("protocolVersion", "runtime", "name"):
        model.take(key)
    version = model.take("runtimeVersion")
    if version:
        pod.image(f"{pod.OWN_REPOSITORY}:v{str(version).lstrip('v')}", draft, model.path("runtimeVersion"))


def _revision(uri: str) -> tuple[str, str]:
    found = re.fullmatch(r"(hf://[^/:@]+/[^/:@]+)[:@](.+)", uri)
    return (found.group(1), found.group(2)) if found else (uri, "")


def _runtime(name: str, others: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    for other in others:
        if other.get("kind") in RUNTIMES and (other.get("metadata") or {}).get("name") == name:
            found: Mapping[str, Any] = other
            return found
    return {}


def _engine(
    engine: Reader, runtime: Mapping[str, Any], predictor: Reader, draft: Draft, claims: volumes.Claims
) -> None:
    """The predictor's container over that of its runtime, as KServe merges them."""
    engine.take("name")
    below = Reader(runtime.get("spec") or {}, "runtime", draft)
    (base,) = list(below.each("containers"))[:1] or [Reader({}, "runtime", draft)]
    base.take("name")
    image = engine.take("image", base.take("image"))
    pod.filled_in(engine, str(image or ""))
    if image:
        pod.image(str(image), draft, "image")
    words = [*base.words("command"), *base.words("args"), *engine.words("command"), *engine.words("args")]
    given = {str(each.value.get("name")): each for each in (*base.each("env"), *engine.each("env"))}
    words, used = expanded(words, environment.literals(given.values()))
    environment.environment(given.values(), draft, used)
    # KServe fills in its own names: {{.Name}} is the InferenceService's.
    pod.command(read([word.replace("{{.Name}}", draft.name) for word in words]), draft, claims)
    volumes.unused_claims(claims, draft)
    size = engine if engine.value.get("resources") else base
    pod.resources(size.inside("resources"), draft)
    pod.startup((engine if engine.value.get("startupProbe") else base).inside("startupProbe"), draft)
    volumes.unused_claims(volumes.volumes(below, base, draft), draft)
    for key in ("supportedModelFormats", "multiModel", "protocolVersions"):
        below.take(key)
    environment.metadata({kind: below.take(kind) for kind in ("labels", "annotations")}, draft, "runtime")
    engine.rest(pod.CONTAINER)
    base.rest(pod.CONTAINER)
    below.rest(pod.POD)


def _replicas(predictor: Reader, draft: Draft) -> None:
    least, most = predictor.number("minReplicas", None), predictor.number("maxReplicas", None)
    if least is not None:
        draft.put("scaling.minReplicas", least, predictor.path("minReplicas"))
        if not least:
            reason = "carried over; at zero a tier waits for a request in a ModelRoute that names it: make one"
            draft.drop(predictor.path("minReplicas"), 0, reason)
    if most:
        draft.put("scaling.maxReplicas", most, predictor.path("maxReplicas"))
    elif least and least > 1:
        draft.put("scaling.maxReplicas", least, predictor.path("minReplicas"))
