"""Why a new router does not start, while those that run serve on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.routes import external, route, snapshot, spec, tier
from tests.unit.report.cases import NOW, pod, waiting
from tierwise import reasons
from tierwise.decide.routes import plan_routes
from tierwise.report.router_pods import router_problem
from tierwise.types import PodFacts, RouteView

NO_VOLUMES = "it gets no volumes. One of these, or a key in it, does not exist"
CLIENTS = {"secretName": "chat-clients"}
STUCK = waiting("r-2", "ContainerCreating", mounting=True)


def problem(*pods: PodFacts, tiers: tuple[str, ...] = ("small", "bought"), **fields: Any) -> tuple[str, str] | None:
    view = RouteView(route(given=spec(*tiers, **fields)), pods=pods)
    (plan,) = plan_routes(snapshot([tier("small"), external("bought")], view))
    return router_problem(view, plan, NOW)


def test_a_pod_without_volumes_names_every_secret_that_it_mounts() -> None:
    assert problem(pod("r-1"), STUCK, clients=CLIENTS) == (
        reasons.SECRET_MISSING,
        f"pod r-2: {NO_VOLUMES}: Secret provider (key token), Secret chat-clients",
    )


def test_a_certificate_that_is_missing_is_named() -> None:
    assert problem(STUCK, tiers=("small",), tls={"secretName": "chat-tls"}) == (
        reasons.SECRET_MISSING,
        f"pod r-2: {NO_VOLUMES}: Secret chat-tls (keys tls.crt, tls.key)",
    )


@pytest.mark.parametrize(
    "fine",
    [
        waiting("r-2", "ContainerCreating"),
        waiting("r-2", "ContainerCreating", mounting=True, scheduled_at=NOW - 30),
        waiting("r-2", "ContainerCreating", mounting=True, terminating=True),
        waiting("r-2", scheduled=False),
        waiting("r-2"),
        pod("r-2"),
    ],
    ids=["the image is pulled", "just scheduled", "terminating", "just made", "starting", "ready"],
)
def test_a_pod_that_may_still_start_is_no_problem(fine: PodFacts) -> None:
    assert problem(fine) is None


def test_a_pod_that_mounts_no_secret_lacks_none() -> None:
    assert problem(STUCK, tiers=("small",)) is None


@pytest.mark.parametrize(
    ("stuck", "said"),
    [
        (waiting("r-2", "ErrImagePull", "no such image"), "no such image"),
        (
            waiting("r-2", "ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: no such image'),
            "no such image",
        ),
        (waiting("r-2", "InvalidImageName"), "its image cannot be pulled"),
        (
            waiting("r-2", "CrashLoopBackOff", "back-off 10s", last_exit_message="ImportError: no module"),
            "CrashLoopBackOff; its last line: ImportError: no module",
        ),
        (waiting("r-2", "CreateContainerError", "no space"), "CreateContainerError; no space"),
        (waiting("r-2", "RunContainerError"), "RunContainerError"),
        (waiting("r-2", scheduled=False, unschedulable_message="0/3 nodes"), "0/3 nodes"),
    ],
)
def test_a_pod_that_does_not_start_is_told_in_words_that_last(stuck: PodFacts, said: str) -> None:
    assert problem(pod("r-1"), stuck) == (reasons.ROUTER_STUCK, f"pod r-2: {said}")


def test_a_route_that_is_not_understood_mounts_nothing() -> None:
    view = RouteView(replace(route(), spec=None, invalid="no"), pods=(STUCK,))
    (plan,) = plan_routes(snapshot([tier("small")], view))
    assert router_problem(view, plan, NOW) is None
