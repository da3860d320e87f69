"""Makes the environments of the conformance tests that cannot share ours.

The kserve SDK wants an older Kubernetes client than ours, and vLLM's code has dependencies of gigabytes. Of a vLLM
release only the Python code is kept: 60 MB instead of 1 GB.

`python -m tests.conformance.environments` makes all of them and shows progress; `make test-conformance` begins with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.isolated import REQUIREMENTS, environment, folder, install, made_once

RELEASES = ("0.30", "0.32", "0.33")
_KIND = "conformance"
_KEPT = {".py", ".json"}


def kserve_python() -> Path:
    """The interpreter with the kserve SDK."""
    return environment(_KIND, "kserve", REQUIREMENTS / "conformance-kserve.txt")


def kernels_python() -> Path:
    """The interpreter with the measured kernels."""
    return environment("kernels", "kernels", REQUIREMENTS / "kernels.txt")


def vllm_python() -> Path:
    """The interpreter with the few packages that vLLM's argument parser needs."""
    return environment(_KIND, "vllm", REQUIREMENTS / "conformance-vllm.txt")


def vllm_code(release: str) -> Path:
    """The folder that holds the package `vllm` of a minor release, without its binaries."""
    requirements = REQUIREMENTS / f"conformance-vllm-{release}.txt"
    place = folder(_KIND, f"vllm-{release}", requirements)
    with made_once(place) as make:
        if make:
            # Without a cache: a wheel of 1 GB is unpacked once and stripped.
            options = ("--no-cache", "--no-deps", "--python", sys.executable, "--target", str(place))
            install(f"code of vLLM {release}", "install", *options, "--requirement", str(requirements))
            _strip(place)
    return place


def _strip(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in _KEPT:
            path.unlink()


def main() -> int:
    """Make everything that is missing."""
    kserve_python()
    vllm_python()
    if sys.version_info < (3, 14):
        kernels_python()
    for release in RELEASES:
        vllm_code(release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
