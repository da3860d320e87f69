"""Looks at a cluster with the rights of the one who asks.

Every look is one request or two, and stands alone: what is refused becomes `Unread` and the next one follows. Nothing
is written: the one InferenceService that is sent to KServe's webhook is a dry run.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from tierwise.errors import Forbidden, Gone, TierwiseError
from tierwise.kube.user_client import UserClient, path_of
from tierwise.quantity import parse_quantity
from tierwise_cli.doctor.facts import (
    Call,
    Definition,
    Facts,
    GPUNode,
    Installation,
    Manager,
    Monitors,
    Probe,
    Selector,
    TierState,
    Unread,
)
from tierwise_cli.kinds import TIERS

T = TypeVar("T")
CRD_API, APPS, MONITORING = "apiextensions.k8s.io/v1", "apps/v1", "monitoring.coreos.com/v1"
KSERVE_CRD = "inferenceservices.serving.kserve.io"
KSERVE = "control-plane=kserve-controller-manager"
OURS = "app.kubernetes.io/part-of=tierwise"
PROBE_SECONDS = 5.0
OPERATOR_CONTAINER = "operator"  # its name in the chart
LOGIN = "it wants a login ({0}), which the operator may have and this command has not"
CERTIFICATE = "it shows or wants a certificate of an authority that is not known here ({0})"
WITHOUT_PODS = (
    "Service {0} selects no pods, and the API server passes requests on to pods only; "
    "the condition MetricsAvailable of a tier says whether the operator reaches it"
)
# Go's words for a certificate that one side of a connection does not take, as the API server repeats them.
_CERTIFICATE_WORDS = re.compile(r"x509: |tls: .*certificate")
_GPU = re.compile(r"^(nvidia\.com/(gpu|mig-.+)|amd\.com/gpu|gpu\.intel\.com/.+|habana\.ai/gaudi)$")
_RIGHTS = tuple(
    (verb, resource) for resource in ("modeltiers", "modelroutes") for verb in ("list", "create", "patch", "delete")
)


def read(what: Callable[[], T]) -> T | Unread:
    """What a look has seen, or why it has not."""
    try:
        return what()
    except Forbidden as error:
        return Unread(f"you may not see it: {error.message}")
    except TierwiseError as error:
        return Unread(error.message)


class Look:
    """One look at one cluster. `now`: this machine's clock, in seconds since the epoch."""

    def __init__(
        self, client: UserClient, namespace: str, *, prometheus: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._client, self._namespace, self._now = client, namespace, now
        self._prometheus_url = prometheus

    def facts(self, expected: Mapping[str, str]) -> Facts:
        """Everything; `expected`: digests of the CRDs of this release, by name."""
        kubernetes = read(self._kubernetes)
        if isinstance(kubernetes, Unread):  # whatever follows would fail for the same reason
            return Facts(self._namespace, kubernetes=kubernetes, expected=expected)
        installations = read(self._installations)
        return Facts(
            namespace=self._namespace,
            kubernetes=kubernetes,
            skew_seconds=read(self._skew),
            crds=read(lambda: {name: self._definition(name) for name in expected}),
            expected=expected,
            kserve=read(lambda: self._definition(KSERVE_CRD)),
            managers=read(self._managers),
            webhook=read(self._webhook),
            installations=installations,
            prometheus=read(lambda: self._prometheus(installations)),
            monitors=read(self._monitors),
            missing_rights=read(self._rights),
            gpus=read(self._gpus),
            tiers=read(self._tiers),
        )

    def _kubernetes(self) -> str:
        return str(self._client.get("get the version", "/version").body["gitVersion"])

    def _skew(self) -> float | Unread:
        before = self._now()
        served = self._client.get("get the version", "/version").served_at
        if served is None:
            return Unread("the API server does not say what time it is")
        after = self._now()
        # The header has whole seconds: up to one of difference is none.
        middle = (before + after) / 2
        early, late = middle - (served + 1), middle - served
        return 0.0 if early <= 0.5 and late >= -0.5 else (early if early > 0 else late)

    def _definition(self, name: str) -> Definition | None:
        try:
            body = self._client.get(f"get crd {name}", path_of(CRD_API, "customresourcedefinitions", name=name)).body
        except Gone:
            return None
        return Definition(
            established=_true(body.get("status") or {}, "Established"),
            served=tuple(each["name"] for each in body["spec"]["versions"] if each.get("served")),
            digest=digest(body),
        )

    def _managers(self) -> tuple[Manager, ...]:
        found = self._client.items("list deployments", path_of(APPS, "deployments"), {"labelSelector": KSERVE})
        return tuple(_manager(each) for each in found)

    def _webhook(self) -> Call | Unread:
        path = path_of("serving.kserve.io/v1beta1", "inferenceservices", self._namespace)
        before = time.monotonic()
        try:
            self._client.create(f"try an InferenceService in namespace {self._namespace}", path, TRIAL, dry_run=True)
        except Forbidden as error:
            return Unread(f"you may not try one: {error.message}")
        except Gone:
            return Unread(f"KServe is not there, or namespace {self._namespace} is not")
        except TierwiseError as error:
            return Call(time.monotonic() - before, error.message)
        return Call(time.monotonic() - before)

    def _installations(self) -> tuple[Installation, ...]:
        found = self._client.items("list deployments", path_of(APPS, "deployments"), {"labelSelector": OURS})
        return tuple(self._installation(each) for each in found if _operator(each) is not None)

    def _installation(self, deployment: Mapping[str, Any]) -> Installation:
        metadata = deployment["metadata"]
        environment = {each["name"]: each.get("value") or "" for each in (_operator(deployment) or {}).get("env") or ()}
        return Installation(
            namespace=metadata["namespace"],
            name=metadata["name"],
            version=(metadata.get("labels") or {}).get("app.kubernetes.io/version", ""),
            ready=(deployment.get("status") or {}).get("readyReplicas") or 0,
            watched=frozenset(filter(None, environment.get("TIERWISE_NAMESPACES", "").split(","))),
            prometheus=environment.get("TIERWISE_PROMETHEUS_URL", ""),
            renewed=self._renewed(metadata["namespace"], environment.get("TIERWISE_LEASE_NAME") or metadata["name"]),
        )

    def _renewed(self, namespace: str, name: str) -> float | None:
        path = path_of("coordination.k8s.io/v1", "leases", namespace, name)
        seen = read(lambda: self._client.get(f"get leases {namespace}/{name}", path))
        if isinstance(seen, Unread) or seen.served_at is None:
            return None
        renewed = (seen.body.get("spec") or {}).get("renewTime")
        return seen.served_at - datetime.fromisoformat(renewed).timestamp() if renewed else None

    def _prometheus(self, installations: tuple[Installation, ...] | Unread) -> Probe | Unread:
        known = () if isinstance(installations, Unread) else installations
        url = self._prometheus_url or next((each.prometheus for each in known if each.prometheus), "")
        if not url:
            return Unread("its address is in the operator's Deployment, which was not found: give --prometheus-url")
        host = urlsplit(url).hostname or ""
        parts = host.removesuffix(".cluster.local").split(".")
        if len(parts) == 3 and parts[2] == "svc":
            return self._through_service(url, parts[0], parts[1])
        return _direct(url)

    def _through_service(self, url: str, service: str, namespace: str) -> Probe:
        """Through the API server, since a name of the cluster means nothing here."""
        parsed = urlsplit(url)
        scheme = "https:" if parsed.scheme == "https" else ""
        port = parsed.port or (443 if scheme else 80)
        path = (
            path_of("v1", "services", namespace, f"{scheme}{service}:{port}")
            + f"/proxy{parsed.path.rstrip('/')}/-/ready"
        )
        try:
            self._client.get(f"ask services {namespace}/{service}", path)
        except Forbidden as error:
            if not error.reason:  # the API server says why it refuses; what stands behind it does not
                return Probe(url, None, LOGIN.format(403))
            return Probe(url, None, f"you may not use services/proxy in namespace {namespace}")
        except TierwiseError as error:
            if "(401)" in error.message:  # of Prometheus: the API server has taken our credentials before
                return Probe(url, None, LOGIN.format(401))
            if found := _CERTIFICATE_WORDS.search(error.message):
                return Probe(url, None, CERTIFICATE.format(error.message[found.start() :]))
            if self._without_pods(service, namespace):
                return Probe(url, None, WITHOUT_PODS.format(f"{namespace}/{service}"))
            return Probe(url, False, error.message)
        return Probe(url, True)

    def _without_pods(self, service: str, namespace: str) -> bool:
        """Whether a Service selects no pods: it leads elsewhere, and the API server passes nothing on to it."""
        seen = read(
            lambda: self._client.get(
                f"get services {namespace}/{service}", path_of("v1", "services", namespace, service)
            )
        )
        return not isinstance(seen, Unread) and not (seen.body.get("spec") or {}).get("selector")

    def _monitors(self) -> Monitors | None:
        try:
            found = self._client.items("list podmonitors", path_of(MONITORING, "podmonitors"), {"labelSelector": OURS})
        except Gone:
            return None
        labels = tuple((each["metadata"].get("labels") or {}) for each in found)
        servers = read(lambda: self._client.items("list prometheuses", path_of(MONITORING, "prometheuses")))
        if isinstance(servers, Unread):
            return Monitors(labels)
        return Monitors(
            labels, tuple(_selector((each.get("spec") or {}).get("podMonitorSelector")) for each in servers)
        )

    def _rights(self) -> tuple[str, ...]:
        missing = []
        for verb, resource in _RIGHTS:
            attributes = {
                "verb": verb, "resource": resource, "group": "tierwise.io", "namespace": self._namespace
            }  # fmt: skip
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
            path = path_of("authorization.k8s.io/v1", "selfsubjectaccessreviews")
            if not (self._client.create("ask for rights", path, review).body.get("status") or {}).get("allowed"):
                missing.append(f"{verb} {resource}")
        return tuple(missing)

    def _gpus(self) -> tuple[GPUNode, ...]:
        found = []
        for node in self._client.items("list nodes", path_of("v1", "nodes")):
            status = node.get("status") or {}
            allocatable = (status.get("allocatable") or {}).items()
            gpus = int(sum(parse_quantity(count) or 0 for key, count in allocatable if _GPU.match(key)))
            if gpus:
                ready = any(
                    each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()
                )
                usable = ready and not (node.get("spec") or {}).get("unschedulable")
                found.append(GPUNode(str(node["metadata"]["name"]), gpus, usable))
        return tuple(found)

    def _tiers(self) -> tuple[TierState, ...]:
        try:
            found = self._client.items("list modeltiers", TIERS.path(self._namespace))
        except Gone:
            return ()
        states = ((each["metadata"]["name"], each.get("status") or {}) for each in found)
        return tuple(TierState(name, status.get("state", ""), status.get("reason", "")) for name, status in states)


TRIAL = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "tierwise-doctor", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
    "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "example.com/none:v1"}]}},
}


