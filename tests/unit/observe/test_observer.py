"""One observer sees every world as if it were the first, however many it has seen before."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.observe import bodies
from tests.unit.observe.test_world import FULL, NOW, sampled, world
from tierwise.observe import Observer, Samples, World, observe
from tierwise.observe import signals as kinds
from tierwise.observe.gpu_inventory import node_record
from tierwise.runtime.turns import at_once
from tierwise.types import Signal, TierSignals, TierView
from tierwise.types.model_metadata import ModelMetadata, ModelMetadataSet, Repository

PARTS: dict[str, list[list[dict[str, object]]]] = {
    "pods": [
        [bodies.pod("a"), bodies.pod("b")],
        [bodies.pod("a")],
        [bodies.pod("b"), bodies.pod("c", ready=False), bodies.pod("x", tier_name="other")],
        [],
    ],
    "deployments": [[bodies.deployment()], []],
    "endpoint_slices": [[bodies.endpoint_slice("s", bodies.endpoint("a"))], [bodies.endpoint_slice("s")], []],
    "inference_services": [[bodies.inference_service()], []],
    "tiers": [[bodies.tier()], [bodies.tier(), bodies.tier("other")], [bodies.tier("other")], []],
}
NODES = [
    node_record(
        {
            "metadata": {"labels": {"nvidia.com/gpu.product": product}},
            "status": {"capacity": {"nvidia.com/gpu": "8"}},
        }
    )
    for product in ("NVIDIA-L4", "NVIDIA-L40S")
]
KNOWN = [
    ModelMetadataSet(),
    ModelMetadataSet(asking=frozenset({Repository("org/small")})),
    ModelMetadataSet({Repository("org/small"): ModelMetadata(None, "gated")}),
]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    seen = world(**{kind: draw(st.sampled_from(choices)) for kind, choices in PARTS.items()})
    nodes = [each for each in NODES if each is not None and draw(st.booleans())]
    return replace(seen, nodes=nodes, publications=draw(st.sampled_from(KNOWN)), kserve_present=draw(st.booleans()))


@st.composite
def measurements(draw: st.DrawFn) -> Samples:
    page = {**FULL, kinds.RUNNING: draw(st.sampled_from([4.0, 5.0, float("nan")]))}
    pods = dict.fromkeys(draw(st.sampled_from(["", "a", "ab", "abc"])), page)
    return sampled(pods, age=draw(st.sampled_from([3.0, 9.0, 29.0, 31.0])))


def _undated(signals: TierSignals) -> TierSignals:
    def undated(signal: Any) -> Any:
        return replace(signal, at=None) if isinstance(signal, Signal) else signal

    pods = tuple(
        replace(pod, **{each.name: undated(getattr(pod, each.name)) for each in fields(pod)}) for pod in signals.pods
    )
    totals = {each.name: undated(getattr(signals, each.name)) for each in fields(signals) if each.name != "pods"}
    return replace(signals, pods=pods, **totals)


@given(st.lists(st.tuples(worlds(), measurements(), st.booleans()), min_size=1, max_size=6))
def test_every_world_is_seen_as_if_it_were_the_first(seen: list[tuple[World, Samples, bool]]) -> None:
    observer = Observer()
    for number, (each, samples, settled) in enumerate(seen):
        now = NOW + number
        first = observe(each, samples, now)
        keys = {view.tier.key for view in first.tiers} if settled else set()
        again = at_once(observer.observe_in_turns(each, samples, now, keys))
        assert replace(again, tiers=tuple(map(_plain, again.tiers))) == replace(
            first, tiers=tuple(map(_plain, first.tiers))
        )
        assert tuple(observer.dated(view, samples, now) for view in again.tiers) == first.tiers
        if not settled:
            assert again == first


def _plain(view: TierView) -> TierView:
    return replace(view, signals=_undated(view.signals))


def test_what_has_not_changed_is_the_same_object() -> None:
    """Also when the informer has listed anew, and every record is a new object."""
    observer, samples = Observer(), sampled({"a": FULL})
    (first,) = at_once(observer.observe_in_turns(world(), samples, NOW)).tiers
    (again,) = at_once(observer.observe_in_turns(world(), samples, NOW, {first.tier.key})).tiers
    assert again.tier is first.tier
    assert again.workloads is first.workloads
    assert again.facts is first.facts
    assert again.signals is first.signals
    (dated,) = at_once(observer.observe_in_turns(world(), samples, NOW)).tiers
    assert dated.signals is not first.signals
