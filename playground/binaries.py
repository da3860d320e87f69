"""Builds Kubernetes, KServe, Prometheus and helm from pinned Go modules.

They are ordinary Go programs: `tools/<tool>/go.mod` pins each with all its dependencies, `go build` makes it.
The results go to the user's cache under a key over everything that goes into them, so an unchanged pin is
found at once and a changed one never meets an old binary. A lock keeps two builders apart, and a binary
appears under its name only when it is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playground.cache import cache_root
from playground.errors import PlaygroundError
from playground.kserve import export_manifests

TOOLS = Path(__file__).parent / "tools"
KUBERNETES_VERSION = "v1.35.4"
ERROR_LINES = 20
QUIET_SECONDS = 30.0

_COMPONENT_BASE = "k8s.io/component-base/version"
# Without the stamp the server calls itself v0.0.0 and clients warn about the skew.
_STAMP = (
    f"-X {_COMPONENT_BASE}.gitVersion={KUBERNETES_VERSION} -X {_COMPONENT_BASE}.gitMajor=1 "
    f"-X {_COMPONENT_BASE}.gitMinor=35 -X {_COMPONENT_BASE}.gitTreeState=clean"
)
# Only the Kubernetes service discovery: the others would triple the build.
_PROMETHEUS_TAGS = "remove_all_sd,enable_kubernetes_sd"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: its name in the cache, the folder under tools/ that pins it, its Go package."""

    name: str
    tool: str
    package: str
    tags: str = ""
    ldflags: str = ""


BINARIES: tuple[Binary, ...] = (
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Binary("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", ldflags=_STAMP),
    Binary(
        "kube-controller-manager",
        "kubernetes",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        ldflags=_STAMP,
    ),
    Binary("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", ldflags=_STAMP),
    Binary("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", ldflags=_STAMP),
    Binary("kserve-manager", "kserve", "github.com/kserve/kserve/cmd/manager"),
    Binary("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", tags=_PROMETHEUS_TAGS),
    Binary("promtool", "prometheus", "github.com/prometheus/prometheus/cmd/promtool", tags=_PROMETHEUS_TAGS),
    Binary("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
)


def version_key(tools: Path = TOOLS, binaries: tuple[Binary, ...] = BINARIES) -> str:
    """Return the name of the cache folder: the Kubernetes version and a hash over pins and build flags."""
    digest = hashlib.sha256()
    for tool in sorted({binary.tool for binary in binaries}):
        for name in ("go.mod", "go.sum"):
            digest.update(f"{tool}/{name}\0".encode() + (tools / tool / name).read_bytes())
    digest.update(repr(binaries).encode())
    return f"{KUBERNETES_VERSION}-{digest.hexdigest()[:12]}"


def folder() -> Path:
    """Return the folder that holds the built binaries (it may not exist yet)."""
    return cache_root() / "bin" / version_key()


def missing(where: Path) -> list[Binary]:
    """Return what is not built yet, in build order."""
    return [binary for binary in BINARIES if not os.access(where / binary.name, os.X_OK)]


def ensure(say: Say = print, *, terminal: bool = False) -> Path:
    """Build what is missing; return the folder. At once when nothing is.

    `say` gets progress lines; with `terminal` they come every 5 seconds instead of every 30.
    Raises PlaygroundError if Go is absent or a build fails.
    """
    where = folder()
    manifests = where / "kserve"
    if not missing(where) and manifests.is_dir():
        return where
    where.mkdir(parents=True, exist_ok=True)
    with _lock(cache_root() / "build.lock", say):
        todo = missing(where)
        if todo:
            _check_go()
            names = ", ".join(binary.name for binary in todo)
            say(f"building {names} from source into {where}; the first time takes 10 to 25 minutes")
        started = time.monotonic()
        for number, binary in enumerate(todo, start=1):
            _build(binary, where, _Progress(say, f"{binary.name} ({number}/{len(todo)})", terminal=terminal))
        if todo:
            say(f"all binaries built in {_clock(time.monotonic() - started)}")
        if not manifests.is_dir():
            export_manifests(_module_folder("kserve", "github.com/kserve/kserve"), manifests)
    return where


@contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    """Hold the build lock; the kernel releases it even if we die."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class _Progress:
    say: Say
    title: str
    terminal: bool

    def wait(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for a process, speaking up now and then; return the seconds it took."""
        started = time.monotonic()
        self.say(f"{self.title}: compiling")
        while True:
            try:
                process.wait(5.0 if self.terminal else QUIET_SECONDS)
            except subprocess.TimeoutExpired:
                self.say(f"{self.title}: compiling, {_clock(time.monotonic() - started)}")
            else:
                return time.monotonic() - started


def _build(binary: Binary, where: Path, progress: _Progress) -> None:
    partial = where / f".{binary.name}.partial"
    command = ["go", "build", "-trimpath", "-o", str(partial), f"-ldflags=-s -w {binary.ldflags}".rstrip()]
    if binary.tags:
        command.append(f"-tags={binary.tags}")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*command, binary.package],
            cwd=TOOLS / binary.tool,
            env=_go_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            seconds = progress.wait(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()[-ERROR_LINES:]
            raise PlaygroundError(
                f"building {binary.name} ({binary.package}) failed with exit code {process.returncode}",
                "\n".join(lines),
            )
    partial.replace(where / binary.name)
    progress.say(f"{progress.title}: built in {_clock(seconds)}")


def _go_environment() -> dict[str, str]:
    # The user's own workspace, flags and C compiler must not change what is built.
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def _check_go() -> None:
    if shutil.which("go") is None:
        todo = "Install Go 1.26 or newer and put it on PATH: the control plane is built from source."
        raise PlaygroundError("Go is not installed", todo)


def _module_folder(tool: str, module: str) -> Path:
    result = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module],
        cwd=TOOLS / tool,
        env=_go_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0 or not result.stdout.strip():
        raise PlaygroundError(f"the source of {module} is not in Go's module cache", result.stderr.strip())
    return Path(result.stdout.strip())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
