"""Events: each change told once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.workloads import outcome_of
from tests.unit.report.cases import KEY, NOW, after, case, decision, pod, spec, told, waiting, workload
from tierwise import reasons
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.ports import EventRecord
from tierwise.report import EventDeduplicator
from tierwise.report.events import REPEAT_SECONDS, SCALE
from tierwise.report.report_context import ReportContext
from tierwise.types import MetricsHealth

PULL = waiting(reason="ErrImagePull", message="not found")
DEAF = MetricsHealth(ok=False, problem="timeout")


def words(*cases: ReportContext) -> list[tuple[str, bool]]:
    """Reason and kind of the events of the last of these cases, each reported after the one before it."""
    (first, *others) = cases
    report = told(first)
    for at, later in enumerate(others, 1):
        report = told(after(later, report.status, NOW + at))
    return [(event.reason, event.warning) for event in report.events]


TOLD = {
    "a tier that serves from the first look": ([case()], [("Serving", False)]),
    "nothing new": ([case(), case()], []),
    "an image that cannot be pulled": ([case(), case(pods=[pod(), PULL])], [("ImagePullFailed", True)]),
    "the same trouble again": ([case(pods=[PULL]), case(pods=[PULL])], []),
    "another trouble": (
        [case(pods=[PULL]), case(pods=[waiting(last_exit_code=1)])],
        [("EngineCrashed", True)],
    ),
    "over": ([case(pods=[PULL]), case()], [("Serving", False)]),
    "a child being made is no trouble": ([case(work=workload([], deployment=None))], []),
    "not accepted": (
        [case(), case(invalid=(reasons.UNSUPPORTED, "no"))],
        [("Unsupported", True)],
    ),
    "accepted again": (
        [case(invalid=(reasons.UNSUPPORTED, "no")), case()],
        [("Valid", False)],
    ),
    "Prometheus goes": (
        [case(), case(metrics=DEAF)],
        [("PrometheusError", True), ("NoMetrics", True)],
    ),
    "Prometheus comes back": (
        [case(metrics=DEAF), case()],
        [("MetricsFound", False), ("FollowingLoad", False)],
    ),
    "pinned by hand": ([case(), case(spec(replicas=1))], []),
    "a foreign scaler": (
        [case(), case(work=workload(foreign_scalers=("HorizontalPodAutoscaler/x",)))],
        [("ForeignScaler", True)],
    ),
}


@pytest.mark.parametrize(("cases", "expected"), TOLD.values(), ids=TOLD)
def test_what_is_told(cases: list[ReportContext], expected: list[tuple[str, bool]]) -> None:
    assert words(*cases) == expected


def test_a_change_of_replicas_is_told_with_its_reason() -> None:
    base = told(case()).status
    up = case(decided=decision(1, 3, message="12 requests fill 2.4 replicas"), outcome=outcome_of(KEY, scaled=(1, 3)))
    (event,) = told(after_with(up, base)).events
    assert (event.reason, event.action, event.warning) == ("ScaledUp", SCALE, False)
    assert event.message == "1 → 3: Load: 12 requests fill 2.4 replicas"
    assert (event.namespace, event.name, event.uid) == ("team-a", "chat", "uid-t")
    down = case(decided=decision(3, 1), outcome=outcome_of(KEY, scaled=(3, 1)))
    (event,) = told(after_with(down, base)).events
    assert event.reason == "ScaledDown"


def after_with(the_case: ReportContext, status: ModelTierStatus) -> ReportContext:
    """As `after`, but with the outcome of the case."""
    return replace(after(the_case, status, NOW), outcome=the_case.outcome)


@pytest.mark.parametrize("event", [reasons.CREATED, reasons.HEALED, reasons.UPDATED])
def test_a_write_to_a_child_is_told(event: str) -> None:
    base = told(case()).status
    (record,) = told(after_with(case(outcome=outcome_of(KEY, applied=True, event=event)), base)).events
    assert (record.reason, record.action) == (event, "Apply")
    assert "InferenceService chat" in record.message


def test_a_healed_child_says_what_was_changed_and_by_whom() -> None:
    base = told(case()).status
    outcome = outcome_of(KEY, applied=True, event=reasons.HEALED, detail="spec.x: changed by kubectl-edit")
    (record,) = told(after_with(case(outcome=outcome), base)).events
    assert record.message.startswith("InferenceService chat: healed (spec.x: changed by kubectl-edit)")


def record(uid: str = "u", reason: str = "R", message: str = "m", action: str = "Observe") -> EventRecord:
    return EventRecord("ns", "name", uid, reason, message, action)


def test_the_same_sentence_passes_once_in_ten_minutes() -> None:
    recorder, alive = EventDeduplicator(), {"u", "v"}
    assert recorder.admit([record(), record()], 0.0, alive) == (record(),)
    assert recorder.admit([record()], REPEAT_SECONDS - 1, alive) == ()
    assert recorder.admit([record("v"), record(message="n"), record(reason="S")], 1.0, alive) == (
        record("v"),
        record(message="n"),
        record(reason="S"),
    )
    assert recorder.admit([record()], REPEAT_SECONDS, alive) == (record(),)


def test_a_change_of_replicas_always_passes() -> None:
    recorder = EventDeduplicator()
    assert recorder.admit([record(action=SCALE)], 0.0, {"u"}) == recorder.admit([record(action=SCALE)], 1.0, {"u"})
    assert len(recorder) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.text(max_size=2), st.booleans()), max_size=100))
def test_only_living_objects_are_remembered(story: list[tuple[int, str, bool]]) -> None:
    recorder = EventDeduplicator()
    for tick, (uid, message, alive) in enumerate(story):
        passed = recorder.admit([record(str(uid), message=message)], float(tick), {str(uid)} if alive else set())
        assert alive or not passed
        assert len(recorder) <= len({said for who, said, _ in story[: tick + 1] if who == uid and alive})
    recorder.admit([], 0.0, set())
    assert len(recorder) == 0
