"""Builds Kubernetes, KServe, Prometheus and helm from pinned Go modules.

They are ordinary Go programs: `tools/go.mod` pins all of them with their dependencies, `go build` makes them. A program
that is there already, of exactly the pinned release, is used instead. The results go to the user's cache under a key
over everything that goes into them, so an unchanged pin is found at once and a changed one never meets an old binary.
A lock keeps two builders apart, and a binary appears under its name only when it is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playground import compiling
from playground.cache import cache_root
from playground.compiling import Say, clock
from playground.existing import Wanted, adopt
from playground.kserve import export_manifests
from playground.prometheus_source import PLUGINS, module_with_copy
from playground.versions import KSERVE, KUBERNETES, PROMETHEUS, TOOLS, VersionSet, chosen, pinned, release

ETCD, HELM = "go.etcd.io/etcd/server/v3", "helm.sh/helm/v4"
MANIFESTS = "kserve"
HOW_LONG = "once; up to a quarter of an hour on two cores that have nothing else to do"


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: its name in the cache, its Go package, the module whose version is its release.

    `question` are the arguments with which it tells its release; without, it is always built. `stamps` are the
    variables in which it keeps its release, each with a template for it.
    """

    name: str
    package: str
    module: str
    question: tuple[str, ...] = ("--version",)
    stamps: tuple[tuple[str, str], ...] = ()


_VERSION = "k8s.io/component-base/version"
# Without them the server calls itself v0.0.0 and clients warn about the skew.
_KUBERNETES = (
    (f"{_VERSION}.gitVersion", "v{release}"),
    (f"{_VERSION}.gitMajor", "{kubernetes_major}"),
    (f"{_VERSION}.gitMinor", "{kubernetes_minor}"),
    (f"{_VERSION}.gitTreeState", "clean"),
)
# Without them helm takes a chart to be for Kubernetes 1.20.
_HELM = (
    (f"{HELM}/internal/version.version", "v{release}"),
    *(
        (f"{HELM}/{package}k8sVersion{part}", f"{{kubernetes_{part.lower()}}}")
        for package in ("pkg/chart/common.", "pkg/chart/v2/lint/rules.")
        for part in ("Major", "Minor")
    ),
)
_PROMETHEUS = (("github.com/prometheus/common/version.Version", "{release}"),)


def _kubernetes(name: str, *question: str) -> Binary:
    return Binary(name, f"{KUBERNETES}/cmd/{name}", KUBERNETES, question or ("--version",), _KUBERNETES)


