"""What another tier has made under the name of a tier is nothing of that one."""

from __future__ import annotations

import pytest

from tests.unit.observe import bodies
from tests.unit.observe.test_world import only, world


@pytest.mark.parametrize(
    ("labels", "seen"),
    [({"tierwise.io/tier": "other"}, False), ({"tierwise.io/tier": "chat"}, True), ({}, True)],
)
def test_the_replicas_of_another_tier_are_not_those_of_the_tier_that_has_their_name(
    labels: dict[str, str], seen: bool
) -> None:
    service = bodies.inference_service(owner_uid="uid-of-the-other", labels=labels)
    view = only(world(inference_services=[service]))
    (found,) = view.workloads
    assert found.inference_service is not None
    assert not found.inference_service.owned
    assert (bool(found.pods), found.deployment is not None, bool(view.ready_endpoints)) == (seen, seen, seen)
    ours = only(world(inference_services=[bodies.inference_service(labels=labels)]))
    assert ours.ready_endpoints
