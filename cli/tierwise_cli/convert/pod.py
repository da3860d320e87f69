"""Carries a container and its pod over into a tier: image, resources, environment, volumes, where it may run.

KServe's InferenceService, a Deployment and the values of a chart all end in these two, so the reasons for what a tier
does not take stand here once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.api.modeltier import Engine
from tierwise.engines.profiles import Profile, profile, profiles
from tierwise.errors import Unsupported
from tierwise.quantity import parse_quantity
from tierwise_cli.convert import flags
from tierwise_cli.convert.draft import NO_FIELD, Draft, Reader, has_field
from tierwise_cli.convert.words import Command

HUB_CACHES = ("/root/.cache/huggingface", "/root/.cache", "/.cache/huggingface")
OWN_REPOSITORY = "vllm/vllm-openai"
GPU_DOMAINS = re.compile(r"^(nvidia\.com/(gpu|mig-.*)|amd\.com/gpu|gpu\.intel\.com/.*|habana\.ai/gaudi)$")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")
_VARIABLES = {
    "HF_HOME": "the cache has a fixed place in the pod",
    "HF_HUB_CACHE": "the cache has a fixed place in the pod",
    "HUGGINGFACE_HUB_CACHE": "the cache has a fixed place in the pod",
    "TRANSFORMERS_CACHE": "the cache has a fixed place in the pod",
    "HF_ENDPOINT": "the mirror of the hub is the chart value hub.url, for all tiers",
    "VLLM_API_KEY": "no router knows the key: put a gateway in front, or name clients in the ModelRoute",
    "VLLM_PORT": "the port is fixed: Service, probes and metrics use it",
    "VLLM_HOST_IP": "the pod's address is fixed",
    "VLLM_USE_V1": "the engine has one core since 0.11",
    "HOME": "the home folder is fixed",
    "USER": "the user is fixed",
}
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
    "affinity": "placement has nodeSelector and tolerations",
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
    "schedulerName": "placement has no scheduler",
    "securityContext": "pods run as an ordinary user without privileges (docs/trust.md)",
    "shareProcessNamespace": "a pod has one container",
    "topologySpreadConstraints": "placement has nodeSelector and tolerations",
}


@dataclass(frozen=True, slots=True)
class Claims:
    """Where volumes with claims are mounted: mount path → (claim, sub path), longest path first."""

    mounts: tuple[tuple[str, str, str], ...] = ()

    def uri(self, path: str) -> str | None:
        """pvc://CLAIM/PATH of a folder in the container."""
        for mount, claim, below in self.mounts:
            if path == mount or path.startswith(mount.rstrip("/") + "/"):
                rest = "/".join(part for part in (below.strip("/"), path[len(mount) :].strip("/")) if part)
                return f"pvc://{claim}/{rest}" if rest else f"pvc://{claim}"
        return None


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
        _literal(name, value, draft)
    for each in found.around:
        draft.drop("command", each, "no shell runs in a tier: build it into engine.image")
    for number, name in enumerate(found.positional):
        why = "a second name without a flag" if number else _model(name, draft, claims)
        if why:
            draft.drop("command", name, why)
    for flag in found.flags:
        if flag.name == "--model" and not draft.get("model.uri"):
            why = _model(flag.value, draft, claims)
            if why:
                draft.drop(flag.written, flag.value, why)
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
        draft.put("resources.gpus", int(str(count)), limits.path(name))
        if name != "nvidia.com/gpu":
            draft.put("resources.resourceName", name, limits.path(name))
    if not names:
        draft.put("resources.gpus", 0, reader.where)
    cpu, cpu_limit = requests.take("cpu"), limits.take("cpu")
    if cpu is not None or cpu_limit is not None:
        draft.put("resources.cpu", str(cpu if cpu is not None else cpu_limit), requests.path("cpu"))
    if cpu_limit is not None and cpu is not None and parse_quantity(str(cpu_limit)) != parse_quantity(str(cpu)):
        limits.drop("cpu", "an engine is not throttled: resources.cpu is a request")
    memory, most = requests.take("memory"), limits.take("memory")
    if memory is not None or most is not None:
        draft.put("resources.memory", str(most if most is not None else memory), limits.path("memory"))
    if memory is not None and most is not None and parse_quantity(str(memory)) != parse_quantity(str(most)):
        requests.drop("memory", f"a replica requests what it may use: {most}")
    requests.rest()
    limits.rest()


