"""Checks that the ledger finds each kind of wrong write in an audit log, and no other.

The log is written by hand, a line per request as the API server writes it, second by second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit import Write, parse
from tests.faults.ledger import BLIND, BOUNDS, FOREIGN, LEADER, Blind, Ledger, judge

LEASE = ("ops", "tierwise")
START = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
MODEL = {"name": "chat", "uri": "hf://Qwen/Qwen3-8B"}
AUTO = {"model": MODEL, "scaling": {"minReplicas": 1, "maxReplicas": 4}}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a write. Without a UID and a body nothing of it was kept."""

    uid: str = ""
    owner: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    code: int = 200

    def kept(self, name: str, version: int) -> dict[str, Any] | None:
        """As the audit log has it."""
        if not self.uid:
            return dict(self.body) or None
        metadata: dict[str, Any] = {"name": name, "uid": self.uid, "resourceVersion": str(version)}
        if self.owner:
            metadata["ownerReferences"] = [{"uid": self.owner, "controller": True}]
        return {"kind": "X", "metadata": metadata, **self.body}


@dataclass(frozen=True, slots=True)
class Told:
    """What a tier's status says of its measurements and of the last decision."""

    available: str = "True"
    waiting: str = "Value"
    decision: tuple[int, int] | None = None

    def status(self, at: float) -> dict[str, Any]:
        """As the tier has it."""
        signals = [{"name": name, "state": "Value"} for name in ("running", "kvCacheUsage")]
        decisions = []
        if self.decision is not None:
            when = (START + timedelta(seconds=at - 1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            decisions = [{"time": when, "from": self.decision[0], "to": self.decision[1]}]
        return {
            "conditions": [{"type": "MetricsAvailable", "status": self.available, "reason": "X"}],
            "scaling": {"signals": [*signals, {"name": "waiting", "state": self.waiting}], "decisions": decisions},
        }


NOTHING, WELL = Answer(), Told()


class Log:
    """An audit log in the making. Times are seconds after its beginning."""

    one = "system:serviceaccount:ops:one"

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.version = 100

    def write(
        self,
        at: float,
        user: str,
        what: str,
        answer: Answer = NOTHING,
        *,
        request: Any = None,
        namespace: str = "shop",
    ) -> None:
        """`what`: verb, resource with its subresource, and the name where one is asked for."""
        verb, resource, *named = what.split(" ")
        name = "".join(named)
        self.version += 1
        kind, _, sub = resource.partition("/")
        target = {"resource": kind, "namespace": namespace, "name": name, "subresource": sub}
        came = START + timedelta(seconds=at)
        line = {
            "stage": "ResponseComplete",
            "verb": verb,
            "user": {"username": user},
            "objectRef": {key: value for key, value in target.items() if value},
            "responseStatus": {"code": answer.code},
            "requestObject": request,
            "responseObject": answer.kept(name, self.version),
            "requestReceivedTimestamp": came.isoformat(),
            "stageTimestamp": (came + timedelta(milliseconds=5)).isoformat(),
        }
        self.lines.append(line)

    def lease(self, at: float, holder: str) -> None:
        spec = {"holderIdentity": f"{holder}_1234" if holder else "", "leaseDurationSeconds": 15}
        user = f"system:serviceaccount:ops:{holder or 'one'}"
        self.write(at, user, "update leases tierwise", request={"spec": spec}, namespace="ops")

    def leases(self, holder: str, since: int = 0, until: int = 120) -> None:
        for at in range(since, until, 2):
            self.lease(at, holder)

    def tier(self, at: float, spec: dict[str, Any], uid: str = "tier", verb: str = "patch") -> None:
        self.write(at, "kubectl", f"{verb} modeltiers chat", Answer(uid, body={"spec": spec}))

    def collection(self, at: float, uids: Sequence[str] | None, namespace: str = "shop") -> None:
        """Tiers are deleted without naming them; None: the answer was not kept."""
        body = {} if uids is None else {"kind": "ModelTierList", "items": [{"metadata": {"uid": uid}} for uid in uids]}
        user = "system:serviceaccount:kube-system:namespace-controller"
        self.write(at, user, "deletecollection modeltiers", Answer(body=body), namespace=namespace)

    def children(self, at: float, replicas: int, tier: str = "tier", suffix: str = "") -> None:
        kserve, manager = "system:serviceaccount:kserve:kserve", "system:serviceaccount:kube-system:d"
        isvc, deployment, rs = f"isvc{suffix}", f"deployment{suffix}", f"rs{suffix}"
        self.write(at, self.one, "patch inferenceservices chat", Answer(isvc, tier))
        made = Answer(deployment, isvc, {"spec": {"replicas": replicas}})
        self.write(at + 0.1, kserve, "create deployments chat-predictor", made)
        self.write(at + 0.2, manager, "create replicasets chat-predictor-1", Answer(rs, deployment))

    def scale(self, at: float, replicas: int, who: str = "one", uid: str = "deployment", code: int = 200) -> None:
        answer = Answer(uid, body={"spec": {"replicas": replicas} if replicas else {}}, code=code)
        self.write(at, f"system:serviceaccount:ops:{who}", "patch deployments/scale chat-predictor", answer)

    def status(
        self, at: float, spec: dict[str, Any], told: Told = WELL, *, uid: str = "tier", on: int | None = None
    ) -> None:
        version = self.version if on is None else on
        patch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": str(version)}]
        answer = Answer(uid, body={"spec": spec, "status": told.status(at)})
        self.write(at, self.one, "patch modeltiers/status chat", answer, request=patch)

    def wrong(self, *blind: Blind) -> list[tuple[str, float]]:
        """Kind and second of each wrong write."""
        return [(each.kind, round(each.at - START.timestamp(), 1)) for each in judge(self.parsed(), LEASE, blind)]

    def parsed(self) -> list[Write]:
        return parse(line.encode() + b"\n" for line in map(_compact, self.lines))


def _compact(line: dict[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":"))


def usual(spec: dict[str, Any] = AUTO, replicas: int = 1, leases: bool = True) -> Log:
    """A leader, a tier, its children, and a status that is all well."""
    log = Log()
    if leases:
        log.leases("one")
    log.tier(1, spec)
    log.children(2, replicas)
    log.status(3, spec)
    return log


def test_a_life_without_a_wrong_write() -> None:
    log = usual()
    log.scale(20, 4)
    log.status(21, AUTO, Told(decision=(1, 4)))
    log.scale(60, 2)
    log.status(61, AUTO, Told(decision=(4, 2)))
    pod = {"metadata": {"uid": "pod"}}
    log.write(59, log.one, "patch pods chat-1", Answer("pod", owner="rs"), request=pod)
    log.write(62, log.one, "create events chat-x")
    assert log.wrong() == []


def test_what_the_server_refused_harmed_nobody() -> None:
    log = usual()
    log.leases("two", 30)
    log.scale(50, 9, code=409)
    assert log.wrong() == []


def test_a_write_by_one_who_does_not_lead() -> None:
    log = usual()
    log.scale(20, 2, who="two")
    assert log.wrong() == [(LEADER, 20.0)]


def test_a_write_by_one_who_led_before() -> None:
    log = usual(leases=False)
    log.leases("one", 0, 20)
    log.leases("two", 34, 60)
    log.scale(33, 2)  # 15 s after its last renewal at 18
    log.scale(33.5, 3)
    log.write(40, log.one, "create events chat-x")
    assert log.wrong() == [(LEADER, 33.5), (LEADER, 40.0)]


def test_a_write_with_a_lease_that_was_given_back_or_never_taken() -> None:
    log = usual(leases=False)
    assert {kind for kind, _ in log.wrong()} == {LEADER}
    log.lease(0, "one")
    log.lease(10, "")
    log.scale(11, 2)
    assert log.wrong() == [(LEADER, 11.0)]


def test_replicas_outside_the_bounds() -> None:
    log = usual()
    log.scale(20, 5)
    assert log.wrong() == [(BOUNDS, 20.0)]


def test_bounds_of_a_moment_ago_still_count_and_those_before_do_not() -> None:
    log = usual()
    log.tier(30, {**AUTO, "scaling": {"minReplicas": 1, "maxReplicas": 2}})
    log.scale(35, 4)
    log.scale(50, 3)
    assert log.wrong() == [(BOUNDS, 50.0)]


def test_replicas_that_a_person_did_not_ask_for() -> None:
    log = usual({**AUTO, "replicas": 3})
    log.scale(20, 3)
    log.scale(40, 2)
    assert log.wrong() == [(BOUNDS, 40.0)]


def test_kubectl_scale_counts_as_a_pin() -> None:
    log = usual(replicas=2)
    log.write(20, "kubectl", "patch modeltiers/scale chat", Answer("tier", body={"spec": {"replicas": 0}}))
    log.scale(21, 0)
    assert log.wrong() == []


def test_advisory_writes_only_out_of_zero() -> None:
    advisory = {**AUTO, "scaling": {"minReplicas": 1, "maxReplicas": 4, "mode": "Advisory"}}
    log = usual(advisory, replicas=0)
    log.scale(20, 2)
    log.scale(40, 3)
    assert log.wrong() == [(BOUNDS, 40.0)]


def test_down_without_a_value() -> None:
    for available, waiting in (("False", "Value"), ("Unknown", "Value"), ("True", "Stale"), ("True", "Missing")):
        log = usual(replicas=3)
        log.scale(20, 2)
        log.status(21, AUTO, Told(available, waiting, (3, 2)))
        assert log.wrong() == [(BLIND, 20.0)], (available, waiting)


def test_down_is_judged_by_the_status_that_stood_when_none_records_it() -> None:
    log = usual(replicas=3)
    log.status(10, AUTO, Told("False"))
    log.scale(20, 2)
    log.status(21, AUTO, Told(decision=(4, 3)))  # another decision
    log.status(50, AUTO, Told(decision=(3, 2)))  # too late to be the account of it
    assert log.wrong() == [(BLIND, 20.0)]
    log = usual(replicas=3)
    log.scale(20, 2)
    assert log.wrong() == []


def test_down_without_any_status() -> None:
    log = Log()
    log.leases("one")
    log.tier(1, AUTO)
    log.children(2, 3)
    log.scale(20, 2)
    assert log.wrong() == [(BLIND, 20.0)]


def test_down_while_the_test_knows_that_nothing_could_be_seen() -> None:
    log = usual(replicas=3)
    log.scale(20, 2)
    log.status(21, AUTO, Told(decision=(3, 2)))
    began = START.timestamp()
    assert log.wrong(Blind("shop", "chat", began + 15, began + 25)) == [(BLIND, 20.0)]
    assert log.wrong(Blind("shop", "other", began + 15, began + 25)) == []
    assert log.wrong(Blind("shop", "chat", began + 25, began + 30)) == []


def test_a_lower_maximum_and_a_pin_need_no_metrics() -> None:
    log = usual(replicas=4)
    log.status(10, AUTO, Told("False"))
    log.tier(20, {**AUTO, "scaling": {"minReplicas": 1, "maxReplicas": 3}})
    log.scale(21, 3)
    log.tier(40, {**AUTO, "replicas": 1})
    log.scale(41, 1)
    assert log.wrong() == []
    log.scale(60, 0)
    assert (BLIND, 60.0) in log.wrong()


def test_a_strangers_deployment_and_one_that_nobody_made() -> None:
    log = usual()
    log.write(10, "kubectl", "create deployments chat-predictor", Answer("theirs", body={"spec": {"replicas": 1}}))
    log.scale(20, 2, uid="theirs")
    log.scale(21, 2, uid="unheard-of")
    assert log.wrong() == [(FOREIGN, 20.0), (FOREIGN, 21.0)]


def test_the_children_of_a_tier_that_is_gone() -> None:
    log = usual()
    log.write(20, "kubectl", "delete modeltiers chat")
    log.tier(21, AUTO, uid="namesake", verb="create")
    log.scale(25, 2)  # cannot have been known yet
    log.scale(40, 3)
    assert log.wrong() == [(FOREIGN, 40.0)]


@pytest.mark.parametrize("items", [None, [], ["tier"], ["other"]], ids=["unkept", "none", "this", "another"])
def test_the_children_of_a_tier_that_went_with_a_collection(items: list[str] | None) -> None:
    """As a namespace takes its tiers with it: the request names none of them, its answer does, where it was kept."""
    log = usual()
    log.collection(20, items)
    log.scale(25, 2)  # cannot have been known yet
    log.scale(40, 3)
    assert log.wrong() == ([] if items in ([], ["other"]) else [(FOREIGN, 40.0)])


def test_a_collection_of_another_namespace_and_one_that_is_asked_for_twice() -> None:
    log = usual()
    log.collection(20, None, namespace="market")
    log.scale(40, 3)
    assert log.wrong() == []
    log.collection(50, ["tier"])
    log.collection(60, ["tier"])  # something holds it up
    log.scale(65, 2)
    assert log.wrong() == [(FOREIGN, 65.0)]


def test_a_status_decided_on_a_namesake() -> None:
    log = usual()
    before = log.version
    log.write(20, "kubectl", "delete modeltiers chat")
    log.tier(21, AUTO, uid="namesake", verb="create")
    log.status(22, AUTO, uid="namesake", on=before)
    assert log.wrong() == [(FOREIGN, 22.0)]
    log.status(23, AUTO, uid="namesake")
    assert log.wrong() == [(FOREIGN, 22.0)]


def test_an_inference_service_that_was_a_strangers() -> None:
    log = usual()
    log.write(10, "kubectl", "create inferenceservices other", Answer("their-isvc"))
    log.write(25, log.one, "patch inferenceservices other", Answer("their-isvc", owner="tier"))
    log.write(40, log.one, "delete inferenceservices chat", Answer("isvc"))
    assert log.wrong() == [(FOREIGN, 25.0)]


def test_an_inference_service_for_an_unknown_tier_and_a_kind_that_no_tier_has() -> None:
    log = usual()
    log.write(25, log.one, "patch inferenceservices new", Answer("new", owner="who"))
    log.write(26, log.one, "create secrets new", Answer("secret"))
    assert log.wrong() == [(FOREIGN, 25.0), (FOREIGN, 26.0)]


def test_a_pod_of_somebody_else_and_an_annotation_that_names_no_uid() -> None:
    log = usual()
    log.write(25, log.one, "patch pods p", Answer("p"), request={"metadata": {"uid": "p"}})
    log.write(26, log.one, "patch pods q", Answer("q", owner="rs"), request={"metadata": {}})
    assert log.wrong() == [(FOREIGN, 25.0), (FOREIGN, 26.0)]


def test_a_log_on_disk_and_a_line_that_is_being_written(tmp_path: Path) -> None:
    log = usual()
    log.scale(20, 5)
    path = tmp_path / "audit.log"
    path.write_text("".join(f"{_compact(line)}\n" for line in log.lines) + '{"verb":"patch"')
    ledger = Ledger(path, LEASE)
    assert ledger.wrong() == [], "all of that was before"
    ledger._since = START.timestamp()
    [wrong] = ledger.wrong()
    assert str(wrong).startswith(
        "out of bounds: patch deployments/scale shop/chat-predictor by one at 12:00:20: 1 to 5"
    )
    assert len(ledger.written("deployments/scale", "chat-predictor")) == 1


def test_what_a_route_is_made_of_is_written_only_under_the_name_of_a_route() -> None:
    log = usual()
    log.write(10, "kubectl", "patch modelroutes front")
    for what in ("patch services front", "patch deployments front-router", "patch modelroutes/status front"):
        log.write(11, log.one, what)
    assert log.wrong() == []
    log.write(12, log.one, "patch deployments web")
    log.write(13, log.one, "patch services front", namespace="elsewhere")
    assert log.wrong() == [(FOREIGN, 12.0), (FOREIGN, 13.0)]
