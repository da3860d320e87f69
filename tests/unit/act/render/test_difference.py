"""Every change of what we rendered is named; what others may add, and other spellings of an amount, are not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.render.goldens import manifests
from tierwise.act.render import differences

Object = dict[str, Any]
RENDERED = manifests()["everything"]
CONTAINER = "spec.predictor.containers[kserve-container]"


def _container(live: Object) -> Object:
    found: Object = live["spec"]["predictor"]["containers"][0]
    return found


def after(change: Callable[[Object], object]) -> tuple[str, ...]:
    live = copy.deepcopy(RENDERED)
    change(live)
    return differences(RENDERED, live)


def test_nothing_differs_from_itself() -> None:
    for manifest in manifests().values():
        assert differences(manifest, copy.deepcopy(manifest)) == ()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda o: o["metadata"].update(resourceVersion="7", uid="x", generation=2), id="metadata"),
        pytest.param(lambda o: o["metadata"]["labels"].update(team="search"), id="label"),
        pytest.param(lambda o: o["metadata"]["annotations"].update(note="x"), id="annotation"),
        pytest.param(lambda o: o["metadata"]["ownerReferences"].append({"uid": "2"}), id="second owner"),
        pytest.param(lambda o: o.update(status={"url": "x"}), id="status"),
        pytest.param(lambda o: o["spec"]["predictor"].update(timeout=60), id="unrelated field"),
        pytest.param(lambda o: o["spec"]["predictor"].update(hostNetwork=False, affinity={}), id="empty fields"),
        pytest.param(lambda o: o["spec"]["predictor"]["securityContext"].update(runAsGroup=2000), id="beside ours"),
        pytest.param(lambda o: _container(o).update(workingDir=""), id="empty in the container"),
        pytest.param(
            lambda o: _container(o)["resources"]["limits"].update(cpu="12000m", memory="131072Mi"), id="amount"
        ),
        pytest.param(lambda o: _container(o)["resources"]["requests"].update(cpu=12), id="number"),
        pytest.param(lambda o: o["spec"]["predictor"]["volumes"][0]["emptyDir"].update(sizeLimit="8192Mi"), id="size"),
        pytest.param(lambda o: _container(o)["env"].reverse(), id="order of the environment"),
    ],
)
def test_what_is_no_difference(change: Callable[[Object], object]) -> None:
    assert after(change) == ()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda o: _container(o).update(image="x"), f"{CONTAINER}.image"),
        (lambda o: _container(o)["args"].append("--trust-remote-code"), f"{CONTAINER}.args"),
        (lambda o: _container(o)["args"].reverse(), f"{CONTAINER}.args"),
        (lambda o: _container(o)["env"].append({"name": "DEBUG", "value": "1"}), f"{CONTAINER}.env[DEBUG]"),
        (lambda o: _container(o)["env"].pop(0), f"{CONTAINER}.env[HF_HOME]"),
        (lambda o: _container(o)["env"][0].update(value="/x"), f"{CONTAINER}.env[HF_HOME].value"),
        (lambda o: _container(o).update(env="gone"), f"{CONTAINER}.env[HF_HOME]"),
        (lambda o: _container(o).update(workingDir="/"), f"{CONTAINER}.workingDir"),
        (lambda o: _container(o)["resources"]["limits"].update(memory="1Gi"), f"{CONTAINER}.resources.limits.memory"),
        (lambda o: _container(o)["resources"].pop("requests"), f"{CONTAINER}.resources.requests"),
        (lambda o: _container(o).update(lifecycle=None), f"{CONTAINER}.lifecycle"),
        (
            lambda o: o["spec"]["predictor"]["containers"].append({"name": "sidecar"}),
            "spec.predictor.containers[sidecar]",
        ),
        (lambda o: o["spec"]["predictor"].update(containers=None), CONTAINER),
        (
            lambda o: o["spec"]["predictor"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
            "spec.predictor.volumes[host]",
        ),
        (lambda o: o["spec"]["predictor"].update(minReplicas=1), "spec.predictor.minReplicas"),
        (lambda o: o["spec"]["predictor"].update(hostNetwork=True), "spec.predictor.hostNetwork"),
        (lambda o: o["spec"]["predictor"].update(initContainers=[{"name": "x"}]), "spec.predictor.initContainers"),
        (lambda o: o["spec"]["predictor"].update(priorityClassName="x"), "spec.predictor.priorityClassName"),
        (lambda o: o["spec"]["predictor"]["nodeSelector"].update(zone="a"), "spec.predictor.nodeSelector.zone"),
        (lambda o: o["spec"]["predictor"]["tolerations"].pop(), "spec.predictor.tolerations"),
        (lambda o: o["metadata"]["labels"].pop("tierwise.io/tier"), "metadata.labels.tierwise.io/tier"),
        (lambda o: o["metadata"].pop("ownerReferences"), "metadata.ownerReferences"),
        (lambda o: o.pop("spec"), "spec"),
        (lambda o: o.update(spec="x"), "spec"),
        (lambda o: o["spec"].update(predictor=1), "spec.predictor"),
    ],
)
def test_what_is_a_difference(change: Callable[[Object], object], path: str) -> None:
    assert path in after(change)


@pytest.mark.parametrize(
    ("wanted", "found"), [(1, True), (True, 1), (0, False), ([1], [True]), ({"a": [0]}, {"a": [False]})]
)
def test_a_number_is_no_truth(wanted: Any, found: Any) -> None:
    assert differences({"spec": {"predictor": {"x": wanted}}}, {"spec": {"predictor": {"x": found}}}) != ()


def test_a_secret_that_a_hand_put_there_is_not_repeated() -> None:
    paths = after(lambda o: _container(o)["env"].append({"name": "KEY", "value": "hunter2"}))
    assert "hunter2" not in " ".join(paths)


def test_an_object_that_is_none_differs_as_a_whole() -> None:
    assert differences(RENDERED, {})[0] == "apiVersion"
    strange: Any = "text"
    assert differences({"metadata": {}}, {"metadata": strange}) == ("metadata",)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path


def _replace(manifest: Object, path: tuple[Any, ...], value: Any) -> Object:
    changed = copy.deepcopy(manifest)
    target: Any = changed
    for step in path[:-1]:
        target = target[step]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return changed


@given(st.sampled_from(sorted(_leaves(RENDERED), key=str)), st.sampled_from(["changed", 987654, None]))
def test_no_leaf_can_change_or_vanish_unseen(path: tuple[Any, ...], value: Any) -> None:
    assert differences(RENDERED, _replace(RENDERED, path, value)) != ()
