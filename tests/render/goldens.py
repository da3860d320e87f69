"""Renders the InferenceService of each engine feature into one golden file each.

The cases are `cases.yaml` beside this module and every tier of examples/; `make verify` renders them again. A change
of a golden file restarts GPUs on the clusters of users, so it is looked at, committed, and told in CHANGELOG.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tierwise.act.render import Scaler, render
from tierwise.api.gpupool import GPUPoolSpec
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.pool_spec import in_pool
from tierwise.types import TierKey, TierObject
from tools.generated import Files

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
GOLDEN = Path("tests/golden/render")
UID = "6f1c2b1e-0000-4000-8000-000000000001"


class _Plain(yaml.SafeDumper):
    """Without anchors: equal parts are written out, as Kubernetes prints them."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def tier(name: str, spec: Mapping[str, Any], namespace: str = "models", uid: str = UID) -> TierObject:
    """A tier as the API server would have it."""
    parsed = ModelTierSpec.model_validate(spec)
    return TierObject(TierKey(namespace, name), uid, 1, "1", parsed, ModelTierStatus())


def cases() -> dict[str, dict[str, Any]]:
    """The spec of every case by its name, from cases.yaml."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8"))
    return loaded


def examples() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every ModelTier of examples/ with the file it is in, in order."""
    for path in sorted((REPO / "examples").glob("*/*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document.get("kind") == "ModelTier":
                yield path.relative_to(REPO), document


def placed(path: Path, spec: Mapping[str, Any]) -> ModelTierSpec:
    """The spec of a tier as it is in the first pool that it names, which stands in the same example."""
    parsed = ModelTierSpec.model_validate(spec)
    if not parsed.pools:
        return parsed
    files = sorted((REPO / path).parent.glob("*.yaml"))
    found = [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8")) if each]
    (pool,) = (each for each in found if (each["kind"], each["metadata"]["name"]) == ("GPUPool", parsed.pools[0].name))
    return in_pool(parsed, GPUPoolSpec.model_validate(pool["spec"]), None, parsed.pools[0])


def specs() -> dict[str, ModelTierSpec]:
    """Every spec with a model of its own, by the name of its golden file without the ending."""
    written = {name: ModelTierSpec.model_validate(spec) for name, spec in cases().items()}
    for path, document in examples():
        if "model" in document["spec"]:
            name = f"example-{path.parent.name}-{document['metadata']['name']}"
            written[name] = placed(path, document["spec"])
    return written


def manifests() -> dict[str, dict[str, Any]]:
    """Every InferenceService that has a golden file, by the name of the file without its ending.

    The case `plain` is kept in both shapes: as it is created, and as it is from then on."""
    found = {}
    for name, spec in cases().items():
        steps: tuple[Scaler, ...] = ("none", "external") if name == "plain" else ("external",)
        for scaler in steps:
            found[f"{name}-created" if scaler == "none" else name] = render(tier(name, spec), scaler=scaler)
    for path, document in examples():
        if "model" in document["spec"]:
            name = document["metadata"]["name"]
            made = replace(tier(name, document["spec"]), spec=placed(path, document["spec"]))
            found[f"example-{path.parent.name}-{name}"] = render(made, scaler="external")
    return found


def text(manifest: Mapping[str, Any]) -> str:
    """A manifest as YAML, as it is kept."""
    return yaml.dump(dict(manifest), Dumper=_Plain, sort_keys=True, width=4096, allow_unicode=True)


def goldens() -> Files:
    """Every golden file with what it must contain."""
    return {GOLDEN / f"{name}.yaml": text(manifest) for name, manifest in manifests().items()}
