"""Every example says only what the API knows, has no findings, and is told by its README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.render.goldens import REPO, examples
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import check
from tierwise.observe.pool_records import pool_object
from tierwise.observe.route_object import route_object
from tierwise_router import route_file

TIERS = list(examples())
ROUTE_FILES = sorted(path for path in (REPO / "examples").glob("*/route.yaml") if "apiVersion" not in path.read_text())
FOLDERS = sorted(path for path in (REPO / "examples").iterdir() if path.is_dir())


def _as_text(value: Any) -> Any:
    """Amounts may be written as numbers: compare them as text."""
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else str(value)


def test_every_folder_has_a_tier_or_a_route_file_and_is_in_the_index() -> None:
    routed = {path.parent.relative_to(REPO) for path in ROUTE_FILES}
    assert {path.parent for path, _ in TIERS} | routed == {folder.relative_to(REPO) for folder in FOLDERS}
    index = (REPO / "examples/README.md").read_text(encoding="utf-8")
    assert [folder.name for folder in FOLDERS if f"]({folder.name})" not in index] == []


@pytest.mark.parametrize("path", ROUTE_FILES, ids=lambda path: path.parent.name)
def test_a_route_file_is_understood_and_its_readme_says_how_to_serve_it(path: Path) -> None:
    route = route_file.load(path).route
    assert all(route.tier(rule.tier) is not None for rule in route.rules)
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    assert f"tierwise router --file {path.relative_to(REPO)}" in readme


ROUTES = [
    (path.relative_to(REPO), document)
    for path in sorted((REPO / "examples").glob("*/*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if document and document.get("kind") == "ModelRoute"
]


@pytest.mark.parametrize(("path", "document"), ROUTES, ids=[str(path) for path, _ in ROUTES])
def test_a_route_is_understood_in_full_and_told_by_its_readme(path: Path, document: dict[str, Any]) -> None:
    read = route_object(document)
    assert read.spec is not None, read.invalid
    written = read.spec.model_dump(by_alias=True, exclude_unset=True)
    assert _as_text(written) == _as_text(document["spec"])
    readme = (REPO / path.parent / "README.md").read_text(encoding="utf-8")
    assert path.name in readme
    assert f"modelroute.tierwise.io/{document['metadata']['name']} created" in readme
    tiers = {each["metadata"]["name"] for file, each in TIERS if file.parent == path.parent}
    assert {tier.name for tier in read.spec.tiers} <= tiers


POOLS = [
    (path.relative_to(REPO), document)
    for path in sorted((REPO / "examples").glob("*/*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if document and document.get("kind") == "GPUPool"
]


@pytest.mark.parametrize(("path", "document"), POOLS, ids=[str(path) for path, _ in POOLS])
def test_a_pool_is_understood_in_full_and_told_by_its_readme(path: Path, document: dict[str, Any]) -> None:
    read = pool_object(document)
    assert read.spec is not None, read.invalid
    assert _as_text(read.spec.model_dump(by_alias=True, exclude_unset=True)) == _as_text(document["spec"])
    readme = (REPO / path.parent / "README.md").read_text(encoding="utf-8")
    assert f"kubectl apply -f {path.name}" in readme
    assert f"gpupool.tierwise.io/{document['metadata']['name']} created" in readme
    assert f"kubectl delete -f {path.name}" in readme


@pytest.mark.parametrize(
    ("path", "document"), TIERS, ids=[f"{p.parent.name}-{d['metadata']['name']}" for p, d in TIERS]
)
def test_an_example_is_understood_in_full_and_can_be_served(path: Path, document: dict[str, Any]) -> None:
    assert (document["apiVersion"], document["kind"]) == ("tierwise.io/v1alpha1", "ModelTier")
    spec = ModelTierSpec.model_validate(document["spec"])
    assert _as_text(spec.model_dump(by_alias=True, exclude_unset=True)) == _as_text(document["spec"])
    assert [problem for problem in check(spec) if problem.fatal] == []
    readme = (REPO / path.parent / "README.md").read_text(encoding="utf-8")
    assert f"kubectl apply -f {path.name}" in readme
    assert f"modeltier.tierwise.io/{document['metadata']['name']} created" in readme
    assert f"kubectl delete -f {path.name}" in readme
