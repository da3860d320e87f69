"""What is written for routes: when, in which order, and what is left alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.builders.routes import POD, route, snapshot, spec, tier
from tests.unit.act.store import Store
from tierwise import reasons
from tierwise.act.former_bindings import NOBODY
from tierwise.act.render import child_name
from tierwise.act.routes import PARALLEL, act_routes
from tierwise.act.write_state import WriteState
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.decide.routes import plan_routes
from tierwise.errors import Conflict, Forbidden, Transient
from tierwise.kube.objects import ROUTER_CHILDREN
from tierwise.observe.route_object import child_record, route_views
from tierwise.ports import ObjectRef
from tierwise.types import RouteObject, RouteOutcome, RouterPod, RouteView

COMPLETE = {
    "conditions": [
        {
            "type": "Provisioned",
            "status": "True",
            "reason": "RouterExists",
            "lastTransitionTime": "2026-11-20T10:00:00Z",
        }
    ]
}
BINDING = "chat-router.tierwise-router"
NAMES = ["chat-router", BINDING, "chat", "chat-router", "chat-router"]


def ref(plural: str, name: str = "") -> ObjectRef:
    api_version, _ = ROUTER_CHILDREN[plural]
    return ObjectRef(api_version, plural, "team", name or child_name("chat", plural, POD))


class Scene:
    """A route in an API server in memory, cycle after cycle."""

    def __init__(self, **fields: Any) -> None:
        self.store, self.state = Store(), WriteState()
        self.route = route(**fields)
        self.put()

    def put(self, **metadata: Any) -> None:
        body = {"metadata": {"uid": self.route.uid, "generation": self.route.generation, **metadata}}
        self.store.put(ObjectRef.of(MODEL_ROUTE, "team", "chat"), body)

    def seen(self) -> RouteView:
        kept = self.store._objects.items()
        records = [child_record(at.plural, body) for at, body in kept if at.plural in ROUTER_CHILDREN]
        (view,) = route_views([self.route], records, [])
        return view

    async def cycle(self, pod: RouterPod | None = POD, *, at: float = 1000.0) -> RouteOutcome:
        self.store.writes.clear()
        self.store.reads.clear()
        seen = replace(snapshot([tier("small")], self.seen()), at=at)
        (outcome,) = await act_routes(seen, plan_routes(seen), self.store, self.state, pod, limit_seconds=5)
        return outcome

    def change(self, given: RouteObject) -> None:
        self.route = given
        self.put()


async def test_everything_is_made_in_one_cycle_and_then_nothing_is_asked_or_written() -> None:
    scene = Scene()
    outcome = await scene.cycle()
    assert outcome.error is None
    assert scene.store.writes == [("apply", name) for name in NAMES]
    assert {each.reason for each in outcome.written} == {reasons.CREATED}
    account = scene.store.seen(ref("serviceaccounts"))["metadata"]["uid"]
    template = scene.store.seen(ref("deployments"))["spec"]["template"]
    assert template["metadata"]["annotations"]["tierwise.io/service-account"] == account
    outcome = await scene.cycle()
    assert (outcome.error, outcome.written, scene.store.writes, scene.store.reads) == (None, (), [], [])


async def test_a_restart_of_the_routers_by_kubectl_is_left_to_be() -> None:
    """`kubectl rollout restart` of their Deployment: what it adds to the template is not taken back."""
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    restarted = scene.store.seen(ref("deployments"))
    metadata = restarted["spec"]["template"]["metadata"]
    metadata["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2026-11-30T09:00:00Z"
    scene.store.put(ref("deployments"), restarted)
    outcome = await scene.cycle()
    assert (outcome.error, outcome.written, scene.store.writes) == (None, (), [])


async def test_without_an_image_nothing_is_made() -> None:
    scene = Scene()
    outcome = await scene.cycle(None)
    assert outcome.error is not None
    assert (outcome.error.reason, scene.store.writes) == (reasons.ROUTER_IMAGE_MISSING, [])


@pytest.mark.parametrize("plural", ROUTER_CHILDREN)
async def test_what_was_deleted_is_made_again(plural: str) -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    scene.store.drop(ref(plural))
    outcome = await scene.cycle()
    assert ("apply", ref(plural).name) in scene.store.writes
    assert {(each.reason, each.detail) for each in outcome.written} >= {(reasons.HEALED, "it had been deleted")}
    # Pods hold a token of the ServiceAccount that was there before.
    assert len(scene.store.writes) == (2 if plural == "serviceaccounts" else 1)


async def test_an_edit_is_put_back_and_told() -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    edited = scene.store.seen(ref("services"))
    edited["spec"]["selector"] = {"tierwise.io/route": "nobody"}
    scene.store.put(ref("services"), edited)
    (event,) = (await scene.cycle()).written
    assert (event.reason, event.child) == (reasons.HEALED, "Service chat")
    assert "spec.selector" in event.detail
    assert scene.store.seen(ref("services"))["spec"]["selector"]["tierwise.io/route"] == "chat"


async def test_a_change_of_the_route_is_an_update_of_what_it_concerns() -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    scene.change(replace(scene.route, generation=2, spec=spec(replicas=5)))
    (event,) = (await scene.cycle()).written
    assert (event.reason, event.child) == (reasons.UPDATED, "Deployment chat-router")
    assert scene.store.seen(ref("deployments"))["spec"]["replicas"] == 5


async def test_a_stranger_of_the_same_name_is_left_alone_and_the_rest_is_made() -> None:
    scene = Scene()
    scene.store.put(ref("services"), {"kind": "Service", "spec": {"selector": {"app": "theirs"}}})
    outcome = await scene.cycle()
    assert outcome.error is not None
    assert outcome.error.reason == reasons.NOT_OURS
    assert "Service chat" in outcome.error.message
    assert scene.store.seen(ref("services"))["spec"] == {"selector": {"app": "theirs"}}
    assert ("apply", "chat") not in scene.store.writes
    assert len(scene.store.writes) == 4


async def test_nothing_is_written_for_a_route_that_has_changed_since() -> None:
    scene = Scene()
    scene.put(generation=2)
    outcome = await scene.cycle()
    assert outcome.error is not None
    assert (outcome.error.reason, scene.store.writes) == (reasons.CONFLICT, [])


async def test_a_refusal_is_not_repeated_at_once() -> None:
    scene = Scene()
    scene.store.failing["apply"] = Forbidden("apply serviceaccounts: user x cannot patch", status=403)
    outcome = await scene.cycle()
    assert outcome.error is not None
    assert outcome.error.reason == reasons.FORBIDDEN
    scene.store.failing.clear()
    assert (await scene.cycle()).error == outcome.error
    assert scene.store.writes == []
    assert (await scene.cycle(at=2000.0)).error is None
    assert len(scene.store.writes) == 5


async def test_a_server_that_does_not_answer_is_asked_again_in_the_next_cycle() -> None:
    scene = Scene()
    scene.store.failing["get"] = Transient("nobody answers")
    outcome = await scene.cycle()
    assert outcome.error is not None
    assert outcome.error.reason == reasons.API_UNAVAILABLE
    scene.store.failing.clear()
    assert (await scene.cycle()).error is None


async def test_without_a_service_account_no_deployment_is_made_that_would_be_replaced_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    original = scene.store.apply

    async def apply(at: ObjectRef, *given: Any, **how: Any) -> Any:
        if at.plural == "serviceaccounts":
            raise Conflict("somebody was faster", status=409)
        return await original(at, *given, **how)

    monkeypatch.setattr(scene.store, "apply", apply)
    assert (await scene.cycle()).error is not None
    assert ref("deployments") not in scene.store._objects


async def test_a_route_that_is_not_accepted_is_left_as_it_is() -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    scene.store.drop(ref("services"))
    scene.change(replace(scene.route, spec=None, invalid="no"))
    outcome = await scene.cycle()
    assert (outcome.error, scene.store.writes) == (None, [])


async def test_what_something_changes_back_is_not_written_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    await scene.cycle()
    original = scene.store.apply

    async def apply(at: ObjectRef, *given: Any, **how: Any) -> Any:
        await original(at, *given, **how)
        body = scene.store.seen(at)
        body["spec"]["maxUnavailable"] = 0
        return scene.store.put(at, body)

    monkeypatch.setattr(scene.store, "apply", apply)
    scene.store.put(ref("poddisruptionbudgets"), {**scene.store.seen(ref("poddisruptionbudgets")), "spec": {}})
    assert (await scene.cycle()).error is None
    outcome = await scene.cycle()
    assert outcome.error is not None
    assert (outcome.error.reason, scene.store.writes) == (reasons.APPLY_REFUSED, [])


OTHER = replace(POD, cluster_role="gateway-router")
FORMER, PRESENT = ref("rolebindings"), ref("rolebindings", "chat-router.gateway-router")


async def test_another_cluster_role_is_another_binding_and_the_former_one_is_left_to_the_garbage_collector() -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    before = scene.store.seen(FORMER)
    outcome = await scene.cycle(OTHER)
    assert outcome.error is None
    assert scene.store.writes == [("apply", PRESENT.name), ("apply", FORMER.name)]
    assert scene.store.seen(PRESENT)["roleRef"]["name"] == "gateway-router"
    former = scene.store.seen(FORMER)
    assert [owner["uid"] for owner in former["metadata"]["ownerReferences"]] == [NOBODY]
    assert (former["roleRef"], former["subjects"]) == (before["roleRef"], before["subjects"]), "no right is needed"
    said = {each.child: (each.reason, each.detail) for each in outcome.written}
    assert said[f"RoleBinding {FORMER.name}"] == (
        reasons.UPDATED,
        "to be garbage collected: the routers have the rights of the ClusterRole gateway-router now",
    )
    outcome = await scene.cycle(OTHER)
    assert (outcome.error, outcome.written, scene.store.writes) == (None, (), [])


async def test_a_former_binding_stays_until_the_routers_have_the_other_rights() -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    scene.store.failing[f"apply {PRESENT.name}"] = Forbidden("user x cannot bind", status=403)
    assert (await scene.cycle(OTHER)).error is not None
    assert scene.store.writes == []


async def test_a_former_binding_of_which_the_watch_is_behind_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    seen = scene.seen()
    await scene.cycle(OTHER)
    known = (*scene.seen().children, *(child for child in seen.children if child.name == FORMER.name))
    monkeypatch.setattr(scene, "seen", lambda: replace(seen, children=known))
    outcome = await scene.cycle(OTHER)
    assert (outcome.error, outcome.written, scene.store.writes) == (None, (), [])


async def test_a_former_binding_that_is_refused_is_told_and_tried_again_later() -> None:
    scene = Scene(status=COMPLETE)
    await scene.cycle()
    scene.store.failing[f"apply {FORMER.name}"] = Forbidden("a policy denied the request", status=403)
    error = (await scene.cycle(OTHER)).error
    assert error is not None
    assert error.reason == reasons.APPLY_REFUSED
    scene.store.failing.clear()
    assert (await scene.cycle(OTHER)).error == error
    assert (await scene.cycle(OTHER, at=2000.0)).error is None


class Crowd:
    """Routes of which some are never answered: their writes hang, as behind a webhook that is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hanging: int) -> None:
        self.store, self.state = Store(), WriteState()
        self.hang = {f"a{number}": "serviceaccounts" for number in range(hanging)}
        self.routes = [route(name) for name in (*self.hang, "well")]
        for each in self.routes:
            body = {"metadata": {"uid": each.uid, "generation": each.generation}}
            self.store.put(ObjectRef.of(MODEL_ROUTE, "team", each.key.name), body)
        original = self.store.apply

        async def apply(at: ObjectRef, *given: Any, **how: Any) -> Any:
            if self.hang.get(at.name.split("-router")[0]) == at.plural:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            return await original(at, *given, **how)

        monkeypatch.setattr(self.store, "apply", apply)

    async def cycle(self, at: float) -> dict[str, RouteOutcome]:
        records = [
            child_record(kept.plural, body)
            for kept, body in self.store._objects.items()
            if kept.plural in ROUTER_CHILDREN
        ]
        views = route_views(self.routes, records, [])
        seen = replace(snapshot([tier("small")], *views), at=at)
        done = await act_routes(seen, plan_routes(seen), self.store, self.state, POD, limit_seconds=0.4)
        return {each.key.name: each for each in done}

    def made(self, name: str) -> int:
        return sum(kept.plural in ROUTER_CHILDREN and kept.name.startswith(name) for kept in self.store._objects)


