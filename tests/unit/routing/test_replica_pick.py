"""Checks which replica answers: cached prompts, queues, homes, and beginnings that everybody has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.make import index_of, replica, replicas, several
from tierwise.routing.prefix import PrefixIndex, home
from tierwise.routing.replica import Pick, Replica, pick, work

NOWHERE = PrefixIndex()


def test_of_nobody_nobody_is_picked() -> None:
    assert pick([], NOWHERE, (1,), 9) is None


def picked(
    tier: list[Replica],
    index: PrefixIndex,
    blocks: tuple[int, ...],
    concurrency: int = 100,
    turn: int = 0,
    routers: int = 1,
) -> tuple[str, int, str]:
    found = pick(tier, index, blocks, concurrency, turn, routers)
    assert found is not None
    return found.replica.key, found.matched, found.reason


def test_the_only_one_is_picked_with_what_it_has() -> None:
    assert picked([replica("a")], index_of(a=(1, 2)), (1, 2, 3)) == ("a", 2, "Only")
    assert picked([replica("a")], index_of(a=(1, 2)), ()) == ("a", 0, "Only")


SIXTEEN = tuple(range(16))


@pytest.mark.parametrize(("more", "best"), [(28, "a"), (29, "b")])
def test_a_cached_share_weighs_one_and_a_half_times_as_much_as_a_queue(more: int, best: str) -> None:
    """Three blocks of sixteen are worth 0.5625, and 28 percent of the places 0.56."""
    tier = [replica("a", in_flight=50, waiting=10 + more), replica("b", in_flight=60)]
    index = index_of(a=SIXTEEN[:3])
    assert picked(tier, index, SIXTEEN)[0] == best


@pytest.mark.parametrize(("kv", "best"), [(0.28, "a"), (0.29, "b")])
def test_a_full_cache_weighs_as_much_as_a_queue(kv: float, best: str) -> None:
    tier = [replica("a", kv=kv), replica("b")]
    assert picked(tier, index_of(a=SIXTEEN[:3]), SIXTEEN)[0] == best
    tier = [replica("a", kv=0.28), replica("b", in_flight=round(100 * kv))]
    assert picked(tier, NOWHERE, (), turn=1)[0] == ("b" if best == "a" else "a")


@pytest.mark.parametrize(("tokens", "best"), [(4095, "a"), (4097, "b")])
def test_a_cached_token_weighs_as_much_as_eight_ahead(tokens: int, best: str) -> None:
    for blocks in (1, 8):
        prompt = tuple(range(32 * blocks))
        tier = [replica("a", work=blocks * tokens), replica("b")]
        assert picked(tier, index_of(a=prompt[: 8 * blocks]), prompt)[0] == best


@pytest.mark.parametrize(("tokens", "best"), [(8191, "a"), (8193, "b")])
def test_what_an_engine_computes_in_one_step_is_no_wait_worth_a_miss(tokens: int, best: str) -> None:
    for blocks in (1, 15, 16):
        prompt = tuple(range(blocks))
        assert picked([replica("a", work=tokens), replica("b")], index_of(a=prompt), prompt)[0] == best


def test_what_others_have_waiting_is_ahead_too() -> None:
    prompt = tuple(range(32))
    tier = [replica("a", work=3000), replica("b")]
    tier[0].said(1, 0.0)
    assert picked(tier, index_of(a=prompt[:8]), prompt)[0] == "a"
    tier[0].said(2, 0.0)
    assert picked(tier, index_of(a=prompt[:8]), prompt)[0] == "b"


def test_the_work_of_a_request_is_what_is_not_cached_and_at_least_a_block() -> None:
    assert [work(Pick(replica(), matched, ""), (1, 2, 3)) for matched in range(4)] == [192, 128, 64, 64]
    assert work(Pick(replica(), 0, ""), ()) == 64


def test_above_its_places_a_queue_weighs_no_more() -> None:
    tier = [replica("a", waiting=130), replica("b", waiting=100)]
    assert [picked(tier, NOWHERE, (), turn=turn)[0] for turn in range(2)] == ["a", "b"]
    tier = [replica("a", waiting=99), replica("b", waiting=95)]
    assert [picked(tier, NOWHERE, (), turn=turn)[0] for turn in range(2)] == ["b", "b"]


def test_equals_take_turns() -> None:
    found = [picked(several(3), NOWHERE, (), turn=turn) for turn in range(6)]
    assert found == [(key, 0, "Load") for key in "abcabc"]
    worse = [replica("a", kv=0.5), *several(3)[1:]]
    assert [picked(worse, NOWHERE, (), turn=turn)[0] for turn in range(4)] == ["b", "b", "c", "b"]


def test_unless_it_is_said_a_router_is_alone() -> None:
    for block in range(20):
        found = pick(several(3), NOWHERE, (block,), 9)
        assert found is not None
        assert found.reason == "Load"


def test_without_a_turn_the_first_of_equals_is_picked() -> None:
    found = pick(several(3), NOWHERE, (), 9)
    assert found is not None
    assert found.replica.key == "a"


def test_the_reason_tells_whether_something_was_cached() -> None:
    tier = [replica("a"), replica("b")]
    assert picked(tier, index_of(b=(1, 2)), (1, 2)) == ("b", 2, "Prefix")
    tier[1].kv_usage = 1.0
    assert picked(tier, index_of(b=(1,)), (1, 2)) == ("a", 0, "Load")


@pytest.mark.parametrize(
    ("most", "least", "concurrency", "reason"),
    [
        (64, 0, 256, "Prefix"),  # 64 apart
        (65, 0, 256, "Balance"),
        (60, 30, 256, "Prefix"),
        (193, 129, 256, "Prefix"),
        (195, 130, 256, "Prefix"),  # one and a half times
        (196, 130, 256, "Balance"),
        (5, 0, 10, "Prefix"),  # half of the places apart
        (6, 0, 10, "Balance"),
        (1, 0, 1, "Prefix"),
        (2, 0, 1, "Balance"),
    ],
)
def test_where_queues_differ_too_much_the_shortest_wins(most: int, least: int, concurrency: int, reason: str) -> None:
    tier = [replica("c", in_flight=most), replica("a", waiting=most), replica("b", in_flight=least)]
    best = ("b", 0, "Balance") if reason == "Balance" else ("a", 2, "Prefix")
    assert picked(tier, index_of(a=(1, 2)), (1, 2), concurrency) == best


def test_where_a_queue_is_balanced_what_is_cached_there_is_told() -> None:
    tier = [replica("a", in_flight=90), replica("b")]
    assert picked(tier, index_of(a=(1, 2, 3), b=(1, 2)), (1, 2, 3)) == ("b", 2, "Balance")


def test_a_prompt_that_nobody_has_goes_home_whatever_the_turn() -> None:
    tier = several(4, lambda place: 10 * place)
    for block in range(20):
        expected = home(block, "abcd")
        for turn in range(3):
            assert picked(tier, index_of(a=(500,)), (block, 1, 2), turn=turn, routers=2) == (expected, 0, "Home")


@pytest.mark.parametrize(("tokens", "reason"), [(8191, "Home"), (8193, "Load")])
def test_home_counts_as_having_it_all(tokens: int, reason: str) -> None:
    for block in range(20):
        tier = several(4)
        for one in tier:
            if one.key == home(block, "abcd"):
                one.begin(0.0, tokens)
                one.in_flight = 0
        assert picked(tier, NOWHERE, (block, 1, 2), routers=2)[1:] == (0, reason)


def test_a_router_that_is_alone_needs_no_homes() -> None:
    tier = several(4, lambda place: 10 - place)
    assert {picked(tier, NOWHERE, (block, 1, 2)) for block in range(20)} == {("d", 0, "Load")}


def shared(conversations: int, beginning: tuple[int, ...] = (1, 2, 3)) -> PrefixIndex:
    """What a router knows that has sent so many conversations with one beginning to replica a, and one more before."""
    index = PrefixIndex()
    for number in range(conversations + 1):
        index.add("a", (*beginning, 100 + number))
    return index


def test_until_four_prompts_per_replica_shared_a_beginning_it_is_followed() -> None:
    for block in range(200, 220):
        assert picked(several(4), shared(15), (1, 2, 3, block), routers=2) == ("a", 3, "Prefix")


def test_beyond_a_beginning_that_everybody_has_a_prompt_has_a_home_of_its_own() -> None:
    index = shared(16)
    for block in range(200, 220):
        key, matched, reason = picked(several(4), index, (1, 2, 3, block, 9), routers=2)
        assert key == home(block, "abcd")
        assert (matched, reason) == (3 if key == "a" else 0, "Home")


def test_the_next_turn_finds_the_same_home_in_a_router_that_never_saw_the_first() -> None:
    one, other = shared(16), shared(40)
    for block in range(200, 220):
        first = picked(several(4), one, (1, 2, 3, block), routers=2)[0]
        one.add(first, (1, 2, 3, block))
        assert picked(several(4), one, (1, 2, 3, block, 7, 8)) == (first, 4, "Prefix")
        assert picked(several(4), other, (1, 2, 3, block, 7, 8), routers=2)[0] == first


def test_a_conversation_stays_where_it_is_known_though_its_home_is_elsewhere() -> None:
    index = shared(16)
    for block in range(200, 220):
        index.add("d", (1, 2, 3, block))
        assert picked(several(4), index, (1, 2, 3, block, 7)) == ("d", 4, "Prefix")


def test_of_a_prompt_that_is_all_common_the_load_decides() -> None:
    tier = several(4, lambda place: 10 - place)
    assert picked(tier, shared(16), (1, 2, 3)) == ("d", 0, "Load")
    assert picked(tier, shared(16), (1, 2, 3), routers=2) == ("d", 0, "Load")
    assert picked(tier[:1] * 2, shared(16), (1, 2, 3)) == ("a", 3, "Prefix")


def test_who_lacks_only_what_everybody_has_is_not_behind() -> None:
    """d has one block more than what is common: 3/8 against a load of 20 percent, and against one of 15."""
    index = shared(16)
    index.add("d", (1, 2, 3, 200))
    prompt = (1, 2, 3, 200, 7, 8, 9, 10)
    assert picked([*several(3), replica("d", in_flight=20)], index, prompt)[0] == "a"
    assert picked([*several(3), replica("d", in_flight=18)], index, prompt)[0] == "d"


@given(
    st.lists(replicas, min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 2), min_size=1, max_size=4)), max_size=30),
    st.lists(st.integers(0, 2), max_size=5),
    st.integers(1, 20),
    st.integers(0, 9),
    st.integers(1, 3),
)
def test_every_pick_is_the_best_by_the_rules_and_the_same_again(
    tier: list[Replica], seen: list[tuple[int, list[int]]], path: list[int], concurrency: int, turn: int, routers: int
) -> None:
    index = PrefixIndex()
    for place, one in enumerate(tier):
        one.key = "abcde"[place]
    for place, letters in seen:
        index.add("abcde"[place], chain(letters))
    blocks = chain(path)
    found = pick(tier, index, blocks, concurrency, turn, routers)
    assert found is not None
    assert found == pick(tier, index, blocks, concurrency, turn, routers)
    assert found.matched == index.matched(found.replica.key, blocks)
    loads = [one.load for one in tier]
    if found.reason == "Balance":
        assert found.replica.load == min(loads) < max(loads)
    elif found.reason != "Only":
        common = index.common(blocks, 4 * len(tier))
        cached = [max(common, index.matched(one.key, blocks)) for one in tier]
        if routers > 1 and common < len(blocks) and max(cached) == common:
            cached["abcde".index(home(blocks[common], [one.key for one in tier]))] = len(blocks)
        else:
            assert found.reason != "Home"
        worth = [score(one, have, len(blocks), concurrency) for one, have in zip(tier, cached, strict=True)]
        assert worth[tier.index(found.replica)] == pytest.approx(max(worth))


def chain(letters: list[int]) -> tuple[int, ...]:
    """Numbers that name a letter and all before it, as hashes do."""
    names = []
    for place in range(len(letters)):
        names.append(int("1" + "".join(map(str, letters[: place + 1])), 4))
    return tuple(names)


def score(one: Replica, cached: int, length: int, concurrency: int) -> float:
    queue = min(1.0, one.load / concurrency)
    ahead = 3 / 8 * one.work / (64 * max(16, length))
    return 3 * cached / max(1, length) + 2 * (1 - queue) + 2 * (1 - one.kv_usage) - ahead
