"""The ladder of a route, and which routes are served."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.routes import EXTERNAL, external, route, snapshot, spec, tier
from tests.unit.decide.make import pod
from tests.unit.decide.make import spec as make_spec
from tests.unit.decide.zero_tiers import last_change
from tierwise import reasons
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import LadderProvider, LadderTier
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import routes
from tierwise.decide.routes import plan_routes
from tierwise.engines import environment
from tierwise.types import RouteObject, RoutePlan, RouteView, Snapshot, TierView
from tierwise.types.capabilities import Facts, ModelShape

PRICED: dict[str, Any] = {
    "model": {"name": "m", "uri": "hf://org/m"},
    "resources": {"gpus": 2},
    "parallelism": {"tensor": 2},
    "price": {"gpuHour": "2.49"},
    "contextLength": 8192,
    "batching": {"maxSequences": 32},
}


def only(seen: Snapshot) -> RoutePlan:
    (plan,) = plan_routes(seen)
    return plan


def test_a_served_tier_is_reached_at_its_service_by_the_alias_of_every_engine() -> None:
    plan = only(snapshot([tier("small", ModelTierSpec.model_validate(PRICED))], route()))
    assert plan.ladder == (
        LadderTier(
            name="small",
            use="Always",
            model="tierwise",
            service="small-predictor",
            concurrency=32,
            context_length=8192,
            keep_alive_seconds=60,
            replica_hour="4.98",
            capped=True,  # by default maxReplicas is 1
        ),
    )
    assert (plan.serve, plan.invalid, plan.ready) == (True, None, ("small",))


def test_a_replica_is_given_what_it_decodes_at_a_time() -> None:
    made = ModelTierSpec.model_validate(PRICED | {"batching": {"maxSequences": 24, "maxQueuedRequests": 500}})
    assert only(snapshot([tier("small", made)], route())).ladder[0].concurrency == 24


def test_the_adapters_of_a_tier_are_told_to_its_routers() -> None:
    adapters = [{"name": "legal", "uri": "hf://a/legal"}, {"name": "a", "uri": "pvc://c/a"}]
    made = ModelTierSpec.model_validate(PRICED | {"model": {**PRICED["model"], "adapters": adapters}})
    assert only(snapshot([tier("small", made)], route())).ladder[0].adapters == ["legal", "a"]
    assert only(snapshot([tier("small")], route())).ladder[0].adapters == []
    assert only(snapshot([external("bought")], route(given=spec("bought")))).ladder[0].adapters == []
    nothing = make_spec().model_copy(update={"model": None})
    assert only(snapshot([tier("small", nothing)], route())).ladder[0].adapters == []


def test_an_external_tier_is_reached_at_its_provider_and_always_answers() -> None:
    plan = only(snapshot([external("bought")], route(given=spec("bought"))))
    (found,) = plan.ladder
    assert found.provider is not None
    assert (found.provider.base_url, found.provider.secret_name, found.provider.secret_key) == (
        "https://api.example.com/v1",
        "provider",
        "token",
    )
    assert (found.model, found.service, found.replica_hour) == ("big-1", None, None)
    assert found.prices is not None
    assert found.prices.output == "10"
    assert found.service_tier_prices is not None
    assert found.service_tier_prices.flex is not None
    assert found.service_tier_prices.flex.output == "5"
    assert plan.ready == ("bought",)
    assert found.capped, "nobody here can make it grow"


def test_a_provider_that_asks_for_no_key_is_reached_without_a_secret() -> None:
    body = {"external": {name: said for name, said in EXTERNAL["external"].items() if name != "apiKeySecretRef"}}
    open_to_all = tier("bought", ModelTierSpec.model_validate(body), ready=False)
    plan = only(snapshot([open_to_all], route(given=spec("bought"))))
    assert plan.failure == ""
    provider = plan.ladder[0].provider
    assert provider is not None
    assert (provider.base_url, provider.secret_name) == ("https://api.example.com/v1", None)
    assert provider.secret_key == LadderProvider.model_validate({"baseURL": provider.base_url}).secret_key


def test_a_tier_without_a_price_costs_what_nobody_knows() -> None:
    assert only(snapshot([tier("small")], route())).ladder[0].replica_hour is None


def test_the_order_and_the_use_are_those_of_the_route() -> None:
    given = spec(tiers=[{"name": "small"}, {"name": "bought", "use": "Overflow"}])
    plan = only(snapshot([external("bought"), tier("small")], route(given=given)))
    assert [(each.name, each.use) for each in plan.ladder] == [("small", "Always"), ("bought", "Overflow")]


def test_a_tier_that_does_not_exist_keeps_its_place_and_the_others_are_served() -> None:
    plan = only(snapshot([tier("small")], route(given=spec("small", "absent"))))
    assert plan.serve
    assert plan.invalid is not None
    assert plan.invalid[0] == reasons.TIER_NOT_FOUND
    assert "absent" in plan.invalid[1]
    assert "small" not in plan.invalid[1]
    assert [(each.name, each.service) for each in plan.ladder] == [
        ("small", "small-predictor"),
        ("absent", "absent-predictor"),
    ]
    assert plan.ready == ("small",)


def test_a_tier_that_is_gone_stays_as_it_was_known() -> None:
    before = only(snapshot([external("bought")], route(given=spec("bought")))).ladder
    status = {"ladder": [each.model_dump(by_alias=True) for each in before]}
    assert only(snapshot([], route(given=spec("bought"), status=status))).ladder == before
    overflow = ModelRouteSpec.model_validate({"tiers": [{"name": "small"}, {"name": "bought", "use": "Overflow"}]})
    found = only(snapshot([tier("small")], route(given=overflow, status=status))).ladder[1]
    assert found == before[0].model_copy(update={"use": "Overflow"}), "the use is the route's, known or not"


def test_every_tier_that_does_not_exist_is_named() -> None:
    plan = only(snapshot([tier("small")], route(given=spec("small", "a", "b"))))
    said = "there is no ModelTier a and no ModelTier b in this namespace; the other tiers are served"
    assert plan.invalid == (reasons.TIER_NOT_FOUND, said)


def test_a_tiny_price_is_written_without_an_exponent() -> None:
    made = ModelTierSpec.model_validate(PRICED | {"price": {"gpuHour": "0.000000001"}})
    assert only(snapshot([tier("small", made)], route())).ladder[0].replica_hour == "0.000000002"


def test_a_tier_of_another_namespace_is_none_of_this_one() -> None:
    seen = tier("small")
    elsewhere = replace(seen, tier=replace(seen.tier, key=seen.tier.key._replace(namespace="other")))
    plan = only(snapshot([elsewhere], route()))
    assert plan.invalid is not None
    assert plan.ready == ()


@pytest.mark.parametrize(
    "silent",
    [
        tier("small", ready=False),
        replace(tier("small"), tier=replace(tier("small").tier, deleting=True)),
        replace(tier("small"), tier=replace(tier("small").tier, spec=None, invalid="no")),
    ],
    ids=["no replica", "deleting", "not understood"],
)
def test_a_tier_that_does_not_answer_is_not_ready_and_no_reason_to_stop(silent: TierView) -> None:
    plan = only(snapshot([silent], route()))
    assert (plan.serve, plan.invalid, plan.ready) == (True, None, ())


def test_the_context_is_what_the_spec_says_then_what_the_model_says_then_what_was_known() -> None:
    shape = Facts(model=ModelShape(context_length=4096, default_context=2048))
    assert only(snapshot([tier("small")], route())).ladder[0].context_length is None
    known = only(snapshot([tier("small", facts=shape)], route()))
    assert known.ladder[0].context_length == 2048
    long = Facts(model=ModelShape(context_length=4096))
    assert only(snapshot([tier("small", facts=long)], route())).ladder[0].context_length == 4096
    said = tier("small", ModelTierSpec.model_validate(PRICED), facts=shape)
    assert only(snapshot([said], route())).ladder[0].context_length == 8192
    status = {"ladder": [each.model_dump(by_alias=True) for each in known.ladder]}
    asking = tier("small", metadata_pending=True)
    assert only(snapshot([asking], route(status=status))).ladder[0].context_length == 2048
    assert only(snapshot([tier("small")], route(status=status))).ladder[0].context_length is None
    other = {"ladder": [{**status["ladder"][0], "service": "other-predictor"}]}
    assert only(snapshot([asking], route(status=other))).ladder[0].context_length is None


def test_the_older_route_keeps_a_model_name_and_the_other_is_left_as_it_is() -> None:
    old, young = route("zoo", created_at=1.0), route("a", spec(modelNames=["zoo"]), created_at=2.0)
    plans = {plan.key.name: plan for plan in plan_routes(snapshot([tier("small")], young, old))}
    assert (plans["zoo"].serve, plans["zoo"].invalid) == (True, None)
    invalid = plans["a"].invalid
    assert invalid is not None
    assert (plans["a"].serve, invalid[0]) == (False, reasons.MODEL_NAME_TAKEN)
    assert "ModelRoute zoo" in invalid[1]
    assert len(plans["a"].ladder) == 1
    assert plans["a"].ready == ("small",)


def test_of_two_of_one_age_the_first_name_keeps_it() -> None:
    one, two = route("a", spec(modelNames=["x"])), route("b", spec(modelNames=["y", "x"]))
    assert [plan.serve for plan in plan_routes(snapshot([tier("small")], two, one))] == [True, False]


def test_names_of_another_namespace_of_a_deleted_and_of_a_bad_route_are_free() -> None:
    mine = route("mine", spec(modelNames=["x"]), created_at=9.0)
    key = mine.key._replace(namespace="other")
    others = [
        replace(mine, key=key, uid="1", created_at=1.0),
        route("gone", spec(modelNames=["x"]), deleting=True, created_at=1.0),
        replace(route("x", created_at=1.0), spec=None, invalid="spec.tiers: missing"),
    ]
    plans = {plan.key: plan for plan in plan_routes(snapshot([tier("small")], mine, *others))}
    assert plans[mine.key].serve


def test_a_spec_that_is_not_understood_changes_nothing() -> None:
    before = only(snapshot([tier("small")], route())).ladder
    status = {"ladder": [each.model_dump(by_alias=True) for each in before]}
    bad = replace(route(status=status), spec=None, invalid="spec.tiers: missing")
    plan = only(snapshot([tier("small")], bad))
    assert plan == RoutePlan(bad.key, before, invalid=(reasons.INVALID_SPEC, "spec.tiers: missing"))


def test_a_route_that_is_being_deleted_is_not_brought_about() -> None:
    kept = only(snapshot([tier("small")], route())).ladder
    plan = only(snapshot([tier("small")], route(deleting=True)))
    assert plan == RoutePlan(route().key, kept, ready=("small",))


def test_a_defect_that_one_route_meets_is_told_in_its_plan_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = only(snapshot([tier("small")], route())).ladder
    status = {"ladder": [each.model_dump(by_alias=True) for each in before]}
    ill, well = route("ill", status=status), route("well")
    original = routes._taken

    def broken(seen: RouteObject, claims: routes.Claims) -> str | None:
        if seen.key.name == "ill":
            raise KeyError("a defect")
        return original(seen, claims)

    monkeypatch.setattr(routes, "_taken", broken)
    failed, planned = plan_routes(snapshot([tier("small")], ill, well))
    assert (failed.key, failed.ladder, failed.serve, failed.invalid) == (ill.key, before, False, None)
    assert "KeyError: 'a defect'" in failed.failure
    assert (planned.key, planned.serve, planned.failure) == (well.key, True, "")


NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, unique=True, max_size=3), st.integers(0, 2)), max_size=4))
def test_each_model_name_has_one_served_route_and_the_order_of_the_input_does_not_matter(
    drawn: list[tuple[str, list[str], int]],
) -> None:
    routes = {name: route(name, spec(modelNames=names), created_at=float(age)) for name, names, age in drawn}
    plans = plan_routes(snapshot([tier("small")], *routes.values()))
    assert plans == plan_routes(snapshot([tier("small")], *reversed(routes.values())))
    claimed = [name for plan in plans if plan.serve for name in routes[plan.key.name].model_names]
    assert len(claimed) == len(set(claimed))
    assert all(
        view.route.key == plan.key
        for view, plan in zip(
            sorted((RouteView(each) for each in routes.values()), key=lambda view: view.route.key), plans, strict=True
        )
    )


STARTS: dict[str, tuple[list[tuple[float, float | None]], int | None]] = {
    "one": ([(100.0, 163.0)], 65),
    "to the second": ([(100.0, 165.0)], 65),
    "the quickest of two": ([(100.0, 190.0), (100.0, 163.0)], 65),
    "one that is not ready": ([(100.0, None), (100.0, 163.0)], 65),
    "one second": ([(100.0, 101.0)], 5),
    "none that is ready": ([(100.0, None)], 40),
    "no pod": ([], 40),
    "one that became ready again after hours": ([(100.0, 9000.0)], 40),
    "as long as it may take": ([(100.0, 1900.0)], 1800),
    "longer than it may take": ([(100.0, 1900.1)], 40),
    "a clock that went back": ([(100.0, 100.0), (100.0, 90.0)], 40),
    "a pod whose creation is not known": ([(0.0, 63.0)], 40),
}


@pytest.mark.parametrize(("pods", "expected"), STARTS.values(), ids=STARTS)
def test_the_time_of_a_start_is_that_of_the_quickest_replica_and_is_remembered(
    pods: list[tuple[float, float | None]], expected: int | None
) -> None:
    facts = tuple(replace(pod(str(n)), created_at=made, ready_at=at) for n, (made, at) in enumerate(pods))
    seen = tier("small")
    seen = replace(seen, workloads=(replace(seen.workloads[0], pods=facts),))
    known = {"ladder": [LADDER | {"startupSeconds": 40}]}
    assert only(snapshot([seen], route(status=known))).ladder[0].startup_seconds == expected
    other = {"ladder": [LADDER | {"startupSeconds": 40, "service": "other-predictor"}]}
    unknown = only(snapshot([seen], route(status=other))).ladder[0].startup_seconds
    assert unknown == (None if expected == 40 else expected)
    assert only(snapshot([seen], route())).ladder[0].startup_seconds == unknown


LADDER = {
    "name": "small",
    "use": "Always",
    "model": "tierwise",
    "service": "small-predictor",
    "concurrency": 64,
    "keepAliveSeconds": 60,
}


def test_a_router_closes_an_idle_connection_before_the_engine_does() -> None:
    served, bought = only(snapshot([tier("small"), external("bought")], route(given=spec("small", "bought")))).ladder
    assert served.keep_alive_seconds < int(environment(make_spec())["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"])
    assert bought.keep_alive_seconds < 5


def test_a_tier_at_zero_is_asleep_and_one_that_starts_is_not() -> None:
    zero = make_spec(minReplicas=0)
    resting = replace(tier("small", zero, ready=False))
    down = replace(
        resting.workloads[0],
        pods=(),
        deployment=replace(resting.deployments[0], spec_replicas=0),
    )
    resting = last_change(replace(resting, workloads=(down,)), 0)
    plan = only(snapshot([resting], route()))
    assert (plan.ready, plan.asleep) == ((), ("small",))
    taken = plan_routes(
        snapshot([resting], route("a", created_at=1.0, given=spec("small", modelNames=["b"])), route("b"))
    )
    assert [each.asleep for each in taken] == [("small",), ("small",)]
    assert only(snapshot([last_change(resting, 1)], route())).asleep == ()
    assert only(snapshot([tier("small")], route())).asleep == ()
    deleting = replace(resting, tier=replace(resting.tier, deleting=True))
    assert only(snapshot([deleting], route())).asleep == ()
    unread = replace(resting, tier=replace(resting.tier, spec=None))
    assert only(snapshot([unread], route())).asleep == ()


def in_two_pools(*, owned: bool = True, first: int = 1, second: int = 1) -> TierView:
    """A tier in a dear pool and in a cheap one, with so many replicas in each."""
    view = tier("small", ModelTierSpec.model_validate(PRICED))
    (here,) = view.workloads
    assert here.deployment is not None
    assert here.inference_service is not None
    cheap = ModelTierSpec.model_validate(
        PRICED | {"price": {"gpuHour": "1"}, "resources": {"gpus": 1}, "parallelism": {"tensor": 1}}
    )
    deployments = [replace(here.deployment, spec_replicas=count) for count in (first, second)]
    service = replace(here.inference_service, owned=owned)
    return replace(
        view,
        workloads=(
            replace(here, pool="h100", spec=view.tier.spec, deployment=deployments[0]),
            replace(here, name="small-l4", pool="l4", spec=cheap, deployment=deployments[1], inference_service=service),
        ),
    )


def test_a_tier_in_several_pools_is_reached_at_the_services_of_all_of_them() -> None:
    (found,) = only(snapshot([in_two_pools()], route())).ladder
    assert (found.service, found.more_services) == ("small-predictor", ["small-l4-predictor"])


def test_a_service_of_another_tier_is_none_of_this_ones() -> None:
    (found,) = only(snapshot([in_two_pools(owned=False)], route())).ladder
    assert found.more_services == []


def test_a_tier_that_is_moved_is_reached_in_both_pools_until_the_old_one_is_gone() -> None:
    view = in_two_pools()
    old, new = view.workloads
    moved = replace(view, workloads=(new, replace(old, retired=True)))
    (found,) = only(snapshot([moved], route())).ladder
    assert (found.service, found.more_services) == ("small-l4-predictor", ["small-predictor"])
    (found,) = only(snapshot([replace(view, workloads=(new,))], route())).ladder
    assert (found.service, found.more_services) == ("small-l4-predictor", [])


@pytest.mark.parametrize(("first", "second", "usd"), [(1, 0, "4.98"), (0, 3, "1"), (1, 3, "1.9950"), (0, 0, "4.98")])
def test_a_replica_in_several_pools_costs_what_it_costs_on_average(first: int, second: int, usd: str) -> None:
    (found,) = only(snapshot([in_two_pools(first=first, second=second)], route())).ladder
    assert found.replica_hour == usd
    unpriced = in_two_pools(first=first, second=second)
    old, new = unpriced.workloads
    assert new.spec is not None
    free = replace(new, spec=new.spec.model_copy(update={"price": None}))
    (found,) = only(snapshot([replace(unpriced, workloads=(old, free))], route())).ladder
    assert found.replica_hour == (usd if second == 0 else None)


def test_a_tier_with_one_workload_costs_what_its_own_spec_says() -> None:
    """Also while nobody can say what its pool makes of it."""
    view = tier("small", ModelTierSpec.model_validate(PRICED))
    (here,) = view.workloads
    unknown = replace(view, workloads=(replace(here, pool="gone", spec=None),))
    assert only(snapshot([unknown], route())).ladder[0].replica_hour == "4.98"
