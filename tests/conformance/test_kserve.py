"""Every rendered InferenceService is one for the kserve SDK's own models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.asking import ask
from tests.conformance.environments import kserve_python
from tests.render.goldens import manifests

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def sdk() -> Path:
    return kserve_python()


def test_the_models_know_every_field_and_give_it_back(sdk: Path) -> None:
    assert ask(sdk, "kserve_models.py", question=manifests()) == {}


def test_the_judge_refuses_what_is_wrong(sdk: Path) -> None:
    plain = manifests()["plain"]

    def spoilt(*path: Any, value: Any) -> dict[str, Any]:
        manifest = copy.deepcopy(plain)
        target: Any = manifest
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        return manifest

    predictor = ("spec", "predictor")
    container = (*predictor, "containers", 0)
    wrong = {
        "unknown field of the predictor": spoilt(*predictor, "replicas", value=1),
        "unknown field of the container": spoilt(*container, "livenessProb", value={}),
        "number as text": spoilt(*predictor, "minReplicas", value="0"),
        "text as number": spoilt(*container, "image", value=33),
        "list as object": spoilt(*container, "env", value={"A": "1"}),
        "missing name": spoilt(*container, "ports", value=[{"name": "http"}]),
    }
    assert set(ask(sdk, "kserve_models.py", question=wrong)) == set(wrong)
