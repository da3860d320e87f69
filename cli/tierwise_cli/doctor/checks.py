"""Judges what a look at a cluster has seen: one finding or more for each subject, each with its remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

from tierwise_cli.doctor.facts import Facts, Finding, Installation, Level, Unread
from tierwise_cli.states import class_of

LEAST_KUBERNETES = (1, 31)
LEAST_KSERVE = (0, 17)
SKEW_WARNING, SKEW_PROBLEM = 5.0, 30.0  # seconds
SLOW_WEBHOOK = 2.0
LEASE_SECONDS = 60.0
_NEWER = f"install KServe {'.'.join(map(str, LEAST_KSERVE))} or later"
_APPLY_CRDS = (
    "helm upgrade --install tierwise-crds charts/tierwise-crds, or: tierwise crds | kubectl apply --server-side -f -"
)


def judge(facts: Facts) -> list[Finding]:
    """All findings, in the order in which one depends on the one before."""
    return [finding for check in CHECKS for finding in check(facts)]


def worst(findings: list[Finding]) -> Level:
    """The worst level among them."""
    order: tuple[Level, ...] = ("problem", "warning", "unknown", "ok")
    return next((level for level in order if any(each.level == level for each in findings)), "ok")


def _unknown(check: str, unread: Unread) -> Finding:
    return Finding(check, "unknown", unread.why)


def _kubernetes(facts: Facts) -> Iterator[Finding]:
    seen = facts.kubernetes
    if isinstance(seen, Unread):
        remedy = "check the kubeconfig's context: kubectl config current-context, kubectl version"
        yield Finding("Kubernetes", "problem", seen.why, remedy)
    elif _numbers(seen) < LEAST_KUBERNETES:
        least = ".".join(map(str, LEAST_KUBERNETES))
        yield Finding("Kubernetes", "problem", f"{seen} is older than {least}", f"upgrade to {least} or later")
    else:
        yield Finding("Kubernetes", "ok", seen)


def _clock(facts: Facts) -> Iterator[Finding]:
    seen = facts.skew_seconds
    if isinstance(seen, Unread):
        yield _unknown("Clock", seen)
        return
    if abs(seen) <= SKEW_WARNING:
        yield Finding("Clock", "ok", "agrees with the API server's")
        return
    said = f"this machine is {abs(seen):.0f} s {'ahead of' if seen > 0 else 'behind'} the API server"
    remedy = "set the clocks by NTP (timedatectl set-ntp true): ages are shown wrong, and tokens expire early"
    yield Finding("Clock", "problem" if abs(seen) > SKEW_PROBLEM else "warning", said, remedy)


def _crds(facts: Facts) -> Iterator[Finding]:
    seen = facts.crds
    if isinstance(seen, Unread):
        yield _unknown("CRDs", seen)
        return
    for name, digest in facts.expected.items():
        found = seen.get(name)
        if found is None:
            yield Finding("CRDs", "problem", f"{name} is not installed", _APPLY_CRDS)
        elif not found.established:
            yield Finding("CRDs", "problem", f"{name} is not served", f"kubectl describe crd {name} says why")
        elif found.digest != digest:
            said = f"{name} is of another release than this command: fields of one may be unknown to the other"
            yield Finding("CRDs", "warning", said, f"bring both to one release; the CRDs by {_APPLY_CRDS}")
        else:
            yield Finding("CRDs", "ok", f"{name} is of this release")


def _kserve(facts: Facts) -> Iterator[Finding]:
    seen, managers = facts.kserve, facts.managers
    if isinstance(seen, Unread):
        yield _unknown("KServe", seen)
        return
    if seen is None:
        yield Finding("KServe", "problem", "is not installed", "install it in Standard mode (README, Install)")
        return
    if "v1beta1" not in seen.served:
        said = f"serves {', '.join(seen.served) or 'no version'} of InferenceService, not v1beta1"
        yield Finding("KServe", "problem", said, _NEWER)
        return
    if isinstance(managers, Unread) or not managers:
        why = managers.why if isinstance(managers, Unread) else "its controller is no Deployment of this cluster"
        yield Finding("KServe", "unknown", f"InferenceService is served; {why}")
        return
    for each in managers:
        if each.version and _numbers(each.version) < LEAST_KSERVE:
            yield Finding("KServe", "problem", f"{each.version} is too old", _NEWER)
        elif not each.ready:
            remedy = f"kubectl -n {each.namespace} get pods, and the log of kserve-controller-manager"
            yield Finding("KServe", "problem", "no replica of its controller is ready", remedy)
        else:
            version = each.version or "of a version that its image does not tell"
            yield Finding("KServe", "ok", f"{version} in namespace {each.namespace}")


def _webhook(facts: Facts) -> Iterator[Finding]:
    seen = facts.webhook
    if isinstance(seen, Unread):
        yield _unknown("KServe's webhook", seen)
    elif seen.refused:
        remedy = "check the pods of KServe and the network from the API server to them (a firewall to port 9443, a CNI)"
        yield Finding("KServe's webhook", "problem", seen.refused, remedy)
    elif seen.seconds > SLOW_WEBHOOK:
        said = f"an InferenceService is answered after {seen.seconds:.1f} s; tiers are made and changed as slowly"
        remedy = "give KServe's controller more CPU, or more replicas; look for other webhooks on pods and Services"
        yield Finding("KServe's webhook", "warning", said, remedy)
    else:
        yield Finding("KServe's webhook", "ok", f"answers after {seen.seconds:.2f} s")


def _operator(facts: Facts) -> Iterator[Finding]:
    seen = facts.installations
    if isinstance(seen, Unread):
        yield _unknown("Operator", seen)
        return
    if not seen:
        remedy = (
            "build and push its image (README, Install), then: helm upgrade --install tierwise charts/tierwise "
            "-n tierwise-system --create-namespace --set image.repository=REGISTRY/tierwise/operator"
        )
        yield Finding("Operator", "problem", "no Deployment of Tierwise exists", remedy)
        return
    for each in seen:
        yield _one_operator(each)
    for one, other in combinations(seen, 2):
        # One for named namespaces goes before one for all: these two do not meet.
        if bool(one.watched) == bool(other.watched) and (not one.watched or one.watched & other.watched):
            said = f"{one} and {other} watch the same namespaces: only the older one acts there"
            yield Finding(
                "Operator",
                "problem",
                said,
                f"uninstall one, or divide them by watch.namespaces ({_watched(one, other)})",
            )
    if not any(each.watches(facts.namespace) for each in seen):
        said = f"nobody watches namespace {facts.namespace}: a tier there stays as it is"
        remedy = f"add {facts.namespace} to watch.namespaces of the chart, or use one of {_watched(*seen)}"
        yield Finding("Operator", "problem", said, remedy)


def _one_operator(each: Installation) -> Finding:
    logs = f"kubectl -n {each.namespace} logs deployment/{each.name}"
    if not each.ready:
        return Finding(
            "Operator", "problem", f"no replica of {each} is ready", f"kubectl -n {each.namespace} get pods; {logs}"
        )
    if each.renewed is not None and each.renewed > LEASE_SECONDS:
        said = f"{each} has not renewed its Lease for {each.renewed:.0f} s: nobody decides"
        return Finding("Operator", "problem", said, logs)
    return Finding("Operator", "ok", f"{each} {each.version}".strip())


def _watched(*installations: Installation) -> str:
    names = sorted(set().union(*(each.watched for each in installations)))
    return ", ".join(names) or "all namespaces"


def _prometheus(facts: Facts) -> Iterator[Finding]:
    seen = facts.prometheus
    if isinstance(seen, Unread):
        yield _unknown("Prometheus", seen)
    elif seen.answered is None:
        yield Finding("Prometheus", "unknown", f"{seen.url} cannot be tried from here: {seen.said}")
    elif not seen.answered:
        remedy = "correct the chart value prometheus.url; without measurements no tier is scaled"
        yield Finding("Prometheus", "problem", f"{seen.url} does not answer: {seen.said}", remedy)
    else:
        yield Finding("Prometheus", "ok", f"{seen.url} answers")


def _monitors(facts: Facts) -> Iterator[Finding]:
    seen = facts.monitors
    if isinstance(seen, Unread):
        yield _unknown("PodMonitor", seen)
        return
    if seen is None:
        remedy = "make Prometheus scrape the pods with the label tierwise.io/tier, or install the Prometheus operator"
        yield Finding("PodMonitor", "warning", "the cluster has no PodMonitors", f"{remedy}")
        return
    if not seen.labels:
        remedy = "chart value podMonitor.enabled: true, once the Prometheus operator is installed"
        yield Finding("PodMonitor", "problem", "Tierwise has no PodMonitor: its engines are not measured", remedy)
        return
    given = [selector for selector in seen.selectors if selector is not None]
    fits = {selector.fits(labels) for selector in given for labels in seen.labels}
    if not seen.selectors or True in fits:
        yield Finding("PodMonitor", "ok", f"{len(seen.labels)} of Tierwise")
    elif None in fits:
        said = "whether a Prometheus selects it is not known: its podMonitorSelector has matchExpressions"
        yield Finding("PodMonitor", "unknown", said)
    elif not given:
        said = "no Prometheus selects it: none has a podMonitorSelector, and without one no PodMonitor is selected"
        yield Finding("PodMonitor", "problem", said, "set podMonitorSelector: {} in the Prometheus object")
    else:
        wanted = " or ".join(_pairs(selector.labels) for selector in given)
        said = f"no Prometheus selects it: they want PodMonitors with {wanted}"
        yield Finding("PodMonitor", "problem", said, f"chart value podMonitor.labels: {wanted}")


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in sorted(labels.items()))


def _rights(facts: Facts) -> Iterator[Finding]:
    seen = facts.missing_rights
    if isinstance(seen, Unread):
        yield _unknown("Rights", seen)
    elif seen:
        remedy = f"kubectl create rolebinding tierwise-users -n {facts.namespace} --clusterrole=edit --user=YOU"
        yield Finding("Rights", "warning", f"in namespace {facts.namespace} you may not {', '.join(seen)}", remedy)
    else:
        yield Finding("Rights", "ok", f"you may read and write tiers and routes of namespace {facts.namespace}")


def _gpus(facts: Facts) -> Iterator[Finding]:
    seen = facts.gpus
    if isinstance(seen, Unread):
        yield _unknown("GPUs", seen)
        return
    usable = [each for each in seen if each.usable]
    if not seen:
        remedy = (
            "install the GPU operator or a device plugin; a pool that is scaled to zero shows none until it is asked"
        )
        yield Finding("GPUs", "warning", "no node offers GPUs", remedy)
    elif not usable:
        names = ", ".join(each.name for each in seen)
        yield Finding(
            "GPUs", "problem", f"no node with GPUs can take pods: {names}", "kubectl uncordon NODE, or describe it"
        )
    else:
        yield Finding("GPUs", "ok", f"{sum(each.gpus for each in usable)} on {len(usable)} nodes")


def _tiers(facts: Facts) -> Iterator[Finding]:
    seen = facts.tiers
    if isinstance(seen, Unread):
        yield _unknown("Tiers", seen)
        return
    good = [each for each in seen if class_of(each.state) in ("good", "moving")]
    for each in seen:
        if each not in good:
            said = f"{each.name} is {each.state or 'not looked at yet'}{f' ({each.reason})' if each.reason else ''}"
            yield Finding("Tiers", "warning", said, f"tierwise explain {each.name} -n {facts.namespace}")
    if not seen:
        yield Finding("Tiers", "ok", f"none in namespace {facts.namespace} yet")
    elif good:
        yield Finding("Tiers", "ok", f"{len(good)} of {len(seen)} in namespace {facts.namespace} are as they should be")


def _numbers(version: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _kubernetes,
    _clock,
    _rights,
    _crds,
    _kserve,
    _webhook,
    _operator,
    _prometheus,
    _monitors,
    _gpus,
    _tiers,
)
