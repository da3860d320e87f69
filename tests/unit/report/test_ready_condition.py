"""Ready, and the one word for the whole tier."""

from __future__ import annotations

import pytest

from tests.unit.report.cases import EXTERNAL, NOW, by_type, case, decision, pod, spec, waiting, workload
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory
from tierwise.report.conditions import Truth
from tierwise.report.ready_condition import ready, state
from tierwise.report.report_context import ReportContext
from tierwise.report.status import build, evaluate_conditions
from tierwise.types import MetricsHealth, PodFacts

REFUSED = (reasons.UNSUPPORTED, "no such method")
DEAF = MetricsHealth(ok=False, problem="timeout")
PULL = waiting(reason="ErrImagePull", message="not found")

# the case; Ready's status and reason; STATUS and REASON
CASES: dict[str, tuple[ReportContext, Truth, str, str, str]] = {
    "all answer": (case(), "True", "Serving", "Ready", "Serving"),
    "more than wanted, still draining": (
        case(pods=[pod("a"), pod("b")], decided=decision(2, 1)),
        "True",
        "Serving",
        "Ready",
        "Serving",
    ),
    "one more is coming": (
        case(pods=[pod(), waiting(phase="Running")]),
        "True",
        "Degraded",
        "Scaling",
        "Degraded",
    ),
    "one more cannot come": (case(pods=[pod(), PULL]), "True", "Degraded", "Degraded", "ImagePullFailed"),
    "none yet": (case(pods=[waiting()]), "False", "Starting", "Starting", "Starting"),
    "no child yet": (case(work=workload([], inference_service=None)), "False", "Starting", "Starting", "Creating"),
    "none can come": (case(pods=[PULL]), "False", "Starting", "Failed", "ImagePullFailed"),
    "no KServe": (case(pods=[], kserve_present=False), "False", "Starting", "Failed", "KServeMissing"),
    "zero by intent": (
        case(spec(replicas=0), pods=[], decided=decision(0, 0)),
        "False",
        "ScaledToZero",
        "Stopped",
        "ScaledToZero",
    ),
    "zero until somebody wants it": (
        case(spec(scaling={"minReplicas": 0}), pods=[], decided=decision(0, 0)),
        "False",
        "Idle",
        "Idle",
        "Idle",
    ),
    "answering without metrics": (case(metrics=DEAF), "True", "Serving", "Unmeasured", "PrometheusError"),
    "rejected, still answering": (case(invalid=REFUSED), "True", "NotAccepted", "Rejected", "Unsupported"),
    "rejected from the start": (case(invalid=REFUSED, pods=[]), "False", "NotAccepted", "Rejected", "Unsupported"),
    "being deleted": (case(deleting=True), "True", "Serving", "Deleting", "Deleting"),
    "external": (
        case(ModelTierSpec.model_validate(EXTERNAL)),
        "True",
        "ExternalAPI",
        "External",
        "ExternalAPI",
    ),
}


@pytest.mark.parametrize(("given", "status", "reason", "word", "why"), CASES.values(), ids=CASES)
def test_ready_and_the_one_word(given: ReportContext, status: Truth, reason: str, word: str, why: str) -> None:
    verdicts = by_type(evaluate_conditions(given))
    found = ready(given)
    assert found == verdicts[reasons.READY]
    assert (found.status, found.reason) == (status, reason)
    assert state(verdicts) == (word, why)


def test_the_count_stands_in_the_message() -> None:
    assert ready(case(pods=[pod(), waiting()])).message.startswith("1 of 2 replicas answer.")
    old = ModelTierStatus(desired_replicas=3)
    assert ready(case(invalid=REFUSED, status=old)).message.startswith("1 of 3 replicas answer, as they were before")


def test_the_verdicts_come_in_the_order_of_the_table() -> None:
    assert tuple(verdict.type for verdict in evaluate_conditions(case())) == reasons.CONDITION_TYPES


NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def pending(age: float, message: str = NO_GPU, name: str = "chat-1") -> PodFacts:
    return waiting(name, scheduled=False, scheduled_at=None, created_at=NOW - age, unschedulable_message=message)


@pytest.mark.parametrize(
    ("pods", "word", "why"),
    [
        ([pending(27)], "Starting", "InsufficientGPU"),
        ([pending(599)], "Starting", "InsufficientGPU"),
        ([pending(600)], "Failed", "InsufficientGPU"),
        ([pending(27), pending(700, name="chat-2")], "Failed", "InsufficientGPU"),
        ([pending(27), waiting("chat-2", reason="ImagePullBackOff")], "Failed", "ImagePullFailed"),
        ([pending(27, "0/1 nodes: 1 node(s) had untolerated taint {gpu: yes}")], "Failed", "UntoleratedTaint"),
        ([pending(27, "0/1 nodes are available: 1 Insufficient memory.")], "Starting", "Unschedulable"),
        ([pod(), pending(27)], "Scaling", "Degraded"),
        ([pod(), pending(700)], "Degraded", "InsufficientGPU"),
    ],
)
def test_a_tier_is_starting_while_nodes_may_be_started_for_it(pods: list[PodFacts], word: str, why: str) -> None:
    assert (status := build(case(pods=pods), ScalingMemory())).state == word
    assert status.reason == why
