"""What the workloads of a tier are called: one for each pool, for ever, and none twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import InferenceServiceRef, ModelTierStatus
from tierwise.observe.workload_names import WorkloadName, workload_names
from tierwise.types import TierKey, TierObject

MODEL = {"model": {"name": "m", "uri": "hf://org/m"}}
Recorded = Sequence[tuple[str, str]]


def tier(pools: Sequence[str] | None, recorded: Recorded = ()) -> TierObject:
    """A tier that names these pools (None: its spec does not parse), with these workloads in its status."""
    spec = None
    if pools is not None:
        spec = ModelTierSpec.model_validate({**MODEL, "pools": [{"name": name} for name in pools]})
    status = ModelTierStatus(inference_services=[InferenceServiceRef(name=name, pool=pool) for name, pool in recorded])
    return TierObject(TierKey("team", "chat"), "uid", 1, "1", spec, status)


def names(pools: Sequence[str] | None, recorded: Recorded = ()) -> list[tuple[str, str, bool]]:
    return [(each.name, each.pool, each.retired) for each in workload_names(tier(pools, recorded))]


@pytest.mark.parametrize(
    ("pools", "recorded", "expected"),
    [
        ([], [], [("chat", "", False)]),
        (["a"], [], [("chat", "a", False)]),
        (["a", "b"], [], [("chat", "a", False), ("chat-b", "b", False)]),
        # Names are kept, in whatever order the pools are named now.
        (["b", "a"], [("chat", "a"), ("chat-b", "b")], [("chat-b", "b", False), ("chat", "a", False)]),
        # Moved: the old one is retired, and keeps its name until it is gone.
        (["b"], [("chat", "a")], [("chat-b", "b", False), ("chat", "a", True)]),
        (["b"], [("chat-b", "b")], [("chat-b", "b", False)]),
        # ... and moved back before it is gone.
        (["a"], [("chat-b", "b"), ("chat", "a")], [("chat", "a", False), ("chat-b", "b", True)]),
        (["a"], [("chat-b", "b")], [("chat", "a", False), ("chat-b", "b", True)]),
        (["b", "c"], [("chat-b", "b")], [("chat-b", "b", False), ("chat-c", "c", False)]),
        # A tier that begins to name pools, or names none any more, goes on with what it has.
        (["a", "b"], [("chat", "")], [("chat", "a", False), ("chat-b", "b", False)]),
        ([], [("chat-b", "b")], [("chat-b", "", False)]),
        ([], [("chat", "a"), ("chat-b", "b")], [("chat", "", False), ("chat-b", "b", True)]),
        # A name that has got another meaning meanwhile is not given twice.
        (["a", "b"], [("chat-b", "a")], [("chat-b", "a", False), ("chat-b-2", "b", False)]),
        (None, [], [("chat", "", False)]),
        (None, [("chat", "a"), ("chat-b", "b")], [("chat", "a", False), ("chat-b", "b", False)]),
    ],
)
def test_names(pools: list[str] | None, recorded: Recorded, expected: list[tuple[str, str, bool]]) -> None:
    assert names(pools, recorded) == expected


POOLS = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)


@given(st.lists(POOLS, min_size=1, max_size=6))
def test_whatever_pools_a_tier_names_one_after_another(history: list[list[str]]) -> None:
    recorded: list[tuple[str, str]] = []
    for pools in history:
        found = workload_names(tier(pools, recorded))
        staying = [each for each in found if not each.retired]
        assert [each.pool for each in staying] == (pools or [""])
        assert len({each.name for each in found}) == len(found)
        before = {pool: name for name, pool in recorded}
        assert all(before.get(each.pool, each.name) == each.name for each in staying if each.pool)
        assert {name for name, _ in recorded} <= {each.name for each in found}, "nothing is forgotten while it is there"
        recorded = [(each.name, each.pool) for each in found]
        assert workload_names(tier(pools, recorded)) == found, "what is recorded changes nothing"


def test_a_name_says_which_pool() -> None:
    assert WorkloadName("chat") == ("chat", "", False)
