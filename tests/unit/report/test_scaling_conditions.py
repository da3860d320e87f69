"""ScalingActive and ScalingLimited: the two words of the HorizontalPodAutoscaler."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.workloads import outcome_of
from tests.unit.report.cases import EXTERNAL, KEY, case, decision, deployment, pod, spec, workload
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.report.conditions import Truth
from tierwise.report.metrics_condition import metrics_available
from tierwise.report.report_context import ReportContext
from tierwise.report.scaling_conditions import scaling_active, scaling_limited
from tierwise.types import ActionError, MetricsHealth, Step, TierOutcome, TierSignals


def failed(reason: str, *, transient: bool) -> TierOutcome:
    return outcome_of(KEY, error=ActionError(reason, "the API server said so", transient))


FOREIGN = workload(foreign_scalers=("HorizontalPodAutoscaler/chat", "ScaledObject/chat"))
DEAF = MetricsHealth(ok=False, problem="timeout")
ACTIVE: dict[str, tuple[ReportContext, Truth, str, str]] = {
    "following": (case(), "True", reasons.SCALING_OK, ""),
    "not accepted": (case(invalid=(reasons.INVALID_SPEC, "no")), "Unknown", reasons.NOT_ACCEPTED, ""),
    "external": (case(ModelTierSpec.model_validate(EXTERNAL)), "False", reasons.EXTERNAL, ""),
    "somebody else scales": (
        case(work=FOREIGN),
        "False",
        reasons.FOREIGN_SCALER,
        "HorizontalPodAutoscaler/chat, ScaledObject/chat scales this tier. Delete it, or",
    ),
    "advisory": (case(spec(scaling={"mode": "Advisory"})), "False", reasons.ADVISORY, "not written"),
    "pinned": (case(spec(replicas=2)), "False", reasons.PINNED, "fixes 2 replicas"),
    "advisory wins over pinned": (
        case(spec(replicas=2, scaling={"mode": "Advisory"})),
        "False",
        reasons.ADVISORY,
        "",
    ),
    "a missing verb": (case(outcome=failed("Forbidden", transient=False)), "False", reasons.FORBIDDEN, "grant"),
    "no answer": (case(outcome=failed("APIUnavailable", transient=True)), "Unknown", reasons.API_UNAVAILABLE, ""),
    "a conflict": (case(outcome=failed("Conflict", transient=True)), "Unknown", reasons.CONFLICT, "decides again"),
    "another error is not about scaling": (
        case(outcome=failed("ApplyRefused", transient=False)),
        "True",
        reasons.SCALING_OK,
        "",
    ),
    "no Deployment": (case(work=workload([], deployment=None)), "Unknown", reasons.WAITING_FOR_CHILDREN, ""),
    "without Prometheus": (case(metrics=DEAF), "False", reasons.NO_METRICS, "See the condition MetricsAvailable"),
    "without series": (case(pods=[pod()], signals=TierSignals()), "False", reasons.NO_METRICS, ""),
    "some metrics are enough to rise": (
        case(pods=[pod("a"), pod("b")], signals=TierSignals(pods=case(pods=[pod("a")]).view.signals.pods)),
        "True",
        reasons.SCALING_OK,
        "",
    ),
}


@pytest.mark.parametrize(("given", "status", "reason", "words"), ACTIVE.values(), ids=ACTIVE)
def test_scaling_active(given: ReportContext, status: Truth, reason: str, words: str) -> None:
    found = scaling_active(given, metrics_available(given))
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_a_spec_that_does_not_parse_is_not_scaled() -> None:
    unread = case()
    unread = replace(unread, view=replace(unread.view, tier=replace(unread.view.tier, spec=None)))
    assert scaling_active(unread, metrics_available(unread)).status == "False"


def test_limited_says_what_the_step_said() -> None:
    at_max = decision(
        limited_by=reasons.MAX_REPLICAS,
        steps=(
            Step("bounds", 4, reasons.MAX_REPLICAS, "6 replicas, of which maxReplicas allows 4"),
            Step("pin", 4),
        ),
    )
    found = scaling_limited(case(decided=at_max))
    assert (found.status, found.reason) == ("True", reasons.MAX_REPLICAS)
    assert (
        found.message
        == "6 replicas, of which maxReplicas allows 4. Raise scaling.maxReplicas if you can pay for more replicas."
    )


def test_limited_without_a_word_of_the_step_says_what_it_means() -> None:
    found = scaling_limited(case(decided=decision(limited_by=reasons.HEADROOM, steps=())))
    assert found.message.startswith("With fewer replicas")


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        (case(), "False", reasons.NOT_LIMITED),
        (case(ModelTierSpec.model_validate(EXTERNAL)), "False", reasons.NOT_LIMITED),
        (case(invalid=(reasons.INVALID_SPEC, "no")), "Unknown", reasons.NOT_ACCEPTED),
        (case(work=workload([], deployment=deployment(0))), "False", reasons.NOT_LIMITED),
    ],
)
def test_not_limited(given: ReportContext, status: Truth, reason: str) -> None:
    found = scaling_limited(given)
    assert (found.status, found.reason) == (status, reason)
