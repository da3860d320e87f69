"""Checks that no shell stands between what a user wrote and what runs.

A shell would split, expand and execute; and it would swallow SIGTERM, with which an engine begins to drain. Looked at
are the pods that Tierwise renders, those of its charts, and the images of this repository. Kubernetes has an expansion
of its own, `$(NAME)` in commands, arguments and environment: none of them holds a dollar that a user could write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from tests.render import goldens
from tests.render.strategies import WRITTEN_ARGUMENTS, specs
from tierwise.act.render import render
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import check

REPO = Path(__file__).resolve().parents[3]
SHELL = re.compile(r"(?:^|/)(?:ba|da|a|z|k|c|tc|fi)?sh$|(?:^|/)(?:busybox|env|eval|su|xargs)$")
CHARTS = sorted((REPO / "tests/golden/chart").glob("*.yaml"))
IMAGES = sorted((REPO / "runtime-images").glob("*/Dockerfile"))
LAUNCHERS = sorted(path for path in (REPO / "runtime-images").glob("*/bin/*") if path.is_file())


def containers(tree: Any) -> Iterator[dict[str, Any]]:
    """Every container anywhere in an object, init containers too."""
    if isinstance(tree, list):
        for each in tree:
            yield from containers(each)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("containers", "initContainers", "ephemeralContainers"):
                yield from value
            yield from containers(value)


def executions(tree: Any) -> Iterator[list[str]]:
    """Every command of a probe or a lifecycle hook."""
    if isinstance(tree, list):
        for each in tree:
            yield from executions(each)
    elif isinstance(tree, dict):
        if isinstance(tree.get("exec"), dict):
            yield tree["exec"]["command"]
        for value in tree.values():
            yield from executions(value)


def complaints(container: dict[str, Any]) -> list[str]:
    """What a shell, or an expansion, could get hold of."""
    command = [*container.get("command", []), *container.get("args", [])]
    found = [f"a shell: {word}" for word in command[:2] if SHELL.search(word)]
    found += [f"a shell in a hook: {words}" for words in executions(container)]
    values = [each.get("value", "") for each in container.get("env", [])]
    found += [f"an expansion: {text}" for text in command if "$" in text]
    return found + [f"an expansion: {text}" for text in values if "$(" in text]


def test_the_look_out_sees_shells_and_expansions() -> None:
    for command in (["sh"], ["/bin/bash"], ["/usr/bin/env", "sh"], ["tini", "/bin/dash"], ["busybox", "sh"]):
        assert complaints({"command": command})
    assert complaints({"command": ["vllm"], "args": ["--x=$(HF_TOKEN)"]})
    assert complaints({"lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}}})
    assert complaints({"env": [{"name": "STORAGE_URI", "value": "s3://$(HF_TOKEN)"}]})
    assert not complaints({"command": ["vllm", "serve"], "args": ["--served-model-name", "sh"]})


@pytest.mark.parametrize("name", sorted(goldens.specs()))
def test_a_rendered_engine_is_started_directly(name: str) -> None:
    manifest = render(goldens.tier(name.lower()[:40], goldens.specs()[name].model_dump(by_alias=True)), scaler="none")
    started(manifest)


def started(manifest: dict[str, Any]) -> None:
    """The engine is started directly, and so is what fetches its adapters."""
    programs = {tuple(each["command"]) for each in containers(manifest) if each["name"] != "kserve-container"}
    (engine,) = (each for each in containers(manifest) if each["name"] == "kserve-container")
    assert engine["command"] == ["vllm", "serve"]
    assert programs <= {("hf",)}
    assert [complaints(each) for each in containers(manifest) if complaints(each)] == []


@settings(max_examples=60, deadline=None)
@given(specs(WRITTEN_ARGUMENTS))
def test_so_is_every_engine_that_anybody_can_write(written: dict[str, Any]) -> None:
    if any(problem.fatal for problem in check(ModelTierSpec.model_validate(written))):
        return
    started(render(goldens.tier("chat", written), scaler="external"))


@pytest.mark.parametrize("path", CHARTS, ids=lambda path: path.stem)
def test_the_charts_start_their_containers_directly(path: Path) -> None:
    found = list(containers(list(yaml.safe_load_all(path.read_text(encoding="utf-8")))))
    assert found
    assert [complaint for container in found for complaint in complaints(container)] == []


def test_no_value_of_the_chart_is_put_into_the_code_of_its_test() -> None:
    """The test pod runs a few lines of Python; what the installer chose reaches them as an argument."""
    for template in sorted((REPO / "charts").glob("*/templates/**/*.yaml")):
        for code in re.findall(r"- \|\n((?:\s{10,}.*\n)+)", template.read_text(encoding="utf-8")):
            assert "{{" not in code, template.name


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.parent.name)
def test_an_image_starts_its_program_directly(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [line for line in lines if line.startswith(("ENTRYPOINT", "CMD"))]
    assert any(line.startswith("ENTRYPOINT") for line in starts)
    for line in starts:
        words = json.loads(line.partition(" ")[2])  # the exec form is a JSON list; the shell form is not
        assert not any(SHELL.search(word) for word in words), line
    assert not any(line.startswith(("SHELL", "HEALTHCHECK")) for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.parent.parent.name)
def test_a_launcher_is_no_shell_script(path: Path) -> None:
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first == "#!/usr/bin/env python3"
    code = "\n".join(rest)
    assert not re.search(r"shell\s*=\s*True|os\.system|os\.popen|\bsh\b.*-c", code)
