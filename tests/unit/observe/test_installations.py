"""Of several installations of Tierwise exactly one acts in each namespace, and every one of them knows which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.observe.installations import InstallationRecord, binding_trace, deployment_trace, installations
from tierwise.types import ALONE, Installation, Installations

OURS, OTHER = Installation("tierwise-system", "tierwise"), Installation("platform", "tw")
THIRD = Installation("zoo", "tierwise")


def everywhere(who: Installation, at: float) -> InstallationRecord:
    return InstallationRecord(at, who, "")


def named(who: Installation, namespace: str, at: float) -> InstallationRecord:
    return InstallationRecord(at, who, namespace)


def test_alone_it_acts_everywhere() -> None:
    assert installations(OURS, (), [everywhere(OURS, 5), None]) == ALONE
    assert installations(OURS, ("a",), [named(OURS, "a", 5)]) == ALONE


def test_of_two_for_all_namespaces_the_older_acts() -> None:
    traces = [everywhere(OTHER, 9), everywhere(OURS, 5)]
    first, second = installations(OURS, (), traces), installations(OTHER, (), traces)
    assert first.acts("a")
    assert first.still("a") == OTHER
    assert second == Installations(everywhere=OURS, nowhere=True)
    assert not first.nowhere
    assert not second.acts("a")


def test_one_for_named_namespaces_comes_before_one_for_all() -> None:
    traces = [everywhere(OURS, 5), named(OTHER, "a", 9)]
    ours = installations(OURS, (), traces)
    assert (ours.acts("a"), ours.acts("b"), ours.still("b")) == (False, True, None)
    theirs = installations(OTHER, ("a",), [named(OTHER, "a", 9)])  # it may see no more than its own namespaces
    assert theirs.acts("a")


def test_of_two_for_the_same_namespace_the_older_acts() -> None:
    traces = [named(OURS, "a", 5), named(OTHER, "a", 9), named(OTHER, "b", 1), named(OURS, "b", 2), named(OURS, "c", 2)]
    ours = installations(OURS, ("a", "b", "c"), traces)
    assert [ours.acts(each) for each in "abc"] == [True, False, True]
    assert [ours.still(each) for each in "abc"] == [OTHER, None, None]
    theirs = installations(OTHER, ("a", "b"), traces)
    assert [theirs.acts(each) for each in "ab"] == [False, True]
    assert (ours.nowhere, theirs.nowhere) == (False, False)
    assert installations(OTHER, ("a",), traces).nowhere, "others serve all that it would"


def test_a_process_that_no_chart_made_gives_way_to_nobody() -> None:
    assert installations(OURS, (), [everywhere(OTHER, 5)]) == ALONE


def _deployment(label: str = "cluster", **changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "tw",
        "namespace": "platform",
        "creationTimestamp": "1970-01-01T00:00:09Z",
        "labels": {"tierwise.io/installation": label},
    }
    return {"metadata": {**metadata, **changes}, "spec": {"replicas": 1}}


def test_what_a_deployment_tells() -> None:
    assert deployment_trace(_deployment()) == everywhere(OTHER, 9)
    assert deployment_trace({**_deployment(), "spec": {}}) == everywhere(OTHER, 9)
    assert deployment_trace({**_deployment(), "spec": {"replicas": 0}}) is None, "it serves nobody"
    assert deployment_trace(_deployment(deletionTimestamp="1970-01-01T00:00:10Z")) is None
    assert deployment_trace(_deployment("namespaces")) is None, "its RoleBindings tell"
    assert deployment_trace({}) is None


def test_what_a_role_binding_tells() -> None:
    body = {**_deployment("namespaces", namespace="a"), "subjects": [{"name": "sa", "namespace": "platform"}]}
    assert binding_trace(body) == named(OTHER, "a", 9)
    assert binding_trace({**body, **_deployment("cluster")}) is None
    assert binding_trace({}) is None


WHO = st.sampled_from([OURS, OTHER, THIRD])
PLACES = ("a", "b", "c")


@given(st.dictionaries(WHO, st.tuples(st.integers(0, 3), st.sets(st.sampled_from(PLACES))), min_size=1))
def test_in_every_namespace_that_is_served_exactly_one_acts(found: dict[Installation, tuple[int, set[str]]]) -> None:
    """An empty set of namespaces: all of them. One for named namespaces is shown what it may see, no more."""
    traces = [
        InstallationRecord(at, who, place) for who, (at, places) in found.items() for place in (sorted(places) or [""])
    ]
    for place in PLACES:
        acting = []
        for who, (_, places) in found.items():
            seen = [each for each in traces if not places or each.serves in places]
            if (not places or place in places) and installations(who, sorted(places), seen).acts(place):
                acting.append(who)
        served = any(not places or place in places for _, places in found.values())
        assert len(acting) == served, (place, acting)


@pytest.mark.parametrize("place", PLACES)
def test_whoever_keeps_still_is_named(place: str) -> None:
    traces = [named(OURS, place, 1), named(OTHER, place, 2), named(THIRD, place, 3)]
    assert installations(OURS, (place,), traces).still(place) == OTHER
