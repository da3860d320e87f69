"""Does by hand what a Dockerfile of ours does, since there is no container engine here.

The wheel of this tree and the packages of one lock in a fresh environment, nothing else, run as the image's user from a
folder that is not the repository. A forgotten dependency or a file missing from the wheel fails here, not in a cluster.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.isolated import uv

REPO = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; without `environment` it has none but HOME. Fails with its output."""
    clean = {"HOME": str(cwd)} if environment is None else dict(environment)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=600, env=clean
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Image:
    """One Dockerfile below runtime-images, the folder of its wheel's pyproject.toml, and its lock."""

    name: str
    project: Path
    lock: Path

    @property
    def dockerfile(self) -> str:
        """Its text."""
        return (REPO / "runtime-images" / self.name / "Dockerfile").read_text(encoding="utf-8")

    def instructions(self, word: str) -> list[str]:
        """The arguments of every instruction of this kind, continuation lines joined."""
        joined = re.sub(r"\\\n\s*", " ", self.dockerfile)
        return re.findall(rf"^{word} (.*)$", joined, flags=re.MULTILINE)

    def build(self, root: Path) -> Path:
        """The environment that the Dockerfile makes at /opt/tierwise, below `root`."""
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", root / "dist", cwd=self.project)
        (wheel,) = (root / "dist").glob("*.whl")
        venv = root / "tierwise"
        run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=root)
        hashed = ("--require-hashes", "--no-build", self.lock)
        # How this machine reaches a package index is its own business: proxy, certificates, cache.
        pip = (uv(), "pip")
        run(*pip, "sync", "--quiet", "--python", venv / "bin/python", *hashed, cwd=root, environment=os.environ)
        run(*pip, "install", "--quiet", "--python", venv / "bin/python", "--no-deps", "--no-index", wheel, cwd=root)
        return venv

    def command(self, venv: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The image's entrypoint with these arguments, as the image's user, and its environment."""
        (user,) = self.instructions("USER")
        (entrypoint,) = self.instructions("ENTRYPOINT")
        uid, gid = user.split(":")
        program, *rest = yaml.safe_load(entrypoint)
        other_user = ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}")
        environment = {"PATH": f"{venv}/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
        return [*other_user, str(venv / "bin" / program), *rest, *arguments], environment

    def call(self, venv: Path, *arguments: str) -> str:
        """What that prints, once it has ended well."""
        command, environment = self.command(venv, *arguments)
        return run(*command, cwd=venv.parent, environment=environment)


OPERATOR = Image("operator", REPO, REPO / "requirements/runtime.txt")
ROUTER = Image("router", REPO / "router", REPO / "requirements/router.txt")
