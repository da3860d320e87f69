"""Makes and heals what routes are made of.

Each route has its own try and its own time, and what fails becomes a reason and a sentence. A route whose writes were
not answered comes after the others in the next cycle, and such a child after its siblings: a webhook that hangs for one
keeps nothing else from being healed. Only what differs is written, by server-side apply, on the version that was looked
at. An object of the same name that belongs to somebody else is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tierwise import reasons
from tierwise.act.error_mapping import to_action_error
from tierwise.act.former_bindings import former_bindings, let_go
from tierwise.act.guarded_client import GuardedClient
from tierwise.act.managed_fields import describe_edit
from tierwise.act.render import RouterParts, child_name, lacking, render_router
from tierwise.act.write_state import WriteKey, WriteState
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.errors import Conflict, TierwiseError
from tierwise.kube.objects import DEPLOYMENTS, FIELD_MANAGER, RENDERED, ROLE_BINDINGS, ROUTER_CHILDREN, SERVICE_ACCOUNTS
from tierwise.ports import Cluster, ObjectRef
from tierwise.types import (
    ActionError,
    ChildEvent,
    RouteOutcome,
    RoutePlan,
    RouterPod,
    RouteView,
    Snapshot,
    WorkloadKey,
)

logger = logging.getLogger(__name__)

PARALLEL = 4
PLURALS = {kind: plural for plural, (_, kind) in ROUTER_CHILDREN.items()}
_NO_IMAGE = ActionError(reasons.ROUTER_IMAGE_MISSING, "")
_NO_TURN = ActionError(
    reasons.API_UNAVAILABLE,
    "no time was left for it in this cycle: what was asked for other routes took all of it",
    transient=True,
)
# Of the time for all routes, what one of them may take while it waits for an answer.
ROUTE_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class _Routes:
    """What the writes for all routes share."""

    cluster: Cluster
    pod: RouterPod
    write_state: WriteState
    at: float


@dataclass(slots=True)
class _Written:
    """What was written for one route, the UID of its ServiceAccount, and the child that is at work (its plural)."""

    events: list[ChildEvent] = field(default_factory=list)
    account: str = ""
    writing: str = ""

    def made(self, found: Mapping[str, Any]) -> None:
        """This exists now."""
        if found.get("kind") == "ServiceAccount":
            self.account = _uid(found)


async def act_routes(
    snapshot: Snapshot,
    plans: tuple[RoutePlan, ...],
    cluster: Cluster,
    write_state: WriteState,
    pod: RouterPod | None,
    *,
    limit_seconds: float,
) -> tuple[RouteOutcome, ...]:
    """Write what the plans say, in `limit_seconds` for all of them. Raises nothing: every failure is in an outcome."""
    views = {view.route.key: view for view in snapshot.routes}
    write_state.forget(views)
    gate = asyncio.Semaphore(PARALLEL)
    now = asyncio.get_running_loop().time
    deadline = now() + limit_seconds

    async def one(plan: RoutePlan) -> RouteOutcome:
        if not plan.serve:
            return RouteOutcome(plan.key)
        if pod is None:
            return RouteOutcome(plan.key, error=_NO_IMAGE)
        written = _Written()
        async with gate:
            tried = now() < deadline
            try:
                # Without any time left this still lets pass what has nothing to write, and so waits for nothing.
                async with asyncio.timeout_at(min(deadline, now() + limit_seconds * ROUTE_SHARE)):
                    error = await _children(
                        views[plan.key], plan, _Routes(cluster, pod, write_state, snapshot.at), written
                    )
            except TimeoutError:
                error = _NO_TURN
                if tried:
                    write_state.failed_at[WorkloadKey(plan.key, written.writing)] = snapshot.at
                    error = _unanswered(written.writing)
            except Exception as defect:  # met by one route, it must not stop the others
                logger.exception("the plan of a route could not be carried out", extra={"route": str(plan.key)})
                error = ActionError(reasons.INTERNAL_ERROR, f"{type(defect).__name__}: {defect}")
        return RouteOutcome(plan.key, tuple(written.events), error)

    done = await asyncio.gather(*map(one, sorted(plans, key=partial(_last_failure, write_state))))
    return tuple(sorted(done, key=lambda outcome: outcome.key))


def _last_failure(state: WriteState, plan: RoutePlan) -> float:
    """When a child of the route was last not written because nobody answered; 0 when none stands."""
    return max((state.failed_at.get(WorkloadKey(plan.key, plural), 0.0) for plural in ROUTER_CHILDREN), default=0.0)


def _unanswered(plural: str) -> ActionError:
    what = f"the {ROUTER_CHILDREN[plural][1]}" if plural in ROUTER_CHILDREN else "an object of the route"
    said = f"{what} was not written in time: the API server, or a webhook behind it, does not answer"
    return ActionError(reasons.API_UNAVAILABLE, said, transient=True)


async def _children(view: RouteView, plan: RoutePlan, shared: _Routes, written: _Written) -> ActionError | None:
    """Bring about all children; what failed first. Those after it are tried all the same: a Service that somebody else
    has must not keep the Deployment from being healed."""
    route, spec = view.route, view.route.spec
    if spec is None:
        return None
    cluster = GuardedClient(route, shared.cluster, MODEL_ROUTE)
    known = view.child(SERVICE_ACCOUNTS)
    written.account = _uid(known.manifest) if known is not None else ""
    first: ActionError | None = None
    failed = shared.write_state.failed_at
    for plural in sorted(ROUTER_CHILDREN, key=lambda each: failed.get(WorkloadKey(route.key, each), 0.0)):
        written.writing = plural
        # What the pods are depends on the ServiceAccount, which may have just been made.
        wanted = render_router(RouterParts(route, spec, plan.ladder, shared.pod, written.account), plural)
        child = view.child(plural, wanted["metadata"]["name"])
        if child is not None and (child.deleting or not lacking(wanted, child.manifest)):
            shared.write_state.went_well(WorkloadKey(route.key, plural))
        elif plural != DEPLOYMENTS or written.account:
            error = await _child(view, wanted, cluster, shared, written)
            first = first or error
    return first or await _let_go(view, cluster, shared, written)


async def _let_go(view: RouteView, cluster: GuardedClient, shared: _Routes, written: _Written) -> ActionError | None:
    """See to it that the rights of another ClusterRole end, once all that the routers need is there."""
    state, name = shared.write_state, child_name(view.route.key.name, ROLE_BINDINGS, shared.pod)
    for child in former_bindings(view, name):
        key, called = WorkloadKey(view.route.key, f"{ROLE_BINDINGS}/{child.name}"), f"RoleBinding {child.name}"
        mark = WriteKey(view.route.uid, view.route.generation, child.name)
        refusal = state.refused.get(key)
        if refusal is not None and refusal.stands(mark, shared.at):
            return refusal.error
        written.writing = ROLE_BINDINGS
        try:
            gone = await let_go(view, child, cluster)
            error = None if gone else ActionError(reasons.APPLY_REFUSED, f"{called}: something keeps it the route's")
        except Conflict:
            continue  # it has changed or is gone, and the watch is about to say so
        except TierwiseError as refused:
            error = to_action_error(refused)
        if error is not None:
            state.went_wrong(key, mark, error, shared.at)
            return error
        state.went_well(key)
        now_bound = f"the routers have the rights of the ClusterRole {shared.pod.cluster_role} now"
        written.events.append(ChildEvent(reasons.UPDATED, called, f"to be garbage collected: {now_bound}"))
    return None


async def _child(
    view: RouteView, wanted: Mapping[str, Any], cluster: Cluster, shared: _Routes, written: _Written
) -> ActionError | None:
    key = WorkloadKey(view.route.key, PLURALS[wanted["kind"]])
    state, mark = shared.write_state, WriteKey(view.route.uid, view.route.generation, _rendered(wanted))
    refusal = state.refused.get(key)
    if refusal is not None and refusal.stands(mark, shared.at):
        return refusal.error
    try:
        error = await _write(view, wanted, cluster, state, written)
    except TierwiseError as refused:
        error = to_action_error(refused)
    if error is not None:
        state.went_wrong(key, mark, error, shared.at)
    else:
        state.went_well(key)
    return error


async def _write(
    view: RouteView, wanted: Mapping[str, Any], cluster: Cluster, state: WriteState, written: _Written
) -> ActionError | None:
    metadata, plural = wanted["metadata"], PLURALS[wanted["kind"]]
    ref = ObjectRef(wanted["apiVersion"], plural, metadata["namespace"], metadata["name"])
    called, key = f"{wanted['kind']} {ref.name}", WorkloadKey(view.route.key, plural)
    found = await cluster.get(ref)
    if found is None:
        written.made(await cluster.apply(ref, wanted, force=False))
        complete = any(each.reason == reasons.ROUTER_EXISTS for each in view.route.status.conditions)
        event = (reasons.HEALED, called, "it had been deleted") if complete else (reasons.CREATED, called)
        written.events.append(ChildEvent(*event))
        return None
    if not _controlled(found, view.route.uid):
        said = f"{called} belongs to somebody else: rename the tier or route, or delete that object"
        return ActionError(reasons.NOT_OURS, said)
    different = lacking(wanted, found)
    if not different or found["metadata"].get("deletionTimestamp"):
        written.made(found)
        return None  # the watch is about to say so
    if state.contested.get(key) == (_rendered(wanted), str(different)):
        said = f"something changes {called} back right after it was applied ({', '.join(different[:3])})"
        return ActionError(reasons.APPLY_REFUSED, f"{said}: look at its managedFields and at the admission webhooks")
    version = {**metadata, "resourceVersion": found["metadata"]["resourceVersion"]}
    made = await cluster.apply(ref, {**wanted, "metadata": version})
    if still := lacking(wanted, made):
        state.contested[key] = _rendered(wanted), str(still)
    if _rendered(found) != _rendered(wanted):
        written.events.append(ChildEvent(reasons.UPDATED, called))
    else:
        by_whom = describe_edit(found, different, FIELD_MANAGER)
        written.events.append(ChildEvent(reasons.HEALED, called, by_whom))
    return None


def _uid(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"].get("uid") or "")


def _rendered(manifest: Mapping[str, Any]) -> str:
    return str((manifest["metadata"].get("annotations") or {}).get(RENDERED) or "")


def _controlled(found: Mapping[str, Any], uid: str) -> bool:
    owners = found["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)