async def test_routes_whose_writes_hang_leave_time_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, PARALLEL)
    done = await crowd.cycle(1000.0)
    assert (done["well"].error, crowd.made("well")) == (None, len(ROUTER_CHILDREN))
    assert list(done) == sorted(done)
    for name in crowd.hang:
        error = done[name].error
        assert error is not None
        assert (error.reason, error.transient) == (reasons.API_UNAVAILABLE, True)
        assert "the ServiceAccount was not written in time" in error.message


async def test_routes_whose_writes_hung_come_after_the_others_in_the_next_cycle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(monkeypatch, 2 * PARALLEL)
    error = (await crowd.cycle(1000.0))["well"].error
    assert error is not None
    assert "what was asked for other routes took all of it" in error.message
    assert crowd.made("well") == 0
    assert (await crowd.cycle(1010.0))["well"].error is None
    assert crowd.made("well") == len(ROUTER_CHILDREN)
    crowd.hang.clear()
    done = await crowd.cycle(1020.0)
    assert [each.error for each in done.values()] == [None] * len(done)
    assert not crowd.state.failed_at


async def test_a_child_whose_write_hangs_keeps_its_siblings_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, 1)
    crowd.hang["a0"] = "rolebindings"
    await crowd.cycle(1000.0)
    assert crowd.made("a0") == 1
    done = await crowd.cycle(1010.0)
    assert done["a0"].error is not None
    assert crowd.made("a0") == len(ROUTER_CHILDREN) - 1