BINARIES: tuple[Binary, ...] = (
    Binary("etcd", ETCD, ETCD),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubectl", "version", "--client"),
    Binary("kserve-manager", f"{KSERVE}/cmd/manager", KSERVE, question=()),
    Binary("prometheus", f"{PROMETHEUS}/cmd/prometheus", PROMETHEUS, stamps=_PROMETHEUS),
    Binary("promtool", f"{PROMETHEUS}/cmd/promtool", PROMETHEUS, stamps=_PROMETHEUS),
    Binary(
        "helm",
        f"{HELM}/cmd/helm",
        HELM,
        question=("version", "--short"),
        stamps=_HELM,
    ),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is built: programs, the Go module that pins them, and whether KServe's manifests come with them.

    `base` is another recipe, which gives what this one lacks.
    """

    binaries: tuple[Binary, ...] = BINARIES
    tools: Path = TOOLS
    manifests: bool = True
    base: Recipe | None = None

    def key(self) -> str:
        """Return the name of the cache folder: the Kubernetes version and a hash over pins and build flags."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update(f"{name}\0".encode() + (self.tools / name).read_bytes())
        digest.update(repr((self.binaries, self.job(self.binaries, self.tools).flags(), PLUGINS)).encode())
        if self.base is not None:
            digest.update(self.base.key().encode())
        return f"{pinned(KUBERNETES, self.tools)}-{digest.hexdigest()[:12]}"

    def folder(self) -> Path:
        """Return the folder that holds the binaries (it may not exist yet)."""
        return cache_root() / "bin" / self.key()

    def missing(self) -> tuple[Binary, ...]:
        """Return what is not there yet, in order."""
        return tuple(binary for binary in self.binaries if not os.access(self.folder() / binary.name, os.X_OK))

    def complete(self) -> bool:
        """Return whether everything is there."""
        names = self.names() if self.base is None else {*self.names(), *self.base.names()}
        return not self.missing() and all((self.folder() / name).exists() for name in names)

    def names(self) -> set[str]:
        """Return what this recipe puts into its folder itself."""
        return {binary.name for binary in self.binaries} | ({MANIFESTS} if self.manifests else set())

    def job(self, binaries: tuple[Binary, ...], module: Path) -> compiling.Job:
        """Return how some of them are compiled, in a module with the same pins."""
        return compiling.Job(module, {binary.package: self._stamps(binary) for binary in binaries})

    def _stamps(self, binary: Binary) -> str:
        if not binary.stamps:
            return ""
        number = release(binary.module, self.tools)
        kubernetes = release(KUBERNETES, self.tools).split(".")
        values = {"release": number, "kubernetes_major": kubernetes[0], "kubernetes_minor": kubernetes[1]}
        filled = ((name, text.format_map(values)) for name, text in binary.stamps)
        return " ".join(f"-X {name}={text}" for name, text in filled)


def recipe_of(versions: VersionSet | None) -> Recipe:
    """Return what is built for a set of versions, or usually."""
    if versions is None:
        return Recipe()
    own = tuple(binary for binary in BINARIES if binary.name in versions.programs)
    return Recipe(own, versions.tools, manifests=versions.module == KSERVE, base=Recipe())


def folder() -> Path:
    """Return the folder that holds the binaries (it may not exist yet)."""
    return recipe_of(chosen()).folder()


def ensure(say: Say = print, *, terminal: bool = False, recipe: Recipe | None = None) -> Path:
    """Build what is missing; return the folder. At once when nothing is.

    `say` gets progress lines; with `terminal` they come every 5 seconds instead of every 30. Without `recipe` it is
    the one of the chosen set of versions. Raises PlaygroundError if Go is absent or a build fails.
    """
    wanted = recipe or recipe_of(chosen())
    where = wanted.folder()
    if wanted.complete():
        return where
    if wanted.base is not None:
        ensure(say, terminal=terminal, recipe=wanted.base)
    where.mkdir(parents=True, exist_ok=True)
    with _lock(cache_root() / "build.lock", say):
        todo = tuple(binary for binary in wanted.missing() if not _adopted(binary, wanted, say))
        if todo:
            _build(todo, wanted, compiling.Progress(say, terminal))
        if wanted.manifests and not (where / MANIFESTS).is_dir():
            export_manifests(compiling.source(wanted.tools, KSERVE), where / MANIFESTS)
        if wanted.base is not None:
            _link(wanted, wanted.base)
        compiling.forget()
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


def _link(recipe: Recipe, base: Recipe) -> None:
    for name in sorted(base.names() - recipe.names()):
        link = recipe.folder() / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(Path("..") / base.key() / name)


def _adopted(binary: Binary, recipe: Recipe, say: Say) -> bool:
    if not binary.question:
        return False
    wanted = Wanted(binary.name, release(binary.module, recipe.tools), binary.question)
    found = adopt(wanted, recipe.folder() / binary.name)
    if found is None:
        return False
    say(f"{binary.name}: {found} is release {wanted.release}, as pinned: used, not built")
    return True


def _build(todo: tuple[Binary, ...], recipe: Recipe, progress: compiling.Progress) -> None:
    where, began = recipe.folder(), time.monotonic()
    names = {binary.package: binary.name for binary in todo}
    progress.say(f"building {', '.join(names.values())} from source into {where}; {HOW_LONG}")
    with _module(todo, recipe) as module:
        compiling.compile_programs(recipe.job(todo, module), where, names, progress)
    progress.say(f"built in {clock(time.monotonic() - began)}")


@contextmanager
def _module(todo: tuple[Binary, ...], recipe: Recipe) -> Iterator[Path]:
    """Give the module in which these are compiled."""
    if all(binary.module != PROMETHEUS for binary in todo):
        yield recipe.tools
        return
    target = cache_root() / "source"
    try:
        yield module_with_copy(recipe.tools, compiling.source(recipe.tools, PROMETHEUS), target)
    finally:
        shutil.rmtree(target, ignore_errors=True)
