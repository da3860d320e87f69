"""One table: a reason appears only where the table says, and everything that this room can say is in it."""

from __future__ import annotations

from tests.unit.report import (
    test_metrics_condition,
    test_provisioned_condition,
    test_ready_condition,
    test_scaling_conditions,
)
from tierwise.reasons import CONDITION_TYPES, table
from tierwise.report.report_context import ReportContext
from tierwise.report.status import evaluate_conditions

WHERE = {reason.word: reason.where for reason in table()}
CASES: list[ReportContext] = [
    *(given[0] for given in test_provisioned_condition.ILL.values()),
    *test_provisioned_condition.WELL.values(),
    *(given[0] for given in test_metrics_condition.CASES.values()),
    *(given[0] for given in test_scaling_conditions.ACTIVE.values()),
    *(given[0] for given in test_ready_condition.CASES.values()),
]


def test_every_verdict_uses_a_reason_of_its_condition() -> None:
    said = {(verdict.type, verdict.reason) for case in CASES for verdict in evaluate_conditions(case)}
    assert [(kind, reason) for kind, reason in sorted(said) if kind not in WHERE[reason]] == []


def test_every_reason_of_a_condition_occurs_in_some_case() -> None:
    """What no case brings about is either untested or dead; the reasons that `decide` alone gives are named."""
    said = {(verdict.type, verdict.reason) for case in CASES for verdict in evaluate_conditions(case)}
    listed = {(kind, word) for word, where in WHERE.items() for kind in where if kind in CONDITION_TYPES}
    by_decision = {pair for pair in listed if pair[0] == "ScalingLimited"}
    by_writing = {("Provisioned", "InternalError"), ("Provisioned", "APIUnavailable")}
    # What `engines.check` says is passed on as it is, and tested there: engines/test_{refusals,mismatches}.py.
    by_fit = {"WrongGPU", "DriverTooOld", "ContextTooLong", "ContextDoesNotFit", "WeightsDoNotFit", "NotDivisible"}
    checked = by_fit | {"ArgumentNotAllowed", "NameTooLong", "CheckpointDiffers", "DraftUnfit"}
    by_checking = {("Accepted", word) for word in checked}
    assert listed - said - by_decision - by_writing - by_checking == set()
