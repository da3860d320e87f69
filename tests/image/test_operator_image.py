"""Checks that the operator's image holds all that its entrypoint needs.

There is no container engine here, so the steps of runtime-images/operator/Dockerfile are done by hand: the wheel of
this tree and the packages of requirements/runtime.txt in a fresh environment, nothing else, run as uid 65532 from a
folder that is not the repository. A forgotten dependency or a file missing from the wheel fails here, not in a cluster.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.isolated import uv
from tools.locks import check_environment, read

REPO = Path(__file__).resolve().parents[2]
DOCKERFILE = (REPO / "runtime-images/operator/Dockerfile").read_text()
VERSION = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]


def _instructions(word: str) -> list[str]:
    """The arguments of every instruction of this kind, continuation lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return re.findall(rf"^{word} (.*)$", joined, flags=re.MULTILINE)


def _run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    clean = {"HOME": str(cwd)} if environment is None else dict(environment)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=600, env=clean
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_build_gets_every_package_of_the_wheel() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = {Path(package).parts[0] for package in packages}
    copied = {word.rstrip("/") for line in _instructions("COPY") for word in line.split()}
    sent = {line.removeprefix("!") for line in (REPO / ".dockerignore").read_text().splitlines()}
    assert folders <= copied
    assert folders <= sent


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the Dockerfile makes at /opt/tierwise."""
    root = tmp_path_factory.mktemp("image")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", root / "dist", cwd=REPO)
    (wheel,) = (root / "dist").glob("*.whl")
    venv = root / "tierwise"
    _run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=root)
    hashed = ("--require-hashes", "--no-build", REPO / "requirements/runtime.txt")
    # How this machine reaches a package index is its own business: proxy, certificates, cache.
    pip = (uv(), "pip")
    _run(*pip, "sync", "--quiet", "--python", venv / "bin/python", *hashed, cwd=root, environment=os.environ)
    _run(*pip, "install", "--quiet", "--python", venv / "bin/python", "--no-deps", "--no-index", wheel, cwd=root)
    return venv


def _as_image(image: Path, *arguments: str) -> str:
    """Runs the image's entrypoint with these arguments, as the image's user."""
    (user,) = _instructions("USER")
    (entrypoint,) = _instructions("ENTRYPOINT")
    uid, gid = user.split(":")
    program, *rest = yaml.safe_load(entrypoint)
    other_user = ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}")
    done = subprocess.run(
        [*other_user, str(image / "bin" / program), *rest, *arguments],
        cwd=image.parent,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": f"{image}/bin:/usr/bin:/bin", "HOME": "/nonexistent"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_image_runs_as_an_ordinary_user_from_a_base_named_by_digest() -> None:
    assert _instructions("USER") == ["65532:65532"]
    assert _instructions("ARG")[0] == "BASE_IMAGE", "a default base could only be a tag, which can change under us"
    assert all(base.startswith("${BASE_IMAGE}") for base in _instructions("FROM"))


def test_the_image_holds_what_its_lock_says_and_all_that_it_requires(image: Path) -> None:
    assert check_environment(REPO / "requirements/runtime.txt", image / "bin/python") == ()


def test_the_command_that_the_chart_starts_is_there(image: Path) -> None:
    assert "--prometheus-url" in _as_image(image, "run", "--help")


def test_the_image_knows_its_version(image: Path) -> None:
    assert VERSION in _as_image(image, "version")


def test_the_crds_come_out_of_the_wheel(image: Path) -> None:
    names = [crd["metadata"]["name"] for crd in yaml.safe_load_all(_as_image(image, "crds"))]
    assert names == ["modeltiers.tierwise.io", "modelroutes.tierwise.io"]


def test_every_module_of_the_wheel_imports_without_the_development_packages(image: Path) -> None:
    script = (
        "import importlib, pkgutil, tierwise, tierwise_operator, tierwise_router, tierwise_sim\n"
        "for package in (tierwise, tierwise_operator, tierwise_router, tierwise_sim):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
        "            print(module.name)\n"
    )
    modules = _run(image / "bin/python", "-I", "-c", script, cwd=image.parent).split()
    assert "tierwise.reconcile" in modules
    assert "tierwise_operator.cli" in modules


def test_a_router_of_the_image_can_send_spans(image: Path) -> None:
    script = "from tierwise_router.tracing import tracing; print(tracing({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://c'}))"
    assert "Tracing" in _run(image / "bin/python", "-I", "-c", script, cwd=image.parent)


def test_the_pinned_sets_agree() -> None:
    """A package of the image, or of its build, has the version that the tests ran with."""

    def pins(name: str) -> dict[str, str]:
        found, _ = read((REPO / "requirements" / name).read_text(), name)
        return {f"{pin.name} {pin.marker}": pin.version for pin in found}

    dev = pins("dev.txt")
    for name in ("runtime.txt", "build.txt", "uv.txt"):
        assert pins(name).items() <= dev.items()
