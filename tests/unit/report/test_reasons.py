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
from tests.builders.routes import route, snapshot, tier
from tests.builders.routes import spec as routed
from tests.unit.decide import make
from tests.unit.decide.test_facts import EIGHT, L4, T4, new
from tests.unit.report import (
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
from tierwise.decide.routes import plan_routes
from tierwise.reasons import CONDITION_TYPES, ROUTE_CONDITION_TYPES, table
from tierwise.report.quality_condition import quality_condition
from tierwise.report.report_context import ReportContext
from tierwise.report.routes import evaluate_route
from tierwise.report.status import evaluate_conditions
from tierwise.types import RouteOutcome, RouterSample, RouterSignals, TierKey, TierState, TierView
from tierwise.types.capabilities import GPU, UNKNOWN, Facts, Installation, ModelShape

ALL_TYPES = (*CONDITION_TYPES, *ROUTE_CONDITION_TYPES)
WHERE = {reason.word: reason.where for reason in table()}
CASES: list[ReportContext] = [
    *(given[0] for given in test_provisioned_condition.ILL.values()),
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


def unheard() -> TierView:
    """A tier under a route whose router is not measured."""
    seen = make.view(make.spec(minReplicas=0), make.spread(0, 1))
    return replace(seen, routers=RouterSignals(("chat",), routers=(RouterSample("router-0", ready=True),)))


OLD = GPU("NVIDIA-GeForce-RTX-4090", (8, 9), 24564, 570)
DRAFTED = {"mode": "Enabled", "method": "draft_model", "draftModel": "a/b"}
BY_DECISION: dict[tuple[str, str], ReportContext] = {
    ("ScalingLimited", reasons.MAX_REPLICAS): limited(130, 1, 1, maxReplicas=4),
    ("ScalingLimited", reasons.MIN_REPLICAS): limited(0, 3, 1, minReplicas=3),
    ("ScalingLimited", reasons.SCALE_DOWN_WINDOW): limited(10, 6, 6),
    ("ScalingLimited", reasons.HEADROOM): limited(75, 5, 4),
    ("ScalingLimited", reasons.PINNED): limited(130, 5, 5, replicas=3),
    ("ScalingLimited", reasons.NO_METRICS): decided(make.view(make.spec(), (), current=5)),
    ("ScalingLimited", reasons.NO_MEMORY): decided(make.view(make.spec(), make.spread(5, 5), current=5), TierState()),
    ("ScalingLimited", reasons.NOT_ROUTED): limited(0, 1, 1, minReplicas=0),
    ("ScalingLimited", reasons.NO_ROUTER_METRICS): decided(unheard()),
    ("Accepted", reasons.WRONG_GPU): refused(Facts((T4,)), quantization={"kvCacheDtype": "fp8"}),
    ("Accepted", reasons.DRIVER_TOO_OLD): refused(Facts((OLD,))),
    ("Accepted", reasons.HOST_PATH_NOT_ALLOWED): refused(
        Facts(installation=Installation()), modelCache={"hostPath": "/mnt/nvme"}
    ),
    ("Accepted", reasons.REMOTE_CODE_NOT_ALLOWED): refused(
        Facts(installation=Installation()),
        model={"name": "chat", "uri": "hf://Qwen/Qwen3-8B", "trustRemoteCode": "Enabled"},
    ),
    ("Accepted", reasons.HUB_OFFLINE): refused(Facts(installation=Installation(offline=True))),
    ("Accepted", reasons.CONTEXT_TOO_LONG): refused(Facts(model=EIGHT), contextLength=131073),
    ("Accepted", reasons.CONTEXT_DOES_NOT_FIT): refused(Facts((L4,), EIGHT)),
    ("Accepted", reasons.WEIGHTS_DO_NOT_FIT): refused(Facts((GPU(memory_mib=8192),), EIGHT), contextLength=64),
    ("Accepted", reasons.NOT_DIVISIBLE): refused(Facts(model=EIGHT), parallelism={"tensor": 3}, resources={"gpus": 3}),
    ("Accepted", reasons.CHECKPOINT_DIFFERS): refused(Facts(model=EIGHT), quantization={"method": "awq"}),
    ("Accepted", reasons.DRAFT_UNFIT): refused(Facts(model=EIGHT, draft=ModelShape(vocabulary=1)), speculation=DRAFTED),
    ("Accepted", reasons.ARGUMENT_NOT_ALLOWED): refused(extraArgs=["--trust-remote-code"]),
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


def test_every_verdict_uses_a_reason_of_its_condition() -> None:
    found = said([*CASES, *BY_DECISION.values()]) | said_of_routes()
    assert [(kind, reason) for kind, reason in sorted(found) if kind not in WHERE[reason]] == []


@pytest.mark.parametrize(("pair", "given"), BY_DECISION.items(), ids=map("-".join, BY_DECISION))
def test_what_is_decided_is_the_reason_of_its_condition(pair: tuple[str, str], given: ReportContext) -> None:
    assert pair in said([given])


def test_every_reason_of_a_condition_occurs_in_some_case() -> None:
    listed = {(kind, word) for word, where in WHERE.items() for kind in where if kind in ALL_TYPES}
    assert sorted(listed - said([*CASES, *BY_DECISION.values()]) - said_of_routes()) == []


def test_every_reason_is_given_somewhere() -> None:
    """Also those of Events, steps and advice: a word that nothing says does not belong into the table."""
    roots = (Path(reasons.__file__).parents[1], Path(tierwise_router.__file__).parent)
    files = [file for root in roots for file in sorted(root.rglob("*.py")) if "reasons" not in file.parts]
    said = "\n".join(file.read_text() for file in files)
    names = {value: name for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    unused = [word for word in WHERE if not re.search(rf"\b{names[word]}\b", said)]
    assert unused == []
