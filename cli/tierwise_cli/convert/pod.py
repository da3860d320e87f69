"""Carries the container of an engine over into a tier: its image, its command, its resources.

KServe's InferenceService, a Deployment and the values of a chart all end in these two, so the reasons for what a tier
does not take stand here once.
"""

from __future__ import annotations

import re
from typing import Any

from tierwise.api.modeltier import Engine
from tierwise.engines.profiles import Profile, profile, profiles
from tierwise.errors import Unsupported
from tierwise.quantity import parse_quantity
from tierwise_cli.convert import flags
from tierwise_cli.convert.draft import Draft, Reader
from tierwise_cli.convert.environment import literal
from tierwise_cli.convert.volumes import Claims
from tierwise_cli.convert.words import Command

# Words of a command that a secret may follow.
_CREDENTIALS = re.compile(r"(?i)key|token|secret|password|authorization|bearer|\bhf_")
OWN_REPOSITORY = "vllm/vllm-openai"
GPU_DOMAINS = re.compile(r"^(nvidia\.com/(gpu|mig-.*)|amd\.com/gpu|gpu\.intel\.com/.*|habana\.ai/gaudi)$")
CONTAINER = {
    "command": "the operator renders the command",
    "imagePullPolicy": "the image has a tag or a digest, so the cluster's rule is kept",
    "lifecycle": "a tier drains for drainSeconds before it ends",
    "livenessProbe": "the probes are those of the engine's profile",
    "readinessProbe": "the probes are those of the engine's profile",
    "ports": "the port is fixed: Service, probes and metrics use it",
    "securityContext": "pods run as an ordinary user without privileges (docs/trust.md)",
    "workingDir": "the engine needs none",
    "envFrom": "name each variable: what a whole Secret holds is not known before",
    "volumeDevices": "a tier has no volumes of its own",
    "tty": "no terminal is attached to a tier",
    "stdin": "no terminal is attached to a tier",
    "terminationMessagePolicy": "the engine's last line becomes the condition",
    "terminationMessagePath": "the engine's last line becomes the condition",
    "resizePolicy": "a replica keeps its size",
}
POD = {
    "automountServiceAccountToken": "pods of a tier mount no token",
    "dnsConfig": "names are resolved as in the cluster",
    "dnsPolicy": "names are resolved as in the cluster",
    "enableServiceLinks": "service links are off",
    "hostIPC": "a pod of a tier shares nothing with its node: /dev/shm is resources.sharedMemory",
    "hostNetwork": "a pod of a tier shares nothing with its node",
    "hostPID": "a pod of a tier shares nothing with its node",
    "hostname": "replicas have no names of their own",
    "initContainers": "a tier loads its model itself: hf://, or KServe's storage initializer",
    "nodeName": "use placement.nodeSelector: kubernetes.io/hostname",
    "restartPolicy": "pods are always restarted",
    "securityContext": "pods run as an ordinary user without privileges (docs/trust.md)",
    "shareProcessNamespace": "a pod has one container",
}

# What the API server fills in: nobody chose it, so nothing is lost.
POD_DEFAULTS = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER_DEFAULTS = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}


def filled_in(container: Reader, image_: str) -> None:
    """Count what the API server fills in of a container as dealt with."""
    tag = _tagged(image_)[1]
    container.skip({**_CONTAINER_DEFAULTS, "imagePullPolicy": "Always" if tag in ("", "latest") else "IfNotPresent"})