def literals(variables: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The variables whose value stands there."""
    return {str(each.get("name")): str(each["value"]) for each in variables if each.get("value") is not None}


def environment(readers: Iterable[Reader], draft: Draft, used: Collection[str] = ()) -> None:
    """The variables of a container; `used`: names that the command has taken the values of."""
    for reader in readers:
        name = str(reader.take("name", ""))
        source = reader.inside("valueFrom")
        if name in used:
            reader.take("value")
        elif not source.value:
            _literal(name, str(reader.take("value", "")), draft)
        else:
            _referred(name, source, draft)
        source.rest()
        reader.rest()


def _literal(name: str, value: str, draft: Draft) -> None:
    if name in _TOKENS:
        draft.drop(f"env {name}", value, "put the token into a Secret and name it in model.tokenSecretRef")
    elif name in _VARIABLES:
        draft.drop(f"env {name}", value, _VARIABLES[name])
    elif has_field("env"):
        draft.put("env", [*draft.get("env", []), {"name": name, "value": value}], name)
    else:
        draft.drop(f"env {name}", value, NO_FIELD)


def _referred(name: str, source: Reader, draft: Draft) -> None:
    """A variable whose value stands in a Secret or a ConfigMap."""
    for kind in ("secretKeyRef", "configMapKeyRef"):
        found = source.inside(kind)
        if not found.value:
            continue
        given = {"name": found.take("name"), "key": found.take("key")}
        found.take("optional")
        found.rest()
        if name in _TOKENS and kind == "secretKeyRef":
            draft.put("model.tokenSecretRef", given, f"env {name}")
        elif name in _VARIABLES:
            draft.drop(f"env {name}", f"of {given['name']}", _VARIABLES[name])
        elif has_field("env"):
            draft.put("env", [*draft.get("env", []), {"name": name, kind: given}], name)
        else:
            draft.drop(f"env {name}", f"of {given['name']}", NO_FIELD)


def volumes(pod: Reader, container: Reader, draft: Draft) -> Claims:
    """Volumes and where they are mounted; what is left of them is in the list."""
    found = {str(each.take("name")): each for each in pod.each("volumes")}
    mounts: list[tuple[str, str, str]] = []
    mounted = set()
    for mount in container.each("volumeMounts"):
        name, path = str(mount.take("name", "")), str(mount.take("mountPath", ""))
        below = str(mount.take("subPath", ""))
        mount.take("readOnly")
        mount.rest()
        if name not in found:
            draft.drop(mount.where, name, "no volume has this name")
            continue
        mounted.add(name)
        _mounted(found[name], path, below, draft, mounts)
    for name, volume in found.items():
        volume.rest(otherwise="a tier has no volumes of its own" if name in mounted else "the engine does not mount it")
    return Claims(tuple(sorted(mounts, key=lambda each: -len(each[0]))))


def _mounted(volume: Reader, path: str, below: str, draft: Draft, mounts: list[tuple[str, str, str]]) -> None:
    """Take from a volume what the tier has for it; the rest of it is for the list."""
    own = path.rstrip("/") in (*HUB_CACHES, "/tmp", "/dev/shm")  # noqa: S108 - the pod's, not ours
    claim, empty = volume.value.get("persistentVolumeClaim"), volume.value.get("emptyDir")
    if claim and claim.get("claimName"):
        inside = volume.inside("persistentVolumeClaim")
        name = str(inside.take("claimName"))
        inside.take("readOnly")
        inside.rest()
        if path.rstrip("/") in HUB_CACHES:
            draft.put("model.cachePVC", name, volume.where)
        else:
            mounts.append((path, name, below))
    elif empty is not None and own:
        inside = volume.inside("emptyDir")
        inside.take("medium")
        size = inside.take("sizeLimit")
        if size and path == "/dev/shm":  # noqa: S108 - the pod's, not ours
            draft.put("resources.sharedMemory", str(size), inside.path("sizeLimit"))
        elif size:
            draft.drop(inside.path("sizeLimit"), size, "these folders of a tier have no limit of their own")
        inside.rest()


def unused_claims(claims: Claims, draft: Draft) -> None:
    """Claims that are mounted and hold neither the model nor the hub's cache."""
    uri = str(draft.get("model.uri", ""))
    for path, claim, _ in claims.mounts:
        if not uri.startswith(f"pvc://{claim}"):
            where = "model.cachePVC" if uri.startswith("hf://") else "model.uri"
            draft.drop(f"volume {claim}", f"claim at {path}", f"if it holds the model's files, name it in {where}")


def place(pod: Reader, draft: Draft) -> None:
    """Where the pods may run, and as whom."""
    for key, path in (
        ("nodeSelector", "placement.nodeSelector"),
        ("tolerations", "placement.tolerations"),
        ("runtimeClassName", "placement.runtimeClassName"),
        ("priorityClassName", "placement.priorityClassName"),
    ):
        found = pod.take(key)
        if found:
            draft.put(path, found, pod.path(key))
    secrets = [str(each.get("name")) for each in pod.take("imagePullSecrets", [])]
    if secrets:
        draft.put("placement.imagePullSecrets", secrets, pod.path("imagePullSecrets"))
    account = pod.take("serviceAccountName", pod.take("serviceAccount"))
    pod.take("serviceAccount")
    if account and account != "default":
        draft.put("model.serviceAccountName", account, pod.path("serviceAccountName"))
    grace = pod.take("terminationGracePeriodSeconds")
    if grace is not None:
        draft.put("drainSeconds", min(3600, int(grace)), pod.path("terminationGracePeriodSeconds"))


def startup(probe: Reader, draft: Draft) -> None:
    """How long a replica may take to start; the rest of the probe is the engine's profile's."""
    if not probe.value:
        return
    period, failures = int(probe.take("periodSeconds", 10)), int(probe.take("failureThreshold", 3))
    seconds = int(probe.take("initialDelaySeconds", 0)) + period * failures
    draft.put("startupTimeoutSeconds", min(14400, max(30, seconds)), probe.where)
    for key in ("httpGet", "tcpSocket", "exec", "timeoutSeconds", "successThreshold", "grpc"):
        probe.take(key)
    probe.rest()


def metadata(found: Mapping[str, Any], draft: Draft, where: str) -> None:
    """Labels and annotations of the pods."""
    for kind in ("labels", "annotations"):
        kept = {str(key): str(value) for key, value in (found.get(kind) or {}).items()}
        own = {key for key in kept if key in ("app", "model", "component") or "kserve.io/" in key}
        for key in sorted(own):
            draft.drop(f"{where}.{kind}.{key}", kept.pop(key), "Tierwise and KServe tell pods by labels of their own")
        if kept:
            before = draft.get(f"podMetadata.{kind}", {})
            draft.put(f"podMetadata.{kind}", {**before, **kept}, f"{where}.{kind}")


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
