"""Checks that the router's image holds all that its entrypoint needs, and none of what decides and writes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.image.build import REPO, ROUTER, run
from tierwise.act.render.router import USER
from tools.locks import check_environment, distributions_of

WHOLE = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
OWN = tomllib.loads((REPO / "router/pyproject.toml").read_text())["project"]
WRITES = (
    "tierwise_cli",
    "tierwise_operator",
    "tierwise_sim",
    "tierwise.act",
    "tierwise.decide",
    "tierwise.report",
    "tierwise.reconcile",
)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the Dockerfile makes at /opt/tierwise."""
    return ROUTER.build(tmp_path_factory.mktemp("router-image"))


def test_the_build_gets_every_folder_that_the_wheel_is_made_of() -> None:
    copied = {word.rstrip("/") for line in ROUTER.instructions("COPY") for word in line.split()}
    sent = {line.removeprefix("!") for line in (REPO / ".dockerignore").read_text().splitlines()}
    assert {"router", "controllers", "requirements", "LICENSE"} <= copied & sent


def test_the_image_runs_as_the_user_of_the_pods_from_a_base_named_by_digest() -> None:
    assert ROUTER.instructions("USER") == [f"{USER}:{USER}"]
    assert ROUTER.instructions("ARG")[0] == "BASE_IMAGE", (
        "a default base could only be a tag, which can change under us"
    )
    assert all(base.startswith("${BASE_IMAGE}") for base in ROUTER.instructions("FROM"))


def test_its_requirements_are_those_of_the_whole() -> None:
    whole = {Requirement(text) for text in WHOLE["dependencies"]}
    assert {Requirement(text) for text in OWN["dependencies"]} <= whole
    assert (OWN["version"], OWN["requires-python"]) == (WHOLE["version"], WHOLE["requires-python"])
    (script,) = OWN["scripts"].items()
    assert script in WHOLE["scripts"].items()


def test_the_image_holds_what_its_lock_says_and_all_that_it_requires(image: Path) -> None:
    assert check_environment(ROUTER.lock, image / "bin/python") == ()


def test_neither_kopf_nor_what_writes_to_a_cluster_is_in_it(image: Path) -> None:
    assert not {"kopf", "prometheus-api-client", "rich"} & distributions_of(image / "bin/python").keys()
    script = (
        "import importlib.util, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        found = importlib.util.find_spec(name)\n"
        "    except ModuleNotFoundError:\n"
        "        found = None\n"
        "    print(name if found else '')\n"
    )
    assert run(image / "bin/python", "-I", "-c", script, *WRITES, cwd=image.parent).split() == []


def test_every_module_of_the_wheel_imports(image: Path) -> None:
    script = (
        "import importlib, pkgutil, tierwise, tierwise_router\n"
        "for package in (tierwise, tierwise_router):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "        print(module.name)\n"
    )
    modules = run(image / "bin/python", "-I", "-c", script, cwd=image.parent).split()
    assert {"tierwise_router.kubernetes_source", "tierwise_router.relay", "tierwise.routing.replica"} <= set(modules)


def test_time_zones_are_known_without_those_of_the_system(image: Path) -> None:
    script = "import zoneinfo; zoneinfo.reset_tzpath(()); print(zoneinfo.ZoneInfo('Europe/Berlin'))"
    assert run(image / "bin/python", "-I", "-c", script, cwd=image.parent) == "Europe/Berlin\n"


def test_it_can_send_spans(image: Path) -> None:
    script = "from tierwise_router.tracing import tracing; print(tracing({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://c'}))"
    assert "Tracing" in run(image / "bin/python", "-I", "-c", script, cwd=image.parent)


def test_the_entrypoint_knows_its_version_and_takes_the_arguments_of_the_pods(image: Path) -> None:
    assert ROUTER.call(image, "--version") == OWN["version"] + "\n"
    assert "--route" in ROUTER.call(image, "router", "--help")


def test_it_serves_a_route_and_says_what_is_wrong_with_one(image: Path, tmp_path: Path) -> None:
    route = {"name": "chat", "tiers": [{"name": "small", "model": "m", "servers": ["http://127.0.0.1:9"]}]}
    file = tmp_path / "route.yaml"
    file.write_text(yaml.safe_dump(route))
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    command, environment = ROUTER.command(image, "router", f"--file={file}", "--port=0", "--metrics-port=0")
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # a collector that is away costs nothing
    with subprocess.Popen(command, cwd=image.parent, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            (url,) = re.findall(r"http://\S+/v1", process.stderr.readline())
            with urllib.request.urlopen(f"{url}/models", timeout=60) as answer:
                assert [model["id"] for model in json.load(answer)["data"]] == ["chat", "small"]
        finally:
            process.terminate()
            _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    file.write_text(yaml.safe_dump({**route, "teirs": []}))
    command, environment = ROUTER.command(image, f"--file={file}")
    refused = subprocess.run(command, cwd=image.parent, env=environment, capture_output=True, text=True, timeout=180)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("tierwise-router: ")
    assert "teirs" in refused.stderr
