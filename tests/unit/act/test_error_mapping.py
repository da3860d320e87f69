"""Checks that each failed write gets the reason that tells a person what to do."""

from __future__ import annotations

import pytest

from tierwise import reasons
from tierwise.act.error_mapping import to_action_error
from tierwise.errors import Conflict, Forbidden, Gone, Invalid, Refused, TierwiseError, Transient

CASES = {
    "webhook silent": (
        Transient(
            "apply inferenceservices default/chat: Internal error occurred: failed calling webhook "
            '"inferenceservice.kserve-webhook-server.defaulter": failed to call webhook: connection refused'
        ),
        reasons.KSERVE_NOT_ANSWERING,
    ),
    "webhook says no": (
        Forbidden(
            'admission webhook "validator" denied the request: MinReplicas cannot be greater than MaxReplicas',
            status=403,
        ),
        reasons.APPLY_REFUSED,
    ),
    "webhook says no at length": (
        Forbidden('admission webhook "v" denied the request: you cannot do that', status=403),
        reasons.APPLY_REFUSED,
    ),
    "schema": (Refused("spec.predictor: Invalid value", status=422, reason="Invalid"), reasons.APPLY_REFUSED),
    "role": (
        Forbidden('User "system:serviceaccount:t:op" cannot patch resource "inferenceservices"', status=403),
        reasons.FORBIDDEN,
    ),
    "quota": (Forbidden("exceeded quota: compute", status=403), reasons.APPLY_REFUSED),
    "terminating": (
        Forbidden("unable to create new content in namespace x because it is being terminated", status=403),
        reasons.DELETING,
    ),
    "namespace gone": (Gone('apply inferenceservices x/y: namespaces "x" not found', status=404), reasons.DELETING),
    "kind gone": (
        Gone("apply inferenceservices x/y: the server could not find the requested resource", status=404),
        reasons.KSERVE_MISSING,
    ),
    "deployment gone": (
        Gone('scale deployments x/y: deployments.apps "y" not found', status=404),
        reasons.WAITING_FOR_CHILDREN,
    ),
    "conflict": (Conflict("the object has been modified", status=409), reasons.CONFLICT),
    "silence": (Transient("the API server cannot be reached (TimeoutError)"), reasons.API_UNAVAILABLE),
    "unrenderable": (Invalid("no model to serve"), reasons.APPLY_REFUSED),
}


@pytest.mark.parametrize(("error", "reason"), CASES.values(), ids=CASES.keys())
def test_each_failure_has_its_reason(error: TierwiseError, reason: str) -> None:
    told = to_action_error(error)
    assert told.reason == reason
    assert error.message in told.message


def test_only_what_may_pass_by_itself_is_transient() -> None:
    transient = {name for name, (error, _) in CASES.items() if to_action_error(error).transient}
    assert transient == {"webhook silent", "conflict", "silence", "deployment gone"}
