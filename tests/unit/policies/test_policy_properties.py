"""Checks what holds for every autoscaler by name: bounds, repeatability, silence, and what the names mean."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.policies.tiers import pods, ticks, tier
from tierwise.errors import Invalid
from tierwise_sim.policies.observation import PodObservation, TierObservation
from tierwise_sim.policies.registry import POLICIES, Facts, parse

FACTS = Facts(prefill_tokens_per_second=16_000, requests_per_second=4.0, rate=lambda at: 9.0)
FIXED = tuple(f"{name}:fixed=1" for name, policy in POLICIES.items() if policy.fixed)
HOLDING = (*FIXED, "knative-kpa", "kubeai")

figure = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1e6), st.just(0.0))
share = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1))
pod_observations = st.builds(
    PodObservation, name=st.sampled_from("abcdef"), ready=st.booleans(), running=figure, waiting=figure, kv_usage=share,
    kv_capacity_tokens=figure, waiting_max_1m=figure, kv_usage_max_1m=share, terminating=st.booleans(),
    exists=st.booleans(),
)  # fmt: skip
observations = st.builds(
    TierObservation, at=st.just(0.0), desired=st.integers(1, 12), minimum=st.just(1), maximum=st.just(12),
    pods=st.lists(pod_observations, max_size=12).map(tuple), prometheus_up=st.booleans(), router_queue=figure,
    in_flight=figure, queued_tokens=figure, ttft_p90=figure, inter_token_p90=figure, input_tokens=figure,
    output_tokens=figure, prefix_hit_ratio=share, last_success_at=figure,
)  # fmt: skip


@pytest.mark.parametrize("name", [*POLICIES, *FIXED])
@settings(max_examples=25)
@given(seen=st.lists(observations, min_size=1, max_size=12))
def test_whatever_it_sees_it_stays_in_bounds_and_is_repeatable(name: str, seen: list[TierObservation]) -> None:
    first, again = (ticks(parse(name).new(FACTS), seen) for _ in range(2))
    assert first == again
    assert all(1 <= wished <= 12 for wished in first)


def known(at: float, count: int, running: float, usage: float) -> TierObservation:
    """A tier whose ready pods all do this."""
    return tier(
        pods(count, running=running, kv_usage=usage, waiting=3.0), at=at, in_flight=running * count, ttft_p90=1.4,
        inter_token_p90=0.01, input_tokens=500.0, output_tokens=200.0, queued_tokens=1000.0,
    )  # fmt: skip


def silent(at: float, count: int) -> TierObservation:
    """A tier of which nothing is known but its pods."""
    members = pods(count, running=None, waiting=None, kv_usage=None)
    return tier(members, at=at, router_queue=None, queued_tokens=None, in_flight=None)


@pytest.mark.parametrize(
    "name", [name.replace("fixed=1", "fixed=1,window=0") if "wva" in name else name for name in HOLDING]
)
@settings(max_examples=15)
@given(count=st.integers(2, 9), running=st.floats(0, 60), usage=st.floats(0, 1), before=st.integers(0, 6))
def test_the_corrected_ones_never_shrink_while_nothing_is_known(
    name: str, count: int, running: float, usage: float, before: int
) -> None:
    """Every wish is carried out. WVA's second analyzer may go on by its last figures for a minute; its HPA has no
    window here, as that would carry out later what was decided on figures."""
    policy = parse(name).new(FACTS)
    for tick in range(before + 60):
        at = tick * policy.period_seconds
        wished = policy(known(at, count, running, usage) if tick < before else silent(at, count)).replicas
        if tick >= before + (60 / policy.period_seconds if "wva" in name else 0):
            assert wished >= count
        count = wished


def test_names_carry_settings_and_labels_read_back() -> None:
    choice = parse("keda-waiting:waiting=10,fixed=1")
    assert choice.label == "keda-waiting:fixed=1,waiting=10"
    assert parse(choice.label) == choice
    assert choice.new(FACTS)(tier(pods(2, waiting=15))).replicas == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keda", r"'keda': not known; choose one of static, oracle, keda-waiting,"),
        ("kubeai:target=4", r"no setting 'target'; it has requests, window"),
        ("kubeai:requests=many", r"requests='many' is not a number"),
        ("kubeai:requests=-1", r"not a number of 0 or more"),
        ("oracle:x=1", r"it has none"),
    ],
)
def test_a_wrong_name_or_setting_says_what_may_be_written(text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        parse(text)


def test_a_fact_that_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="requests_per_second"):
        parse("oracle").new(Facts())
    with pytest.raises(Invalid, match="rate"):
        parse("oracle").new(Facts(requests_per_second=1.0))


@pytest.mark.parametrize("name", POLICIES)
def test_every_point_of_a_sweep_can_be_made(name: str) -> None:
    points = parse(name).sweep()
    assert points
    assert len({point.label for point in points}) == len(points)
    for point in points:
        assert set(point.overrides) <= set(point.policy.settings)
        point.new(FACTS)(tier(pods(2)))
