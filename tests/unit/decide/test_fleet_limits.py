"""What is left of a limit, now and later, by hand."""

from __future__ import annotations

import pytest

from tierwise.decide.fleet.limits import Limit, Need, leave, reserve
from tierwise.decide.fleet.values import LimitedBy


def limit(*, later: int, now: int) -> Limit:
    return Limit(LimitedBy.POOL, "pool a has 8 GPUs", later, now)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (6, 2),  # there is enough: only its own are set aside
        (4, 0),
        (3, 0),  # all that is free waits with it
        (1, 0),
        (0, 0),
        (-2, -2),  # nothing is free
    ],
)
def test_what_is_free_is_set_aside_as_far_as_a_replica_of_four_needs_it(now: int, left: int) -> None:
    found = limit(later=8, now=now)
    reserve((Need(found, 4),))
    assert (found.later, found.now) == (4, left)


def test_what_ends_is_held_now_and_not_later() -> None:
    found = limit(later=8, now=8)
    leave((Need(found, 4),), 2)
    assert (found.later, found.now) == (8, 0)
