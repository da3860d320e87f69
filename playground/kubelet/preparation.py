"""Prepares everything that a container needs to start, and reports what is missing.

The image's entry, the environment, the command line and the mounts. What is missing is tried again for ever,
with the waiting reasons of a kubelet: ErrImagePull and ImagePullBackOff, CreateContainerConfigError.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playground.kubelet.environment import (
    ConfigError,
    Surroundings,
    build_environment,
    command_line,
    references,
)
from playground.kubelet.events import EventRecorder
from playground.kubelet.images import ImageEntry, ImageTable
from playground.kubelet.model import Json
from playground.kubelet.network import Sandbox
from playground.kubelet.process import Launch
from playground.kubelet.projection import VolumeError
from playground.kubelet.sources import Sources
from playground.kubelet.volumes import Mount, PodVolumes

TERMINATION_LOG = "/dev/termination-log"
_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class PodContext:
    """What the containers of one pod have in common."""

    pod: Json
    folder: Path
    logs: Path
    sandbox: Sandbox
    volumes: PodVolumes
    sources: Sources
    images: ImageTable
    events: EventRecorder
    services: Mapping[str, str]
    devices: Mapping[str, Mapping[str, str]]
    etc: Sequence[Mount]
    changed: Callable[[], None]

    @property
    def namespace(self) -> str:
        """Return the pod's namespace."""
        return str(self.pod["metadata"]["namespace"])

    @property
    def title(self) -> str:
        """Return how the kubelet names the pod in its messages: NAME_NAMESPACE(UID)."""
        metadata = self.pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


async def environment(context: PodContext, container: Json, image: ImageEntry) -> dict[str, str]:
    """Return the container's environment. Raises ConfigError, ApiError, AWAY."""
    contents = await context.sources.contents(context.namespace, references(container))
    own = dict(image.environment())
    own |= context.devices.get(container["name"], {})
    around = Surroundings(context.volumes.facts, contents, context.services, own)
    return build_environment(container, around)


def launch(context: PodContext, container: Json, image: ImageEntry, env: dict[str, str]) -> Launch:
    """Return what the launcher is to do; makes the container's own folder. Raises ConfigError, OSError."""
    argv = command_line(container, image.entrypoint, env)
    if not container.get("command") and not container.get("args"):
        argv += image.cmd
    if not argv:
        raise ConfigError("no command specified")
    folder = context.folder / "containers" / container["name"]
    (folder / "root").mkdir(parents=True, exist_ok=True)
    termination = folder / "termination-log"
    termination.write_bytes(b"")
    termination.chmod(0o666)
    try:
        mounts = context.volumes.mounts(container, env)
    except VolumeError as error:
        raise ConfigError(str(error)) from error
    message = container.get("terminationMessagePath") or TERMINATION_LOG
    mounts = [*context.etc, *mounts, Mount(termination, message, read_only=False)]
    return Launch(
        root=folder / "root",
        argv=argv,
        env=env,
        cwd=container.get("workingDir") or image.workdir,
        mounts=[mount.document() for mount in mounts],
        keep=sorted({str(_REPOSITORY), sys.prefix, sys.base_prefix, *image.bin}),
        read_only_root=bool(container.get("securityContext", {}).get("readOnlyRootFilesystem")),
    )


def termination_message(context: PodContext, name: str) -> str:
    """Return what the container left as its last message, at most 4096 bytes. Raises OSError."""
    path = context.folder / "containers" / name / "termination-log"
    return path.read_bytes()[:4096].decode(errors="replace")


def etc_files(folder: Path, pod: Json, address: str, resolver: str) -> list[Mount]:
    """Write the pod's /etc/hosts, hostname, resolv.conf and nsswitch.conf; return their mounts. Raises OSError."""
    metadata, spec = pod["metadata"], pod["spec"]
    host = spec.get("hostname") or metadata["name"]
    names = [host]
    if spec.get("subdomain"):
        names.insert(0, f"{host}.{spec['subdomain']}.{metadata['namespace']}.svc.cluster.local")
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost", f"{address}\t{chr(9).join(names)}"]
    lines += [f"{alias['ip']}\t{chr(9).join(alias['hostnames'])}" for alias in spec.get("hostAliases", [])]
    files = {
        "hosts": "\n".join(lines) + "\n",
        "hostname": host + "\n",
        "resolv.conf": resolver,
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    target = folder / "etc"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, text in files.items():
        (target / name).write_text(text)
    return [Mount(target / name, f"/etc/{name}", read_only=False) for name in files]
