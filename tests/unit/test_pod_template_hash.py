"""Checks that the fingerprint of a pod template distinguishes specs, and nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given

from tests.render.goldens import manifests
from tests.render.strategies import specs
from tierwise.act.render.pod import pod_spec
from tierwise.api.modeltier import ModelTierSpec
from tierwise.errors import Invalid
from tierwise.pod_template_hash import fingerprint

PREDICTORS = {name: each["spec"]["predictor"] for name, each in manifests().items() if name != "plain-created"}


def _made(predictor: dict[str, Any]) -> dict[str, Any]:
    """What KServe 0.19 and the API server make of a predictor, as seen."""
    pod = copy.deepcopy(predictor)
    del pod["deploymentStrategy"], pod["minReplicas"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
    container = pod["containers"][0]
    container["env"].append({"name": "INFERENCE_SERVICE_NAME", "value": "chat"})
    container |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        container[probe]["successThreshold"] = 1
    for amounts in container["resources"].values():
        amounts["cpu"] = f"{amounts['cpu']}000m" if amounts["cpu"].isdigit() else amounts["cpu"]
    return pod


@pytest.mark.parametrize("name", PREDICTORS)
def test_the_deployment_has_the_fingerprint_of_the_predictor(name: str) -> None:
    assert fingerprint(_made(PREDICTORS[name])) == fingerprint(PREDICTORS[name])


def test_every_engine_feature_has_a_fingerprint_of_its_own() -> None:
    differing: dict[str, set[str]] = {}
    for predictor in PREDICTORS.values():
        pod = {name: value for name, value in predictor.items() if name != "deploymentStrategy"}
        differing.setdefault(fingerprint(predictor), set()).add(json.dumps(pod, sort_keys=True))
    assert [each for each in differing.values() if len(each) > 1] == []


def _pod(written: dict[str, Any]) -> dict[str, Any]:
    spec = ModelTierSpec.model_validate(written)
    assume(spec.model is not None)
    assert spec.model is not None
    try:
        return pod_spec(spec, spec.model)
    except Invalid:
        assume(False)
        raise


@given(specs(), specs())
def test_two_specs_with_different_pods_have_different_fingerprints(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = _pod(one), _pod({**one, **dict(list(other.items())[:2])})
    assert (fingerprint(first) == fingerprint(second)) == (first == second)


@pytest.mark.parametrize("body", [{}, {"containers": None}, {"containers": ["x", {"name": "other"}], "volumes": 3}])
def test_a_half_filled_object_raises_nothing(body: dict[str, Any]) -> None:
    assert len(fingerprint(body)) == 12