def digest(crd: Mapping[str, Any]) -> str:
    """A digest of what a CRD says of objects: its schemas, without what the API server adds to them."""
    schemas = {
        each["name"]: each["schema"]["openAPIV3Schema"]["properties"].get("spec") for each in crd["spec"]["versions"]
    }
    return hashlib.sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:16]


def _true(status: Mapping[str, Any], condition: str) -> bool:
    return any(each["type"] == condition and each["status"] == "True" for each in status.get("conditions") or ())


def _operator(deployment: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The container of the operator, None for a Deployment of something else, such as a router."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    # By its name, since arguments are patched; by its arguments in a Deployment that is not the chart's.
    named = (each for each in containers if each.get("name") == OPERATOR_CONTAINER)
    running = (each for each in containers if (each.get("args") or [])[:1] == ["run"])
    found: Mapping[str, Any] | None = next(named, next(running, None))
    return found


def _manager(deployment: Mapping[str, Any]) -> Manager:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    image = next((str(each.get("image")) for each in containers if "kserve" in str(each.get("image"))), "")
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    ready = (deployment.get("status") or {}).get("readyReplicas") or 0
    return Manager(deployment["metadata"]["namespace"], tag if re.search(r"\d+\.\d+", tag) else "", ready)


def _selector(selector: Mapping[str, Any] | None) -> Selector | None:
    if selector is None:
        return None
    return Selector(dict(selector.get("matchLabels") or {}), more=bool(selector.get("matchExpressions")))


def _direct(url: str) -> Probe:
    try:
        with urlopen(f"{url.rstrip('/')}/-/ready", timeout=PROBE_SECONDS) as answer:  # noqa: S310 - the operator's own URL
            return Probe(url, answer.status == 200, f"HTTP {answer.status}")
    except HTTPError as error:
        if error.code in (401, 403):
            return Probe(url, None, LOGIN.format(error.code))
        return Probe(url, False, str(error.reason))
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        tls = reason if isinstance(reason, ssl.SSLError) else error
        if isinstance(tls, ssl.SSLError) and "CERTIFICATE" in str(tls.reason):
            return Probe(url, None, CERTIFICATE.format(getattr(tls, "verify_message", "") or tls.reason))
        return Probe(url, False, str(reason))
