"""Checks that the operator's image holds all that its entrypoint needs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from tests.image.build import OPERATOR, REPO, run
from tools.locks import check_environment, read

VERSION = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]


def test_the_build_gets_every_package_of_the_wheel() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = {Path(package).parts[0] for package in packages}
    copied = {word.rstrip("/") for line in OPERATOR.instructions("COPY") for word in line.split()}
    sent = {line.removeprefix("!") for line in (REPO / ".dockerignore").read_text().splitlines()}
    assert folders <= copied
    assert folders <= sent


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the Dockerfile makes at /opt/tierwise."""
    return OPERATOR.build(tmp_path_factory.mktemp("image"))


def _as_image(image: Path, *arguments: str) -> str:
    return OPERATOR.call(image, *arguments)


def test_the_image_runs_as_an_ordinary_user_from_a_base_named_by_digest() -> None:
    assert OPERATOR.instructions("USER") == ["65532:65532"]
    assert OPERATOR.instructions("ARG")[0] == "BASE_IMAGE", (
        "a default base could only be a tag, which can change under us"
    )
    assert all(base.startswith("${BASE_IMAGE}") for base in OPERATOR.instructions("FROM"))


def test_the_image_holds_what_its_lock_says_and_all_that_it_requires(image: Path) -> None:
    assert check_environment(REPO / "requirements/runtime.txt", image / "bin/python") == ()


def test_the_command_that_the_chart_starts_is_there(image: Path) -> None:
    assert "--prometheus-url" in _as_image(image, "run", "--help")


def test_the_image_knows_its_version(image: Path) -> None:
    assert VERSION in _as_image(image, "version")


def test_the_crds_come_out_of_the_wheel(image: Path) -> None:
    names = [crd["metadata"]["name"] for crd in yaml.safe_load_all(_as_image(image, "crds"))]
    assert names == ["modeltiers.tierwise.io", "modelroutes.tierwise.io", "gpupools.tierwise.io"]


def test_every_module_of_the_wheel_imports_without_the_development_packages(image: Path) -> None:
    script = (
        "import importlib, pkgutil, tierwise, tierwise_cli, tierwise_operator, tierwise_router, tierwise_sim\n"
        "for package in (tierwise, tierwise_cli, tierwise_operator, tierwise_router, tierwise_sim):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
        "            print(module.name)\n"
    )
    modules = run(image / "bin/python", "-I", "-c", script, cwd=image.parent).split()
    assert "tierwise.reconcile" in modules
    assert "tierwise_cli.main" in modules


def test_a_router_of_the_image_can_send_spans(image: Path) -> None:
    script = "from tierwise_router.tracing import tracing; print(tracing({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://c'}))"
    assert "Tracing" in run(image / "bin/python", "-I", "-c", script, cwd=image.parent)


def test_the_pinned_sets_agree() -> None:
    """A package of the image, or of its build, has the version that the tests ran with."""

    def pins(name: str) -> dict[str, str]:
        found, _ = read((REPO / "requirements" / name).read_text(), name)
        return {f"{pin.name} {pin.marker}": pin.version for pin in found}

    dev = pins("dev.txt")
    for name in ("runtime.txt", "router.txt", "build.txt", "uv.txt"):
        assert pins(name).items() <= dev.items()
