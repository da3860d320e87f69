"""Carries the volumes of a pod over into a tier, as far as they hold the model, the hub's cache or shared memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tierwise_cli.convert.draft import Draft, Reader

# Below the engine's home. A tier's claim is what `huggingface` is, whole: above and below it the files lie elsewhere.
_HUB, _ABOVE, _BELOW = "/.cache/huggingface", "/.cache", "/.cache/huggingface/hub"
_MOVED = {
    _ABOVE: "the hub's cache is its folder huggingface: move what is in there to the root of the claim, and name the "
    "claim in model.cachePVC",
    _BELOW: "it is the folder hub of the hub's cache: move what it holds into a folder hub of the claim, and name the "
    "claim in model.cachePVC",
}
_PROJECTED = "kube-api-access-"  # admission mounts the token of the account so
_NO_VOLUMES = "a tier has no volumes of its own"
SHARED_MEMORY, SCRATCH = "/dev/shm", "/tmp"  # noqa: S108 - folders of the pod, not of this machine


@dataclass(frozen=True, slots=True)
class Claims:
    """What is mounted where. `mounts`: mount path, claim, sub path, the longest path first; `files`: mount path, name
    of a ConfigMap, sub path, and its volume; `volumes`: all of them, each with why it is no part of a tier."""

    mounts: tuple[tuple[str, str, str], ...] = ()
    files: tuple[tuple[str, str, str, Reader], ...] = ()
    volumes: tuple[tuple[Reader, str], ...] = ()

    def key(self, path: str) -> dict[str, str] | None:
        """ConfigMap and key of a file in the container; its volume then counts as dealt with."""
        for mount, name, below, volume in self.files:
            folder, _, file = path.rpartition("/")
            if folder == mount.rstrip("/") or path == mount:
                file = below.strip("/") if path == mount and below else file
                projected = volume.take("configMap").get("items") or ()
                key = next((each["key"] for each in projected if each.get("path") == file), file)
                return {"configMapName": name, "key": str(key)}
        return None

    def uri(self, path: str) -> str | None:
        """pvc://CLAIM/PATH of a folder in the container."""
        for mount, claim, below in self.mounts:
            if path == mount or path.startswith(mount.rstrip("/") + "/"):
                rest = "/".join(part for part in (below.strip("/"), path[len(mount) :].strip("/")) if part)
                return f"pvc://{claim}/{rest}" if rest else f"pvc://{claim}"
        return None


def volumes(pod: Reader, container: Reader, draft: Draft) -> Claims:
    """Volumes and where they are mounted; what is left of them is in the list."""
    given = {str(each.take("name")): each for each in pod.each("volumes")}
    found = {name: each for name, each in given.items() if not name.startswith(_PROJECTED)}
    mounts: list[tuple[str, str, str]] = []
    files: list[tuple[str, str, str, Reader]] = []
    mounted = set()
    for mount in container.each("volumeMounts"):
        name, path = str(mount.take("name", "")), str(mount.take("mountPath", ""))
        if name.startswith(_PROJECTED):
            continue
        below = str(mount.take("subPath", ""))
        mount.take("readOnly")
        mount.rest()
        if name not in found:
            draft.drop(mount.where, name, "no volume has this name")
            continue
        mounted.add(name)
        config = found[name].value.get("configMap")
        if isinstance(config, Mapping) and config.get("name"):
            files.append((path, str(config["name"]), below, found[name]))
        _mounted(found[name], path, below, draft, mounts)
    reasons = {name: _NO_VOLUMES if name in mounted else "the engine does not mount it" for name in found}
    left = tuple((volume, reasons[name]) for name, volume in found.items())
    return Claims(tuple(sorted(mounts, key=lambda each: -len(each[0]))), tuple(files), left)


def _mounted(volume: Reader, path: str, below: str, draft: Draft, mounts: list[tuple[str, str, str]]) -> None:
    """Take from a volume what the tier has for it; the rest of it is for the list."""
    end = next((each for each in (_BELOW, _HUB, _ABOVE) if path.rstrip("/").endswith(each)), "")
    kinds = volume.value
    if kinds.get("persistentVolumeClaim"):
        inside = volume.inside("persistentVolumeClaim")
        if not inside.value.get("claimName"):
            return
        name = str(inside.take("claimName"))
        inside.take("readOnly")
        inside.rest()
        if end == _HUB:
            draft.put("model.cachePVC", name, volume.where)
            if below:
                draft.drop(f"subPath of {path}", below, "model.cachePVC is a whole claim: move the folder to its root")
        else:
            mounts.append((path, name, below))
    elif kinds.get("emptyDir") is not None and (end or path in (SHARED_MEMORY, SCRATCH)):
        _scratch(volume.inside("emptyDir"), path, draft)
    elif end in (_HUB, _ABOVE) and kinds.get("hostPath"):
        inside = volume.inside("hostPath")
        parts = (str(inside.take("path")).rstrip("/"), below.strip("/"), "huggingface" if end == _ABOVE else "")
        draft.put("modelCache.hostPath", "/".join(part for part in parts if part), volume.where)
        inside.take("type")
        inside.rest()
    elif end and kinds.get("ephemeral"):
        _ephemeral(volume.inside("ephemeral").inside("volumeClaimTemplate").inside("spec"), draft)


def _scratch(inside: Reader, path: str, draft: Draft) -> None:
    inside.take("medium")
    size = inside.take("sizeLimit")
    if size and path == SHARED_MEMORY:
        draft.put("resources.sharedMemory", str(size), inside.path("sizeLimit"))
    elif size and path == SCRATCH:
        draft.drop(inside.path("sizeLimit"), size, "the scratch folder of a tier has no limit of its own")
    elif size:
        draft.put("modelCache.emptyDir", {"sizeLimit": str(size)}, inside.path("sizeLimit"))
    inside.rest()


def _ephemeral(claim: Reader, draft: Draft) -> None:
    size = claim.inside("resources").inside("requests").take("storage")
    kind = claim.take("storageClassName")
    value = {**({"storageClassName": kind} if kind else {}), "size": str(size)}
    draft.put("modelCache.ephemeral", value, claim.where)
    for key in ("accessModes", "volumeMode"):
        claim.take(key)
    claim.rest()


def unused_claims(claims: Claims, draft: Draft) -> None:
    """Volumes, and claims that hold neither the model nor the hub's cache: what is left of them, for the list."""
    for volume, why in claims.volumes:
        volume.rest(otherwise=why)
    uri = str(draft.get("model.uri", ""))
    for path, claim, _ in claims.mounts:
        if uri != f"pvc://{claim}" and not uri.startswith(f"pvc://{claim}/"):
            where = "model.cachePVC" if uri.startswith("hf://") else "model.uri"
            why = f"if it holds the model's files, name it in {where}"
            moved = next((_MOVED[end] for end in _MOVED if path.rstrip("/").endswith(end)), why)
            draft.drop(f"volume {claim}", f"claim at {path}", moved)
