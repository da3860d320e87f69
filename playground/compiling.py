"""Compiles several large Go programs in as little time as two cores allow.

By one `go build` for all of them, so that no core waits while a program is linked. Profiles decided the rest: the
collector runs less often than the compiler's default, no debug information is made that the linker then throws away,
and Go's standard library, which needs nothing from the network, is compiled while the modules are fetched. Go's cache
of compiled packages is several gigabytes that only the next build of the same pins would use: it is kept for a build
that was cut short and removed after one that ended well. Whoever wants to keep it sets GOCACHE.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from playground.cache import cache_root
from playground.errors import PlaygroundError

Say = Callable[[str], None]

ERROR_LINES = 20
POLL_SECONDS = 1.0
TERMINAL_SECONDS = 5.0
QUIET_SECONDS = 30.0
# Fetching waits for the network, not for a core, but Go fetches no more at once than it has cores.
FETCHES = "16"
# It takes less when no module is missing.
FETCHED_SECONDS = 15.0
# The compiler may use more memory before it collects, up to a limit for each of its processes.
COLLECT, MEMORY = "400", "2GiB"


@dataclass(frozen=True, slots=True)
class Job:
    """Go programs of one module: package to ldflags of its own."""

    module: Path
    programs: Mapping[str, str]

    def flags(self) -> list[str]:
        """Return the flags of `go build`; those that shape a package are the same for all, so that all share it."""
        own = [f"-ldflags={package}=-s -w {flags}" for package, flags in self.programs.items() if flags]
        return ["-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w", *own]


@dataclass(frozen=True, slots=True)
class Progress:
    """Says now and then how far it is; `terminal` more often."""

    say: Say
    terminal: bool = False

    def during(self, process: subprocess.Popen[bytes], news: Callable[[], list[str]], state: Callable[[], str]) -> None:
        """Wait for a process. What is new is said at once, the state now and then."""
        began = spoke = time.monotonic()
        while True:
            running = _runs_on(process)
            for line in news():
                self.say(f"{line} after {clock(time.monotonic() - began)}")
            if not running:
                return
            if time.monotonic() - spoke >= (TERMINAL_SECONDS if self.terminal else QUIET_SECONDS):
                spoke = time.monotonic()
                self.say(f"{state()}, {clock(spoke - began)}")


def _runs_on(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def compile_programs(job: Job, target: Path, names: Mapping[str, str], progress: Progress) -> None:
    """Build all programs into the folder `target`; `names` are packages' names there. All or none.

    Raises PlaygroundError if Go is absent or fails.
    """
    if shutil.which("go") is None:
        todo = "Install Go 1.26 or newer and put it on PATH: the control plane is built from source."
        raise PlaygroundError("Go is not installed", todo)
    packages = _fetch(job, progress)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target))
    try:
        with _go(job, "build", "-v", *job.flags(), "-o", f"{partial}/", *job.programs) as run:
            follower = _Follower(partial, names, packages, run)
            progress.during(run.process, follower.news, follower.state)
            run.check(f"building {', '.join(names.values())}", packages)
        for package, name in names.items():
            (partial / executable(package)).replace(target / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def forget() -> None:
    """Remove Go's cache of compiled packages, unless it is the user's own."""
    if "GOCACHE" not in os.environ:
        shutil.rmtree(_own_cache(), ignore_errors=True)


def source(module: Path, path: str) -> Path:
    """Return the folder with the source of a pinned module, fetched if need be. Raises PlaygroundError."""
    job = Job(module, {})
    for command in (("mod", "download", path), ("list", "-m", "-f", "{{.Dir}}", path)):
        with _go(job, *command) as run:
            run.process.wait()
            run.check(f"fetching {path}")
            answer = run.answer().strip()
    return Path(answer)


def executable(package: str) -> str:
    """Return the name that `go build` gives to a program: the last element of its path that is no version."""
    *rest, last = package.split("/")
    return rest[-1] if rest and last[:1] == "v" and last[1:].isdigit() else last


def clock(seconds: float) -> str:
    """Return a duration for a person."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _fetch(job: Job, progress: Progress) -> frozenset[str]:
    """Fetch the modules that are missing, compile Go's own library meanwhile; return all packages' names."""
    with _go(job, "list", "-deps", *job.programs, GOMAXPROCS=FETCHES) as fetch:
        try:
            fetch.process.wait(FETCHED_SECONDS)
        except subprocess.TimeoutExpired:
            _fetch_long(job, progress, fetch.process)
        fetch.check("fetching Go modules")
        return frozenset(fetch.answer().split())


def _fetch_long(job: Job, progress: Progress, fetch: subprocess.Popen[bytes]) -> None:
    progress.say("fetching Go modules, compiling Go's standard library meanwhile")
    with _go(job, "build", *job.flags(), "std") as std:
        progress.during(fetch, list, lambda: "fetching Go modules")
        if fetch.returncode == 0:
            progress.during(std.process, list, lambda: "compiling Go's standard library")
            std.check("compiling Go's standard library")


@dataclass(frozen=True, slots=True)
class _Run:
    """A go command, the file with its answer, and the one with what it says."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def answer(self) -> str:
        return _text(self.out)

    def said(self) -> list[str]:
        return _text(self.err).splitlines()

    def check(self, what: str, noise: frozenset[str] = frozenset()) -> None:
        """Raise PlaygroundError, with the last lines that are not noise, if the command has failed."""
        if self.process.returncode != 0:
            lines = [line for line in self.said() if line not in noise and not line.startswith("go: downloading ")]
            code = self.process.returncode
            raise PlaygroundError(f"{what} failed with exit code {code}", "\n".join(lines[-ERROR_LINES:]))


@dataclass(slots=True)
class _Follower:
    """Tells how far a `go build -v` is, from the programs that have appeared and the packages that it names."""

    partial: Path
    names: Mapping[str, str]
    packages: frozenset[str]
    run: _Run
    built: list[str] = field(default_factory=list)

    def news(self) -> list[str]:
        """Return a line for each program that has appeared since the last time."""
        lines: list[str] = []
        for package, name in self.names.items():
            if name not in self.built and (self.partial / executable(package)).exists():
                self.built.append(name)
                lines.append(f"{name} ({len(self.built)}/{len(self.names)}): built")
        return lines

    def state(self) -> str:
        """Return what is being done."""
        begun = self.packages.intersection(self.run.said())
        return f"compiling: {len(begun)} of {len(self.packages)} packages"


@contextmanager
def _go(job: Job, *arguments: str, **env: str) -> Iterator[_Run]:
    """Run the go command in the job's module. It ends with the block."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            ["go", *arguments],
            cwd=job.module,
            env=_environment() | env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        try:
            yield _Run(process, out, err)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _environment() -> dict[str, str]:
    # The user's own workspace, flags and C compiler must not change what is built.
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    return {"GOGC": COLLECT, "GOMEMLIMIT": MEMORY, "GOCACHE": str(_own_cache()), **os.environ, **fixed}


def _own_cache() -> Path:
    return cache_root() / "go-build"


def _text(output: IO[bytes]) -> str:
    # Go writes at the offset that it shares with us, so that must not move.
    return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0).decode(errors="replace")
