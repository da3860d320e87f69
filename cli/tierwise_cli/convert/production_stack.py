"""Reads the values of the vLLM production-stack chart: one tier for each model of servingEngineSpec.modelSpec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise_cli.convert import environment, flags, placement, pod, volumes
from tierwise_cli.convert.draft import Draft, Reader
from tierwise_cli.convert.words import Flag, read

_FLAGS = {
    "dtype": "--dtype",
    "gpuMemoryUtilization": "--gpu-memory-utilization",
    "maxModelLen": "--max-model-len",
    "maxNumSeqs": "--max-num-seqs",
    "maxLoras": "--max-loras",
    "tensorParallelSize": "--tensor-parallel-size",
    "toolCallParser": "--tool-call-parser",
    "reasoningParser": "--reasoning-parser",
    "runner": "--runner",
    "convert": "--convert",
}
_SWITCHES = {"enablePrefixCaching": "--enable-prefix-caching", "enableChunkedPrefill": "--enable-chunked-prefill"}
_MODEL = {
    "annotations": "the Deployment is KServe's; a pod's annotations are podMetadata",
    "chatTemplate": "put the template into a ConfigMap and name it in model.chatTemplate",
    "imagePullPolicy": pod.CONTAINER["imagePullPolicy"],
    "initContainer": pod.POD["initContainers"],
    "keda": "its bounds are carried over; remove the ScaledObject: the operator leaves a tier alone that has one",
    "envFromSecret": pod.CONTAINER["envFrom"],
    "nodeName": pod.POD["nodeName"],
    "raySpec": "a replica is one pod",
    **pod.POD,
}
_STORAGE = "the chart makes a claim; make one and name it in model.cachePVC"
_ENGINE = {
    "configs": "name each variable in env",
    "containerPort": pod.CONTAINER["ports"],
    "servicePort": pod.CONTAINER["ports"],
    "extraPorts": pod.CONTAINER["ports"],
    "livenessProbe": pod.CONTAINER["livenessProbe"],
    "readinessProbe": pod.CONTAINER["readinessProbe"],
    "vllmApiKey": "no router knows the key: put a gateway in front, or name clients in the ModelRoute",
    "strategy": "use rollout: Surge or Replace",
    "imagePullPolicy": pod.CONTAINER["imagePullPolicy"],
    **pod.POD,
}
_WHOLE = {
    "routerSpec": "one endpoint over tiers is a ModelRoute (docs/modelroute.md)",
    "cacheserverSpec": "tiers share no cache",
    "loraController": "name the adapters in model.adapters",
    "loraAdapters": "name the adapters in model.adapters",
    "sharedStorage": "a claim that all replicas share is model.cachePVC",
}


def is_values(document: Mapping[str, Any]) -> bool:
    """Whether a document is such values."""
    return "kind" not in document and isinstance(document.get("servingEngineSpec"), Mapping)


def convert(document: Mapping[str, Any]) -> list[Draft]:
    """The tiers, each with its list; what stands for all of them is in the first one's."""
    given = document["servingEngineSpec"].get("modelSpec") or []
    found = list(enumerate(given if isinstance(given, list) else []))
    models = [(number, each) for number, each in found if isinstance(each, Mapping)]
    drafts = [Draft(str(each.get("name") or "model")) for _, each in models]
    for first, (draft, (number, body)) in enumerate(zip(drafts, models, strict=True)):
        whole = Reader(document, "", draft)
        engine = whole.inside("servingEngineSpec")
        engine.take("modelSpec")
        engine.take("enableEngine")
        model = Reader(body, f"modelSpec[{number}]", draft)
        if model.take("enabled", True) is False:
            draft.put("replicas", 0, model.path("enabled"))
        _model(model, engine, draft)
        pod.startup(engine.inside("startupProbe"), draft)
        _shared(engine, draft)
        engine.rest(_ENGINE)
        if not first:
            whole.rest(_WHOLE)
            for place, each in found:
                if each is not None and not isinstance(each, Mapping):
                    draft.drop(f"modelSpec[{place}]", each, "a mapping was expected here")
    return drafts


def _model(model: Reader, engine: Reader, draft: Draft) -> None:
    model.take("name")
    repository, tag = model.take("repository"), model.take("tag")
    if repository:
        pod.image(f"{repository}:{tag}" if tag else str(repository), draft, model.path("repository"))
    url = str(model.take("modelURL", ""))
    why = flags.model(url, draft, model.path("modelURL")) if url else "the model has no modelURL"
    if why:
        draft.drop(model.path("modelURL"), url or "unset", why)
    draft.put("model.name", url.strip("/") or draft.name, model.path("modelURL"))
    _config(model.inside("vllmConfig"), draft)
    if model.take("enableLoRA") and not draft.get("model.adapters"):
        draft.drop(model.path("enableLoRA"), "true", "name the adapters in model.adapters")
    _tools(model, draft)
    _resources(model, draft)
    _offload(model.inside("lmcacheConfig"), draft)
    _token(model, draft)
    environment.environment(model.each("env"), draft)
    _replicas(model, draft)
    pull = model.take("imagePullSecret")
    if pull:
        draft.put("placement.imagePullSecrets", [pull], model.path("imagePullSecret"))
    for key in ("pvcStorage", "pvcAccessMode", "storageClass", "pvcMatchLabels", "pvcLabels", "pvcAnnotations"):
        model.drop(key, _STORAGE)
    environment.metadata({"annotations": model.take("podAnnotations")}, draft, model.where)
    for each in ("extraVolumes", "extraVolumeMounts"):
        model.drop(each, "a tier has no volumes of its own")
    placement.place(model, draft)
    common = [] if model.take("tolerationsPolicy", "append") == "override" else engine.items("tolerations")
    if common:
        tolerations = [*common, *draft.get("placement.tolerations", [])]
        draft.put("placement.tolerations", tolerations, model.path("tolerations"))
    placement.terms(model.each("nodeSelectorTerms"), draft)
    model.rest(_MODEL)