def image(written: str, draft: Draft, where: str) -> None:
    """engine.image and engine.version of an image."""
    repository, tag = _tagged(written)
    release = re.match(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", tag) or re.search(r"v?(0)\.(3[0-9])\.([0-9]+)", tag)
    version = ".".join((*release.groups()[:2], release.group(3) or "0")) if release else ""
    known = bool(version) and _known(version)
    newest = profiles()[-1].release
    if known:
        draft.put("engine.version", version, where)
    elif re.match(r"^0\.[0-9]+", version):
        draft.drop(where, written, f"vLLM {version} is not known: the tier runs {newest}, with its own image")
        return
    if repository.removeprefix("docker.io/") == OWN_REPOSITORY and not known:
        draft.drop(where, written, f"an image needs a release for its tag: the tier runs vLLM {newest}")
    elif repository.removeprefix("docker.io/") == OWN_REPOSITORY and tag.lstrip("v") == version:
        return  # the engine's own image of this release
    elif not tag or tag == "latest":
        draft.drop(where, written, "engine.image must end in a tag that stays or a digest, so that replicas are alike")
    else:
        draft.put("engine.image", written, where)
        if not known:
            draft.drop(where, tag, f"the tag tells no vLLM release: engine.version is taken for {newest}; correct it")


def _tagged(written: str) -> tuple[str, str]:
    if "@" in written:
        repository, _, digest = written.partition("@")
        return repository, digest
    repository, _, tag = written.rpartition(":")
    return (repository, tag) if repository and "/" not in tag else (written, "")


def _known(version: str) -> bool:
    try:
        profile(Engine.model_construct(name="vllm", version=version))
    except Unsupported:
        return False
    return True


def profile_of(draft: Draft) -> Profile:
    """The profile of the release that the tier names so far."""
    version = draft.get("engine.version")
    return profile(Engine(version=version)) if version else profile(Engine())


def command(found: Command, draft: Draft, claims: Claims) -> None:
    """A whole command of the engine."""
    for name, value in found.variables:
        literal(name, value, draft)
    for each in found.around:
        shown = f"{each.split()[0]} (the rest is not shown)" if _CREDENTIALS.search(each) else each
        draft.drop("command", shown, "no shell runs in a tier: build it into engine.image")
    for number, name in enumerate(found.positional):
        why = "a second name without a flag" if number else _model(name, draft, claims)
        if why:
            draft.drop("command", name, why)
    # Adapters first: other flags say how they are served.
    for flag in sorted(found.flags, key=lambda flag: flag.name != "--lora-modules"):
        if flag.name == "--model" and not draft.get("model.uri"):
            why = _model(flag.value, draft, claims)
            if why:
                draft.drop(flag.written, flag.value, why)
        elif flag.name == "--chat-template" and (file := claims.key(flag.value)) is not None:
            draft.put("model.chatTemplate", file, flag.written)
        else:
            flags.carry(flag, draft, profile_of(draft))


def _model(name: str, draft: Draft, claims: Claims) -> str:
    uri = claims.uri(name) if name.startswith("/") else None
    if uri is None or draft.get("model.uri"):
        return flags.model(name, draft, "the model")
    draft.put("model.uri", uri, "the model")
    return ""


def resources(reader: Reader, draft: Draft) -> None:
    """Requests and limits of a container."""
    requests, limits = reader.inside("requests"), reader.inside("limits")
    reader.rest()
    names = {key for key in (*requests.value, *limits.value) if GPU_DOMAINS.match(str(key))}
    for name in sorted(names):
        count = limits.take(name, requests.take(name))
        requests.take(name)
        if draft.get("resources.gpus"):
            draft.drop(limits.path(name), count, "a tier has one kind of GPU")
            continue
        if not str(count).isdigit():
            draft.drop(limits.path(name), count, "resources.gpus is a whole number: write one")
            continue
        draft.put("resources.gpus", int(str(count)), limits.path(name))
        if name != "nvidia.com/gpu":
            draft.put("resources.resourceName", name, limits.path(name))
    if not names:
        draft.put("resources.gpus", 0, reader.where)
    for name in ("cpu", "memory"):
        _amount(name, requests.take(name), limits.take(name), reader, draft)
    disk = limits.take("ephemeral-storage", requests.value.get("ephemeral-storage"))
    if disk is not None:
        draft.put("resources.ephemeralStorage", str(disk), reader.path("ephemeral-storage"))
    if _differ(disk, requests.take("ephemeral-storage")):
        requests.drop("ephemeral-storage", f"a replica requests what it may use: {disk}")
    requests.rest()
    limits.rest()


def _amount(name: str, request: Any, limit: Any, reader: Reader, draft: Draft) -> None:
    """CPU or memory: what is requested, and what is allowed where that is more."""
    wanted = limit if request is None else request
    if wanted is not None:
        draft.put(f"resources.{name}", str(wanted), reader.path(name))
    if _differ(limit, request):
        draft.put(f"resources.{name}Limit", str(limit), reader.path(name))
    elif limit is None and request is not None and name == "memory":
        draft.drop(reader.path(name), request, "a replica may use as much as it requests: set resources.memoryLimit")


def _differ(one: Any, other: Any) -> bool:
    return one is not None and other is not None and parse_quantity(str(one)) != parse_quantity(str(other))


def startup(probe: Reader, draft: Draft) -> None:
    """How long a replica may take to start; the rest of the probe is the engine's profile's."""
    if not probe.value:
        return
    period, failures = probe.number("periodSeconds", 10), probe.number("failureThreshold", 3)
    seconds = probe.number("initialDelaySeconds", 0) + period * failures
    draft.put("startupTimeoutSeconds", min(14400, max(30, seconds)), probe.where)
    for key in ("httpGet", "tcpSocket", "exec", "timeoutSeconds", "successThreshold", "grpc"):
        probe.take(key)
    probe.rest()


def divided(draft: Draft) -> None:
    """GPUs and parallelism agree; nothing is changed where they do."""
    tensor, pipeline = draft.get("parallelism.tensor", 1), draft.get("parallelism.pipeline", 1)
    gpus = draft.get("resources.gpus")
    if gpus is None and tensor * pipeline > 1:
        draft.put("resources.gpus", tensor * pipeline, "resources")
    elif gpus and gpus != tensor * pipeline:
        if not draft.get("parallelism.tensor") and not draft.get("parallelism.pipeline"):
            draft.drop("resources", f"{gpus} GPUs", "the engine used one of them: --tensor-parallel-size was not given")
        else:
            draft.drop("resources", f"{gpus} GPUs", f"the engine used {tensor * pipeline}, tensor times pipeline")
        draft.put("resources.gpus", tensor * pipeline, "resources")
