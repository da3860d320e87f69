"""Creates a pod's volumes on disk, and fills them.

One folder per volume under the pod's own, except PersistentVolumeClaims, which have a folder that outlives
the pod. Volumes made of API objects and tokens are refreshed about once a minute, as a kubelet does.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playground.kubelet.environment import Reference, expand
from playground.kubelet.fields import FieldError, PodFacts
from playground.kubelet.model import Json
from playground.kubelet.projection import (
    DEFAULT_MODE,
    File,
    VolumeError,
    downward_files,
    keyed_files,
    write_files,
)
from playground.kubelet.quantity import parse_quantity
from playground.kubelet.sources import FRESH_S, Sources, Token
from playground.kubelet.syscalls import mount, unmount

REFRESH_S = 60.0
_API_SOURCES = ("configMap", "secret", "downwardAPI", "projected")
# A token is renewed after this share of its life (the kubelet's own rule).
RENEW_AT = 0.8


@dataclass(frozen=True, slots=True)
class Mount:
    """One bind mount of a container, on the host's side already resolved."""

    source: Path
    target: str
    read_only: bool

    def document(self) -> dict[str, object]:
        """Return it as the launcher reads it."""
        return {"source": str(self.source), "target": self.target, "read_only": self.read_only}


class PodVolumes:
    """The volumes of one pod."""

    def __init__(self, folder: Path, claims: Path, facts: PodFacts, sources: Sources) -> None:
        """Keep folders apart: `folder` is the pod's own, `claims` that of all PersistentVolumeClaims."""
        self._folder, self._claims, self._sources = folder, claims, sources
        self.facts = facts
        self._namespace: str = facts.pod["metadata"]["namespace"]
        self._volumes: dict[str, Json] = {v["name"]: v for v in facts.pod["spec"].get("volumes", [])}
        self._tokens: dict[tuple[str, str], tuple[Token, datetime]] = {}
        self._mounted: list[Path] = []

    @property
    def refreshable(self) -> bool:
        """Tell whether any volume can change while the pod runs."""
        return any(key in volume for volume in self._volumes.values() for key in _API_SOURCES)

    async def set_up(self) -> None:
        """Make every volume. Raises VolumeError, ApiError, AWAY, OSError; may be called again."""
        for name, volume in self._volumes.items():
            try:
                await self._set_up(name, volume, max_age=0.0)
            except (VolumeError, FieldError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error

    async def refresh(self) -> None:
        """Bring what comes from the API up to date. Raises like `set_up`."""
        for name, volume in self._volumes.items():
            if any(key in volume for key in _API_SOURCES):
                await self._set_up(name, volume, max_age=FRESH_S)

    def path(self, name: str) -> Path:
        """Return a volume's folder. Raises VolumeError for a name that the pod does not declare."""
        volume = self._volumes.get(name)
        if volume is None:
            raise VolumeError(f'no volume "{name}"')
        if "persistentVolumeClaim" in volume:
            return self._claims / self._namespace / str(volume["persistentVolumeClaim"]["claimName"])
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        return self._folder / name

    def mounts(self, container: Json, environment: dict[str, str]) -> list[Mount]:
        """Return a container's mounts. Raises VolumeError."""
        found = []
        for entry in container.get("volumeMounts", []):
            source = self.path(entry["name"])
            below = entry.get("subPath") or expand(entry.get("subPathExpr", ""), environment)
            if below:
                source = self._below(source, below)
            volume = self._volumes[entry["name"]]
            claim = volume.get("persistentVolumeClaim", {})
            made = any(key in volume for key in _API_SOURCES)
            read_only = bool(entry.get("readOnly") or claim.get("readOnly") or made)
            found.append(Mount(source, entry["mountPath"], read_only))
        return found

    @staticmethod
    def _below(source: Path, below: str) -> Path:
        # A file of a ConfigMap is a link into a dated folder; the mount keeps what it is now.
        target = (source / below).resolve()
        if not target.is_relative_to(source.resolve()):
            raise VolumeError(f"subPath {below} leads out of the volume")
        if not target.exists():
            target.mkdir(parents=True)
        return target

    def remove(self) -> None:
        """Remove what belongs to the pod alone. Raises OSError."""
        for path in self._mounted:
            unmount(str(path))
        self._mounted.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _set_up(self, name: str, volume: Json, *, max_age: float) -> None:
        path = self.path(name)
        if "hostPath" in volume:
            if not path.exists() and volume["hostPath"].get("type") != "DirectoryOrCreate":
                raise VolumeError(f"hostPath type check failed: {path} does not exist")
        elif "persistentVolumeClaim" in volume:
            await self._set_up_claim(volume["persistentVolumeClaim"]["claimName"], path)
        elif "emptyDir" in volume:
            self._set_up_empty(path, volume["emptyDir"] or {})
        else:
            files = await self._files(volume, max_age)
            path.mkdir(parents=True, exist_ok=True)
            write_files(path, files)

    async def _set_up_claim(self, name: str, path: Path) -> None:
        if await self._sources.claim(self._namespace, name) is None:
            raise VolumeError(f'persistentvolumeclaim "{name}" not found')
        _make_shared(path)

    def _set_up_empty(self, path: Path, source: Json) -> None:
        if path.exists():
            return
        path.mkdir(parents=True)
        if source.get("medium") == "Memory":
            size = f",size={int(parse_quantity(source['sizeLimit']))}" if "sizeLimit" in source else ""
            mount("tmpfs", str(path), "tmpfs", 0, f"mode=1777{size}")
            self._mounted.append(path)
        path.chmod(0o777)

    async def _files(self, volume: Json, max_age: float) -> tuple[File, ...]:
        for key in ("configMap", "secret", "downwardAPI"):
            if key in volume:
                mode = volume[key].get("defaultMode", DEFAULT_MODE)
                return await self._part({key: volume[key]}, mode, max_age)
        if "projected" in volume:
            mode = volume["projected"].get("defaultMode", DEFAULT_MODE)
            parts = [await self._part(part, mode, max_age) for part in volume["projected"].get("sources", [])]
            return tuple(file for part in parts for file in part)
        kinds = sorted(set(volume) - {"name"})
        raise VolumeError(f"the playground has no volumes of type {', '.join(kinds)}")

    async def _part(self, source: Json, mode: int, max_age: float) -> tuple[File, ...]:
        for key, kind in (("configMap", "configmap"), ("secret", "secret")):
            if key in source:
                given = source[key]
                # A secret volume says secretName; everything else says name.
                name = given.get("secretName") or given["name"]
                reference = Reference(kind, name)
                data = await self._sources.contents(self._namespace, [reference], max_age=max_age)
                return keyed_files(data[reference], given, kind=kind, name=name, mode=mode)
        if "downwardAPI" in source:
            return downward_files(source["downwardAPI"], self.facts, mode)
        if "serviceAccountToken" in source:
            return (await self._token(source["serviceAccountToken"], mode),)
        raise VolumeError(f"the playground cannot project {', '.join(sorted(source))}")

    async def _token(self, source: Json, mode: int) -> File:
        audience, seconds = source.get("audience") or "", int(source.get("expirationSeconds", 3600))
        known = self._tokens.get((audience, source["path"]))
        now = datetime.now(UTC)
        if known is None or now >= known[1]:
            token = await self._sources.token(self.facts.pod, audience or None, seconds)
            known = (token, now + timedelta(seconds=RENEW_AT * (token.expires - now).total_seconds()))
            self._tokens[(audience, source["path"])] = known
        return File(source["path"], known[0].text.encode(), mode)


def _make_shared(path: Path) -> None:
    """Make a folder that containers of any user may write to."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)
