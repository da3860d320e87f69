"""Where the name of a tier is already that of another tier's replicas: their model must not answer for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.routes import route, snapshot, tier
from tierwise.api.modelroute_status import LadderTier
from tierwise.decide.routes import plan_routes
from tierwise.types import TierView


def taken(of: str, *, owned: bool = False, pools: bool = False) -> TierView:
    """The tier `small`, under whose name stands an InferenceService that was made for the tier `of`."""
    view = tier("small")
    (here,) = view.workloads
    assert here.inference_service is not None
    service = replace(here.inference_service, owned=owned, tier=of)
    second = replace(here, name="small-l4", pool="l4")
    return replace(view, workloads=(replace(here, inference_service=service), *((second,) if pools else ())))


def reached(view: TierView) -> LadderTier:
    (plan,) = plan_routes(snapshot([view], route()))
    (found,) = plan.ladder
    return found


@pytest.mark.parametrize(
    ("view", "services"),
    [
        (taken("other"), (None, [])),
        (taken("other", pools=True), ("small-l4-predictor", [])),
        (taken("other", owned=True), ("small-predictor", [])),
        (taken("small"), ("small-predictor", [])),  # of a namesake that was deleted: the same model
        (taken(""), ("small-predictor", [])),  # a stranger's engine does not answer to the alias
    ],
)
def test_the_replicas_of_another_tier_are_none_of_a_routes(
    view: TierView, services: tuple[str | None, list[str]]
) -> None:
    found = reached(view)
    assert (found.service, found.more_services) == services
    assert found.provider is None