def _tools(model: Reader, draft: Draft) -> None:
    parser, wanted = model.take("toolCallParser"), model.take("enableTool")
    if wanted:
        flags.carry(Flag("--enable-auto-tool-choice", (), "enableTool"), draft, pod.profile_of(draft))
    if parser:
        flags.carry(Flag("--tool-call-parser", (str(parser),), "toolCallParser"), draft, pod.profile_of(draft))


def _offload(cache: Reader, draft: Draft) -> None:
    size, enabled = cache.take("cpuOffloadingBufferSize"), cache.take("enabled")
    if enabled and size:
        flag = Flag("--kv-offloading-size", (str(size),), cache.path("cpuOffloadingBufferSize"))
        flags.carry(flag, draft, pod.profile_of(draft))
        if draft.get("caching.kvOffloadGiB"):
            reason = "carried over as the engine's own offload: replicas share nothing of it"
            draft.drop(cache.where, f"{size} GiB", reason)
    elif enabled:
        draft.drop(cache.where, "enabled", "the engine's own offload is caching.kvOffloadGiB")
    cache.rest(otherwise="the engine's own offload needs it not")


def _token(model: Reader, draft: Draft) -> None:
    if not isinstance(model.value.get("hf_token"), Mapping):
        model.drop("hf_token", "put the token into a Secret and name it in model.tokenSecretRef")
        return
    token = model.inside("hf_token")
    name, key = token.take("secretName"), token.take("secretKey", "token")
    if name:
        draft.put("model.tokenSecretRef", {"name": name, "key": key}, token.where)
    token.rest()


def _replicas(model: Reader, draft: Draft) -> None:
    replicas = model.number("replicaCount", 1)
    least, most = (replicas, replicas) if replicas > 1 else (None, None)
    scaler = model.inside("keda")
    if scaler.value.get("enabled"):
        least, most = scaler.number("minReplicaCount", 1), max(1, scaler.number("maxReplicaCount", 1))
        model.drop("keda", _MODEL["keda"])
    if least is not None:
        draft.put("scaling.minReplicas", least, model.path("replicaCount"))
        draft.put("scaling.maxReplicas", most, model.path("replicaCount"))


def _config(config: Reader, draft: Draft) -> None:
    pod.command(read(config.words("extraArgs")), draft, volumes.Claims())
    for key, name in _FLAGS.items():
        value = config.take(key)
        if value is not None and value != "":
            flags.carry(Flag(name, (str(value),), config.path(key)), draft, pod.profile_of(draft))
    for key, name in _SWITCHES.items():
        value = config.take(key)
        if value is not None:
            name = name if value else name.replace("--enable", "--no-enable")
            flags.carry(Flag(name, (), config.path(key)), draft, pod.profile_of(draft))
    if str(config.take("v0", "")) == "1":
        draft.drop(config.path("v0"), "1", "the engine has one core since 0.11")
    config.rest()


def _resources(model: Reader, draft: Draft) -> None:
    block = model.inside("resources")
    if block.value:
        for key in ("requestCPU", "requestMemory", "requestGPU", "requestGPUType", "limitCPU", "limitMemory"):
            model.drop(key, "resources is given, too, and wins")
        pod.resources(block, draft)
    else:
        kind = str(model.take("requestGPUType", "nvidia.com/gpu"))
        requests = {"cpu": model.take("requestCPU"), "memory": model.take("requestMemory")}
        limits = {"cpu": model.take("limitCPU"), "memory": model.take("limitMemory"), kind: model.take("requestGPU")}
        found = {
            "requests": {key: value for key, value in requests.items() if value is not None},
            "limits": {key: value for key, value in limits.items() if value},
        }
        pod.resources(Reader(found, model.where, draft), draft)
    shm = model.take("shmSize")
    if shm:
        draft.put("resources.sharedMemory", str(shm), model.path("shmSize"))


def _shared(engine: Reader, draft: Draft) -> None:
    runtime = engine.take("runtimeClassName")
    if runtime and not draft.get("placement.runtimeClassName"):
        draft.put("placement.runtimeClassName", str(runtime), engine.path("runtimeClassName"))
    engine.take("tolerations")
    if engine.value.get("schedulerName"):
        draft.put("placement.schedulerName", engine.take("schedulerName"), engine.path("schedulerName"))
    environment.metadata({"labels": engine.take("labels")}, draft, engine.where)
