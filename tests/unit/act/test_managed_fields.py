"""Checks that the manager that owns a changed field is named, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from tierwise.act.managed_fields import describe_edit, editors


def entry(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


FOUND = {
    "metadata": {
        "managedFields": [
            entry("tierwise", {"f:spec": {"f:predictor": {"f:shm": {}, "f:minReplicas": {}}}}),
            entry("kubectl-edit", {"f:spec": {"f:predictor": {".": {}, "f:minReplicas": {}}}}),
            entry("argo", {"f:metadata": {"f:labels": {"f:tierwise.io/tier": {}}}}),
            entry("kustomize", {"f:spec": {"f:predictor": {"f:containers": {}}}}),
            entry("manager", {"f:status": {"f:url": {}}}, subresource="status"),
            entry("sidecars", {"f:spec": {"f:predictor": {"f:volumes": {'k:{"name":"x"}': {".": {}}}}}}),
        ]
    }
}


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("spec.predictor.minReplicas", ("kubectl-edit",)),
        ("metadata.labels.tierwise.io/tier", ("argo",)),
        ("metadata.labels.tierwise.io", ()),
        ("spec.predictor.containers[kserve-container].image", ("kustomize",)),
        ("spec.predictor.container", ()),
        ("spec.predictor.shm", ()),
        ("status.url", ()),
        ("spec.predictor.volumes[x]", ()),
    ],
)
def test_the_owner_of_a_field_is_named(path: str, who: tuple[str, ...]) -> None:
    assert editors(FOUND, [path], "tierwise") == who


def test_who_is_said_if_it_is_known() -> None:
    paths = ["metadata.labels.tierwise.io/tier", "spec.predictor.minReplicas"]
    assert describe_edit(FOUND, paths, "tierwise").endswith("spec.predictor.minReplicas: changed by argo, kubectl-edit")
    assert describe_edit({"metadata": {}}, paths[:1], "tierwise") == "metadata.labels.tierwise.io/tier: changed by hand"
    assert describe_edit({"metadata": {}}, list("abcde"), "tierwise") == "a, b, c and 2 more: changed by hand"


def test_a_name_of_any_length_is_cut() -> None:
    found = {"metadata": {"managedFields": [entry("x" * 500, {"f:a": {}})]}}
    assert editors(found, ["a"], "tierwise") == ("x" * 64,)
