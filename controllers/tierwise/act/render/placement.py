"""Renders where pods may run: the fields of a pod that the scheduler reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tierwise.api.placement import Affinity, NodeRequirement, Placement, Spread, Toleration
from tierwise.kube.objects import TIER_LABEL

_TOPOLOGY = {"Hosts": "kubernetes.io/hostname", "Zones": "topology.kubernetes.io/zone"}
_UNSATISFIABLE = {"Preferred": "ScheduleAnyway", "Required": "DoNotSchedule"}


def placed(placement: Placement, tier: str) -> dict[str, Any]:
    """The fields of a pod for a placement; none for one that says nothing. `tier`: the name of the tier."""
    fields: dict[str, Any] = {}
    affinity = _affinity(placement.affinity)
    if affinity:
        fields["affinity"] = {"nodeAffinity": affinity}
    if placement.image_pull_secrets:
        fields["imagePullSecrets"] = [{"name": name} for name in placement.image_pull_secrets]
    if placement.node_selector:
        fields["nodeSelector"] = dict(sorted(placement.node_selector.items()))
    if placement.priority_class_name is not None:
        fields["priorityClassName"] = placement.priority_class_name
    if placement.runtime_class_name is not None:
        fields["runtimeClassName"] = placement.runtime_class_name
    if placement.scheduler_name is not None:
        fields["schedulerName"] = placement.scheduler_name
    if placement.tolerations:
        fields["tolerations"] = [_toleration(each) for each in placement.tolerations]
    if placement.spread:
        fields["topologySpreadConstraints"] = [_constraint(each, tier) for each in placement.spread]
    return fields


def _toleration(toleration: Toleration) -> dict[str, Any]:
    return toleration.model_dump(by_alias=True, exclude_none=True)


def _affinity(affinity: Affinity | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if affinity is None:
        return fields
    if affinity.preferred:
        fields["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"preference": {"matchExpressions": _expressions(each.match_expressions)}, "weight": each.weight}
            for each in affinity.preferred
        ]
    if affinity.required:
        terms = [{"matchExpressions": _expressions(each.match_expressions)} for each in affinity.required]
        fields["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    return fields


def _expressions(asked: Sequence[NodeRequirement]) -> list[dict[str, Any]]:
    return [
        {"key": each.key, "operator": each.operator} | ({"values": list(each.values)} if each.values else {})
        for each in asked
    ]


def _constraint(spread: Spread, tier: str) -> dict[str, Any]:
    """Only pods of the same template are counted, or a rollout would be spread around the pods that it replaces."""
    return {
        "labelSelector": {"matchLabels": {TIER_LABEL: tier}},
        "matchLabelKeys": ["pod-template-hash"],
        "maxSkew": spread.max_skew,
        "topologyKey": _TOPOLOGY[spread.over],
        "whenUnsatisfiable": _UNSATISFIABLE[spread.mode],
    }
