"""One table: a reason appears only where the table says, and every reason of a condition is brought about by a case.

No reason is exempt. What `decide` says comes from decisions that it made here, what `engines.check` says from specs
that it refused here: a reason that nothing gives any more fails the test, whichever room has given it before.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tierwise_router
from tests.builders.pools import CASES as POOLS
from tests.builders.pools import pool as a_pool
from tests.builders.pools import unreadable
from tests.builders.routes import route, snapshot, tier
from tests.builders.routes import spec as routed
from tests.unit.decide import make, test_service_level
from tests.unit.decide.test_facts import EIGHT, L4, T4, new
from tests.unit.report import (
    ill_tiers,
    test_classifier_condition,
    test_metrics_condition,
    test_provisioned_condition,
    test_quality_condition,
    test_ready_condition,
    test_routes,
    test_scaling_conditions,
)
from tests.unit.report.cases import NOW, case, spec
from tierwise import reasons
from tierwise.api.modeltier import TierPool
from tierwise.decide import decide, share
from tierwise.decide.routes import plan_routes
from tierwise.reasons import CONDITION_TYPES, POOL_CONDITION_TYPES, ROUTE_CONDITION_TYPES, table
from tierwise.report.pools import evaluate_pool
from tierwise.report.quality_condition import quality_condition
from tierwise.report.report_context import ReportContext
from tierwise.report.routes import evaluate_route
from tierwise.report.status import evaluate_conditions
from tierwise.types import (
    NO_POOLS,
    Peak,
    Pools,
    RouteOutcome,
    RouterSample,
    RouterSignals,
    Snapshot,
    TierKey,
    TierState,
    TierView,
)
from tierwise.types.capabilities import GPU, UNKNOWN, EngineRules, Facts, ModelShape

ALL_TYPES = (*CONDITION_TYPES, *ROUTE_CONDITION_TYPES, *POOL_CONDITION_TYPES)
WHERE = {reason.word: reason.where for reason in table()}
CASES: list[ReportContext] = [
    *(given[0] for given in ill_tiers.ILL.values()),
    *test_provisioned_condition.WELL.values(),
    *(given[0] for given in test_metrics_condition.CASES.values()),
    *(given[0] for given in test_scaling_conditions.ACTIVE.values()),
    *(given[0] for given in test_ready_condition.CASES.values()),
    case(outcome=test_scaling_conditions.failed(reasons.INTERNAL_ERROR, transient=False)),
]


def decided(seen: TierView, memory: TierState = make.SETTLED) -> ReportContext:
    """What is reported on a tier after a real decision."""
    return replace(case(), view=seen, plan=make.plan(seen, memory), at=make.NOW)


def named(seen: TierView, name: str) -> TierView:
    return replace(seen, tier=replace(seen.tier, key=TierKey("team", name)))


def refused(facts: Facts = UNKNOWN, **fields: Any) -> ReportContext:
    """What is reported on a new tier with this spec."""
    return decided(new(facts, spec(**fields)))


def limited(requests: float, running: int, recommended: int, **scaling: Any) -> ReportContext:
    """What is reported on a tier with so many requests on its replicas."""
    seen = make.view(make.spec(**scaling), make.spread(requests, running), current=running)
    return decided(seen, TierState(recommended=recommended))


def in_pool(seen: TierView, name: str = "chat") -> TierView:
    """The tier in the pool h100."""
    assert seen.tier.spec is not None
    placed = seen.tier.spec.model_copy(update={"pools": [TierPool(name="h100")]})
    return replace(seen, tier=replace(seen.tier, key=TierKey("team", name), spec=placed))


def shared(*, capacity: int = 8, pods: int = 1, idle: bool = False, **pool: Any) -> ReportContext:
    """What is reported on a tier beside another one, in a pool that has too little for both."""
    mine = in_pool(make.view(make.spec(), make.spread(10 if idle else 90, pods), current=pods))
    other = in_pool(make.view(make.spec(), make.spread(90, 1), current=1), "other")
    limits = Pools((a_pool(pool, capacity=capacity, others=0),))
    snapshot = Snapshot(make.NOW, (mine, other), make.HEALTHY, pools=limits)
    states = {each.tier.key: TierState(recommended=1, peaks=(Peak(3, make.NOW - 1),)) for each in (mine, other)}
    plan = share(snapshot, decide(snapshot, states)).plan.tiers[0]
    return replace(case(), view=mine, plan=plan, at=make.NOW)


def misplaced(pools: Pools) -> ReportContext:
    """What is reported on a tier that cannot run in its pool."""
    seen = in_pool(make.view(make.spec(), (), current=0))
    assert seen.tier.spec is not None
    placement = seen.tier.spec.placement.model_copy(update={"node_selector": {"zone": "b"}})
    placed = seen.tier.spec.model_copy(update={"placement": placement})
    seen = replace(seen, tier=replace(seen.tier, spec=placed))
    snapshot = Snapshot(make.NOW, (seen,), make.HEALTHY, pools=pools)
    return replace(case(), view=seen, plan=decide(snapshot, {}).tiers[0], at=make.NOW)


def unheard() -> TierView:
    """A tier under a route whose router is not measured."""
    seen = make.view(make.spec(minReplicas=0), make.spread(0, 1))
    return replace(seen, routers=RouterSignals(("chat",), routers=(RouterSample("router-0", ready_at=0.0),)))


OLD = GPU("NVIDIA-GeForce-RTX-4090", (8, 9), 24564, 570)
DRAFTED = {"mode": "Enabled", "method": "draft_model", "draftModel": "a/b"}
BY_DECISION: dict[tuple[str, str], ReportContext] = {
    ("ScalingLimited", reasons.MAX_REPLICAS): limited(130, 1, 1, maxReplicas=4),
    ("ScalingLimited", reasons.MIN_REPLICAS): limited(0, 3, 1, minReplicas=3),
    ("ScalingLimited", reasons.SCALE_DOWN_WINDOW): limited(10, 6, 6),
    ("ScalingLimited", reasons.HEADROOM): limited(75, 5, 4),
    ("ScalingLimited", reasons.PINNED): limited(130, 5, 5, replicas=3),
    ("ScalingLimited", reasons.TARGET): decided(
        test_service_level.seen(test_service_level.signals(100, 50)), test_service_level.OLD
    ),
    ("ScalingLimited", reasons.NO_METRICS): decided(make.view(make.spec(), (), current=5)),
    ("ScalingLimited", reasons.NO_MEMORY): decided(make.view(make.spec(), make.spread(5, 5), current=5), TierState()),
    ("ScalingLimited", reasons.NOT_ROUTED): limited(0, 1, 1, minReplicas=0),
    ("ScalingLimited", reasons.NO_ROUTER_METRICS): decided(unheard()),
    ("Accepted", reasons.WRONG_GPU): refused(Facts((T4,)), quantization={"kvCacheDtype": "fp8"}),
    ("Accepted", reasons.DRIVER_TOO_OLD): refused(Facts((OLD,))),
    ("Accepted", reasons.HOST_PATH_NOT_ALLOWED): refused(
        Facts(engine_rules=EngineRules()), modelCache={"hostPath": "/mnt/nvme"}
    ),
    ("Accepted", reasons.REMOTE_CODE_NOT_ALLOWED): refused(
        Facts(engine_rules=EngineRules()),
        model={"name": "chat", "uri": "hf://Qwen/Qwen3-8B", "trustRemoteCode": "Enabled"},
    ),
    ("Accepted", reasons.HUB_OFFLINE): refused(Facts(engine_rules=EngineRules(offline=True))),
    ("Accepted", reasons.CONTEXT_TOO_LONG): refused(Facts(model=EIGHT), contextLength=131073),
    ("Accepted", reasons.CONTEXT_DOES_NOT_FIT): refused(Facts((L4,), EIGHT)),
    ("Accepted", reasons.WEIGHTS_DO_NOT_FIT): refused(Facts((GPU(memory_mib=8192),), EIGHT), contextLength=64),
    ("Accepted", reasons.NOT_DIVISIBLE): refused(Facts(model=EIGHT), parallelism={"tensor": 3}, resources={"gpus": 3}),
    ("Accepted", reasons.CHECKPOINT_DIFFERS): refused(Facts(model=EIGHT), quantization={"method": "awq"}),
    ("Accepted", reasons.DRAFT_UNFIT): refused(Facts(model=EIGHT, draft=ModelShape(vocabulary=1)), speculation=DRAFTED),
    ("Accepted", reasons.ARGUMENT_NOT_ALLOWED): refused(extraArgs=["--trust-remote-code"]),
    ("ScalingLimited", reasons.BUDGET): shared(budget={"gpus": 2}),
    ("ScalingLimited", reasons.POOL): shared(capacity=3),
    ("ScalingLimited", reasons.RECLAIMED): shared(pods=3, capacity=4, idle=True),
    ("Accepted", reasons.POOL_NOT_FOUND): misplaced(NO_POOLS),
    ("Accepted", reasons.POOLS_UNKNOWN): misplaced(Pools(known=False, problem="forbidden")),
    ("Accepted", reasons.INVALID_POOL): misplaced(Pools((unreadable(),))),
    ("Accepted", reasons.POOL_CONFLICT): misplaced(Pools((a_pool({"nodeSelector": {"zone": "a"}}),))),
    ("Accepted", reasons.NAME_TOO_LONG): decided(named(new(UNKNOWN, spec()), "x" * 60)),
}


TAKEN = snapshot([tier("small")], route("a", created_at=1.0, given=routed("small", modelNames=["b"])), route("b"))


def said(cases: list[ReportContext]) -> set[tuple[str, str]]:
    return {(verdict.type, verdict.reason) for each in cases for verdict in evaluate_conditions(each)}


def said_of_routes() -> set[tuple[str, str]]:
    cases = [*test_routes.CASES.values(), *test_classifier_condition.CASES.values()]
    found = {(verdict.type, verdict.reason) for case, _ in cases for verdict in case.verdicts()}
    for view, plan in zip(TAKEN.routes, plan_routes(TAKEN), strict=True):
        verdicts = evaluate_route(view, plan, RouteOutcome(plan.key), NOW)
        found |= {(verdict.type, verdict.reason) for verdict in verdicts}
    for changes, _, _ in test_quality_condition.CASES:
        verdict = quality_condition(test_quality_condition.VIEW, test_quality_condition.changed(changes))
        found |= {(verdict.type, verdict.reason)} if verdict is not None else set()
    return found


def said_of_pools() -> set[tuple[str, str]]:
    return {(verdict.type, verdict.reason) for view, use, _ in POOLS.values() for verdict in evaluate_pool(view, use)}


def test_every_verdict_uses_a_reason_of_its_condition() -> None:
    found = said([*CASES, *BY_DECISION.values()]) | said_of_routes() | said_of_pools()
    assert [(kind, reason) for kind, reason in sorted(found) if kind not in WHERE[reason]] == []


@pytest.mark.parametrize(("pair", "given"), BY_DECISION.items(), ids=map("-".join, BY_DECISION))
def test_what_is_decided_is_the_reason_of_its_condition(pair: tuple[str, str], given: ReportContext) -> None:
    assert pair in said([given])


def test_every_reason_of_a_condition_occurs_in_some_case() -> None:
    listed = {(kind, word) for word, where in WHERE.items() for kind in where if kind in ALL_TYPES}
    assert sorted(listed - said([*CASES, *BY_DECISION.values()]) - said_of_routes() - said_of_pools()) == []


def test_every_reason_is_given_somewhere() -> None:
    """Also those of Events, steps and advice: a word that nothing says does not belong into the table."""
    roots = (Path(reasons.__file__).parents[1], Path(tierwise_router.__file__).parent)
    files = [file for root in roots for file in sorted(root.rglob("*.py")) if "reasons" not in file.parts]
    said = "\n".join(file.read_text() for file in files)
    names = {value: name for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    unused = [word for word in WHERE if not re.search(rf"\b{names[word]}\b", said)]
    assert unused == []
