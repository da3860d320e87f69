"""The InferenceService of a pool that a tier has left: kept while it is of use, and then let go of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.workloads import only
from tests.unit.act.store import Store
from tests.unit.act.worlds import deployment_ref, known, kserve, look, plan, run, service_ref, tier
from tierwise import reasons
from tierwise.act.apply import WriteState
from tierwise.act.former_bindings import NOBODY
from tierwise.errors import Forbidden
from tierwise.types import PodFacts, TierView

POD = PodFacts("chat-0", "uid-0", "Running", ready=True, terminating=True, scheduled=True)


async def made(store: Store, memo: WriteState) -> None:
    for _ in range(2):
        await run(store, memo, look(store, tier()), plan(scale_to=None))
        kserve(store)
    store.writes.clear()


def retired(store: Store, **workload: Any) -> TierView:
    """The tier, whose only workload is retired."""
    seen = look(store, known())
    (here,) = seen.workloads
    return replace(seen, workloads=(replace(here, pool="l4", retired=True, **workload),))


def owners(store: Store) -> list[str]:
    return [each["uid"] for each in store.seen(service_ref())["metadata"]["ownerReferences"]]


async def test_what_is_of_no_use_any_more_is_given_to_nobody() -> None:
    store, memo = Store(), WriteState()
    await made(store, memo)
    before = store.seen(service_ref())
    done = only(await run(store, memo, retired(store), plan(scale_to=None)))
    assert (done.applied, done.event, done.error) == (True, reasons.RETIRED, None)
    assert owners(store) == [NOBODY]
    after = store.seen(service_ref())
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


@pytest.mark.parametrize("pods", [(POD,), (replace(POD, phase="Pending"),)])
async def test_while_a_pod_is_left_it_stays(pods: tuple[PodFacts, ...]) -> None:
    store, memo = Store(), WriteState()
    await made(store, memo)
    done = only(await run(store, memo, retired(store, pods=pods), plan(scale_to=None)))
    assert (done.applied, owners(store)) == (False, [tier().uid])
    gone = replace(POD, phase="Succeeded")
    assert only(await run(store, memo, retired(store, pods=(gone,)), plan(scale_to=None))).applied


async def test_while_replicas_are_asked_for_it_stays_and_they_are_written() -> None:
    store, memo = Store(), WriteState()
    await made(store, memo)
    await run(store, memo, look(store, tier()), plan(scale_to=2))
    seen = retired(store)
    assert seen.workloads[0].replicas == 2
    done = only(await run(store, memo, seen, plan(scale_to=1)))
    assert (done.applied, done.scaled_to, owners(store)) == (False, 1, [tier().uid])
    assert store.seen(deployment_ref())["spec"]["replicas"] == 1


async def test_what_the_tier_says_now_is_not_written_into_it() -> None:
    store, memo = Store(), WriteState()
    await made(store, memo)
    before = store.seen(service_ref())
    seen = retired(store, pods=(POD,))
    other = tier(spec={"model": {"name": "small", "uri": "hf://org/other"}, "resources": {"gpus": 1}})
    seen = replace(seen, tier=replace(seen.tier, spec=other.spec))
    await run(store, memo, seen, plan(scale_to=None))
    assert store.seen(service_ref()) == before


async def test_a_namesake_that_was_made_since_is_left_alone() -> None:
    store, memo = Store(), WriteState()
    await made(store, memo)
    seen = retired(store)
    (here,) = seen.workloads
    assert here.inference_service is not None
    older = replace(here, inference_service=replace(here.inference_service, uid="an older one"))
    await run(store, memo, replace(seen, workloads=(older,)), plan(scale_to=None))
    assert owners(store) == [tier().uid]


async def test_a_refusal_is_told_and_tried_again_later() -> None:
    store, memo = Store(), WriteState()
    await made(store, memo)
    store.failing["apply"] = Forbidden("the operator cannot patch it", status=403, reason="Forbidden")
    done = only(await run(store, memo, retired(store), plan(scale_to=None)))
    assert (done.error is not None and done.error.reason, owners(store)) == (reasons.FORBIDDEN, [tier().uid])
    store.failing.clear()
    store.reads.clear()
    again = only(await run(store, memo, retired(store), plan(scale_to=None)))
    assert (again.error, store.reads) == (done.error, []), "the same refusal stands for a while"
    assert only(await run(store, WriteState(), retired(store), plan(scale_to=None))).applied
