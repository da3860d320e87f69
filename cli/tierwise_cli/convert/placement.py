"""Carries what says where pods may run over into a tier: nodes, spreading, tolerations, accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tierwise_cli.convert.draft import Draft, Reader
from tierwise_cli.convert.pod import POD_DEFAULTS

# Admission adds these to every pod.
_ADDED = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for taint in ("not-ready", "unreachable")
]
_OVER = {"kubernetes.io/hostname": "Hosts", "topology.kubernetes.io/zone": "Zones"}


def place(pod: Reader, draft: Draft) -> None:
    """Where the pods may run, and as whom. What the API server fills in says nothing of it."""
    pod.skip(POD_DEFAULTS)
    for key, path in (
        ("nodeSelector", "placement.nodeSelector"),
        ("runtimeClassName", "placement.runtimeClassName"),
        ("priorityClassName", "placement.priorityClassName"),
        ("schedulerName", "placement.schedulerName"),
    ):
        found = pod.take(key)
        if found and found != POD_DEFAULTS.get(key):
            draft.put(path, found, pod.path(key))
    tolerations = [each for each in pod.items("tolerations") if each not in _ADDED]
    if tolerations:
        draft.put("placement.tolerations", tolerations, pod.path("tolerations"))
    secrets = [str(each.take("name")) for each in pod.each("imagePullSecrets") if each.value.get("name")]
    if secrets:
        draft.put("placement.imagePullSecrets", secrets, pod.path("imagePullSecrets"))
    account = pod.take("serviceAccountName", pod.take("serviceAccount"))
    pod.take("serviceAccount")
    if account and account != "default":
        draft.put("model.serviceAccountName", account, pod.path("serviceAccountName"))
    grace = pod.number("terminationGracePeriodSeconds", None)
    if grace is not None and grace != POD_DEFAULTS["terminationGracePeriodSeconds"]:
        draft.put("drainSeconds", min(3600, grace), pod.path("terminationGracePeriodSeconds"))
    affinity(pod.inside("affinity"), draft)
    for each in pod.each("topologySpreadConstraints"):
        _spread(each, draft)


def affinity(found: Reader, draft: Draft) -> None:
    """The nodes that are needed and preferred; what is said of other pods is for the list."""
    node = found.inside("nodeAffinity")
    required = node.inside("requiredDuringSchedulingIgnoredDuringExecution")
    terms(required.each("nodeSelectorTerms"), draft)
    required.rest()
    for each in node.each("preferredDuringSchedulingIgnoredDuringExecution"):
        weight, preference = each.number("weight", 1), each.inside("preference")
        expressions = _expressions(preference)
        if expressions:
            before = draft.get("placement.affinity.preferred", [])
            one = {"weight": weight, "matchExpressions": expressions}
            draft.put("placement.affinity.preferred", [*before, one], preference.where)
        each.rest()
    node.rest()
    found.drop("podAntiAffinity", "use placement.spread: replicas over Hosts or Zones")
    found.rest()


def terms(found: Iterable[Reader], draft: Draft) -> None:
    """Descriptions of nodes, one of which must fit."""
    for each in found:
        expressions = _expressions(each)
        if expressions:
            before = draft.get("placement.affinity.required", [])
            draft.put("placement.affinity.required", [*before, {"matchExpressions": expressions}], each.where)


def _expressions(term: Reader) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for each in term.each("matchExpressions"):
        one = {key: each.take(key) for key in ("key", "operator")}
        values = each.words("values")
        found.append({**one, **({"values": values} if values else {})})
        each.rest()
    term.rest(otherwise="nodes are told by their labels: matchExpressions")
    return found


def _spread(found: Reader, draft: Draft) -> None:
    over = _OVER.get(str(found.value.get("topologyKey")))
    if over is None:
        found.drop("topologyKey", f"placement.spread knows {' and '.join(_OVER.values())}: {', '.join(_OVER)}")
    else:
        mode = "Required" if found.value.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule" else "Preferred"
        one = {"over": over, "mode": mode, "maxSkew": found.number("maxSkew", 1)}
        before = [each for each in draft.get("placement.spread", []) if each["over"] != over]
        draft.put("placement.spread", [*before, one], found.where)
    for key in ("topologyKey", "whenUnsatisfiable", "maxSkew"):
        found.take(key)
    found.take("labelSelector")  # which pods are spread: those of the tier
    found.rest()
