"""Labels, annotations and variables of a tier's pods: what is rendered, and how it leaves the object again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from tests.render.goldens import tier
from tests.render.strategies import KEYS
from tierwise.act.render import differences, render
from tierwise.errors import Invalid
from tierwise.kube.objects import RENDERED

PLAIN: dict[str, Any] = {"model": {"name": "chat", "uri": "hf://Qwen/Qwen3-8B"}}
OWN = {"labels": {"team": "search"}, "annotations": {"example.com/note": "x"}}


def rendered(**fields: Any) -> dict[str, Any]:
    return render(tier("chat", {**PLAIN, **fields}), scaler="external")


def predictor(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = rendered(**fields)["spec"]["predictor"]
    return found


def test_they_stand_on_the_predictor_and_not_on_the_object() -> None:
    manifest = rendered(podMetadata=OWN)
    assert manifest["metadata"] == rendered()["metadata"]
    assert manifest["spec"]["predictor"]["labels"] == {"team": "search"}
    annotations = manifest["spec"]["predictor"]["annotations"]
    assert annotations.pop(RENDERED)
    assert annotations == {"example.com/note": "x"}


def test_without_any_nothing_is_rendered() -> None:
    assert not {"labels", "annotations"} & predictor(podMetadata={"labels": {}, "annotations": {}}, env=[]).keys()


@pytest.mark.parametrize(
    "now",
    [
        pytest.param({}, id="all"),
        pytest.param({"podMetadata": {"labels": {"team": "search"}}}, id="the annotation"),
        pytest.param({"podMetadata": {"annotations": OWN["annotations"]}}, id="the label"),
    ],
)
def test_what_leaves_the_tier_is_a_difference(now: dict[str, Any]) -> None:
    assert f"spec.predictor.annotations.{RENDERED}" in differences(rendered(**now), rendered(podMetadata=OWN))


def test_what_others_put_beside_it_is_theirs() -> None:
    live = copy.deepcopy(rendered(podMetadata=OWN))
    live["spec"]["predictor"]["labels"]["policy"] = "webhook"
    live["spec"]["predictor"]["annotations"]["policy"] = "webhook"
    assert differences(rendered(podMetadata=OWN), live) == ()
    plain = copy.deepcopy(rendered())
    plain["spec"]["predictor"]["labels"] = {"policy": "webhook"}
    assert differences(rendered(), plain) == ()


def test_a_value_changed_by_hand_is_a_difference() -> None:
    live = copy.deepcopy(rendered(podMetadata=OWN))
    live["spec"]["predictor"]["labels"]["team"] = "other"
    assert differences(rendered(podMetadata=OWN), live) == ("spec.predictor.labels.team",)


def test_variables_stand_among_ours_by_name() -> None:
    variables = [
        {"name": "Z_HOST", "configMapKeyRef": {"name": "network", "key": "host"}},
        {"name": "EMPTY", "value": ""},
        {"name": "A_KEY", "secretKeyRef": {"name": "keys", "key": "a"}},
    ]
    ours = predictor()["containers"][0]["env"]
    assert predictor(env=variables)["containers"][0]["env"] == [
        {"name": "A_KEY", "valueFrom": {"secretKeyRef": {"key": "a", "name": "keys"}}},
        {"name": "EMPTY", "value": ""},
        *ours,
        {"name": "Z_HOST", "valueFrom": {"configMapKeyRef": {"key": "host", "name": "network"}}},
    ]
    assert predictor(env=variables[::-1]) == predictor(env=variables)


@given(KEYS)
def test_no_object_that_is_older_than_a_rule_takes_a_key_of_others(name: str) -> None:
    for key in (f"tierwise.io/{name}", f"serving.kserve.io/{name}", f"x.kserve.io/{name}", "component"):
        with pytest.raises(Invalid, match="belongs to Tierwise, KServe or Kubernetes"):
            predictor(podMetadata={"labels": {key: "a"}})
    assert predictor(podMetadata={"labels": {f"kserve.io.example.com/{name}": "a"}})["labels"]
