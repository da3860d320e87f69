"""Renders the InferenceService of a tier.

KServe copies everything in its metadata into the pod template, so nothing there may vary: three labels and two
annotations, for ever. A restart that somebody asks for stands in the annotations of the predictor instead, which only
reach the pod template. Replicas are not in it: KServe's class `external` never writes them, and the operator scales the
Deployment. The object is created with class `none` and minReplicas 0, because every other class starts one pod whatever
minReplicas says. It changes to `external` while still at 0, which restarts nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from tierwise.act.render.pod import pod_spec
from tierwise.api.modeltier import API_VERSION, ModelTierSpec
from tierwise.errors import Invalid
from tierwise.kube.objects import (
    AUTOSCALER_CLASS,
    DEPLOYMENT_MODE,
    KSERVE_API,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    RESTARTED_AT,
    TIER_LABEL,
)
from tierwise.types import TierObject
from tierwise.types.capabilities import EngineRules

Scaler = Literal["none", "external"]

_STRATEGIES = {
    "Surge": {"maxSurge": 1, "maxUnavailable": 0},
    "Replace": {"maxSurge": 0, "maxUnavailable": 1},
}


def render(
    tier: TierObject,
    *,
    scaler: Scaler,
    spec: ModelTierSpec | None = None,
    name: str | None = None,
    engine_rules: EngineRules | None = None,
) -> dict[str, Any]:
    """The InferenceService of a tier, as a manifest for server-side apply. `scaler` is KServe's autoscaler class,
    `spec` what its replicas are made from (the tier's own), `name` that of the workload (the tier's own);
    `engine_rules` is what the operator was told of engines.

    Raises tierwise.errors.Invalid for a tier without a model of its own, and for one that the engine would refuse."""
    spec = spec if spec is not None else tier.spec
    if spec is None or spec.model is None:
        raise Invalid(f"tier {tier.key} has no model to serve{f': {tier.invalid}' if tier.invalid else ''}")
    return {
        "apiVersion": KSERVE_API,
        "kind": "InferenceService",
        "metadata": {
            "annotations": {
                AUTOSCALER_CLASS: scaler,
                DEPLOYMENT_MODE: "Standard",
            },
            "labels": {
                MANAGED_BY_LABEL: MANAGED_BY,
                "networking.kserve.io/visibility": "cluster-local",
                TIER_LABEL: tier.key.name,
            },
            "name": name if name is not None else tier.key.name,
            "namespace": tier.key.namespace,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "blockOwnerDeletion": False,
                    "controller": True,
                    "kind": "ModelTier",
                    "name": tier.key.name,
                    "uid": tier.uid,
                }
            ],
        },
        "spec": {
            "predictor": {
                "deploymentStrategy": {
                    "rollingUpdate": dict(_STRATEGIES[spec.rollout]),
                    "type": "RollingUpdate",
                },
                "minReplicas": 0,
                **_restarted(pod_spec(spec, spec.model, tier.key.name, engine_rules), tier.restarted_at),
            }
        },
    }


def _restarted(pod: dict[str, Any], at: str) -> dict[str, Any]:
    """The predictor with the time of the restart that somebody asked for; nobody has: as it is."""
    if not at:
        return pod
    return {**pod, "annotations": dict(sorted({**pod.get("annotations", {}), RESTARTED_AT: at}.items()))}
