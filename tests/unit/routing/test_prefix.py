"""Checks the memory of prompt prefixes against one that looks at every block, and the homes of what nobody has seen."""

from __future__ import annotations

from collections import Counter
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.prefix import (
    BLOCK_BYTES,
    BLOCK_TOKENS,
    DEFAULT_CAPACITY_BLOCKS,
    MOST_BLOCKS,
    MOST_FORKS,
    PrefixIndex,
    block_hashes,
    home,
)

NAMES = ["a", "b", "c"]


def prompt(letters: str) -> tuple[int, ...]:
    """The hashes of a prompt with one block for each letter."""
    return block_hashes(b"".join(letter.encode() * BLOCK_BYTES for letter in letters))


prompts = st.text("xyz", max_size=9).map(prompt)


# --- hashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "blocks"), [(0, 0), (255, 0), (256, 1), (511, 1), (512, 2), (2560, 10)])
def test_only_whole_blocks_are_hashed(size: int, blocks: int) -> None:
    assert len(block_hashes(b"p" * size)) == blocks


def test_a_prompt_has_at_most_so_many_blocks() -> None:
    full = block_hashes(b"p" * (MOST_BLOCKS * BLOCK_BYTES))
    assert len(full) == MOST_BLOCKS == 2048
    assert block_hashes(b"p" * (MOST_BLOCKS * BLOCK_BYTES + 3 * BLOCK_BYTES)) == full


def test_routers_of_two_releases_find_the_same_hashes_and_homes() -> None:
    """During a rollout both serve. Whoever changes these numbers changes every home once."""
    hashes = block_hashes(b"a" * 512, b"tools")
    assert hashes == (12738091266856857425, 2310252997562133818)
    assert [home(one, NAMES) for one in hashes] == ["a", "b"]


@given(st.binary(max_size=1500), st.binary(max_size=1500), st.binary(max_size=8))
def test_equal_beginnings_have_equal_hashes_and_from_the_first_difference_on_all_differ(
    left: bytes, right: bytes, seed: bytes
) -> None:
    one, other = block_hashes(left, seed), block_hashes(right, seed)
    same = 0
    while (same + 1) * BLOCK_BYTES <= min(len(left), len(right)) and left[: (same + 1) * BLOCK_BYTES] == right[
        : (same + 1) * BLOCK_BYTES
    ]:
        same += 1
    assert one[:same] == other[:same]
    assert set(one[same:]).isdisjoint(other[same:])


@given(st.binary(min_size=256, max_size=1024), st.binary(max_size=1024))
def test_what_follows_changes_no_hash_before_it(begin: bytes, rest: bytes) -> None:
    begin = begin[: len(begin) // BLOCK_BYTES * BLOCK_BYTES]
    hashes = block_hashes(begin)
    assert block_hashes(begin + rest)[: len(hashes)] == hashes


@given(st.binary(min_size=256, max_size=1024), st.binary(max_size=9), st.binary(max_size=9))
def test_another_seed_is_another_prompt(words: bytes, seed: bytes, other: bytes) -> None:
    shared = set(block_hashes(words, seed)) & set(block_hashes(words, other))
    assert bool(shared) == (seed == other)


def test_equal_blocks_at_other_places_have_other_hashes() -> None:
    assert len(set(block_hashes(b"a" * 2560))) == 10


# --- the index ------------------------------------------------------------------------------------------------------


class Naive:
    """What the index promises, in lists that are searched from one end to the other."""

    def __init__(self) -> None:
        self.blocks: dict[str, list[int]] = {}
        self.capacity: dict[str, int] = {}
        self.told: set[str] = set()
        self.forks: Counter[int] = Counter()

    def matched(self, name: str, wanted: tuple[int, ...]) -> int:
        known = self.blocks.get(name, [])
        return next((place for place, block in enumerate(wanted) if block not in known), len(wanted))

    def add(self, name: str, wanted: tuple[int, ...]) -> None:
        matched = self.matched(name, wanted)
        if 0 < matched < len(wanted):
            self.forks[wanted[matched - 1]] += 1
        known = self.blocks.setdefault(name, [])
        for block in reversed(wanted):
            if block in known:
                known.remove(block)
            known.append(block)
        self.trim(name)

    def trim(self, name: str) -> None:
        capacity = self.capacity.get(name, DEFAULT_CAPACITY_BLOCKS)
        if name in self.blocks:
            self.blocks[name] = self.blocks[name][-capacity:]

    def resize(self, name: str, tokens: int) -> None:
        self.capacity[name] = max(1, tokens // 64)
        self.trim(name)

    def correct(self, name: str, believed: int, cached: int) -> None:
        known = self.blocks.get(name)
        if not known:
            return
        if cached:
            self.told.add(name)
        if name in self.told and cached < 32 * believed:
            del known[: max(1, len(known) // 10)]

    def keep_only(self, names: list[str]) -> None:
        for gone in set(NAMES) - set(names):
            self.blocks.pop(gone, None)
            self.capacity.pop(gone, None)
            self.told.discard(gone)


names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("add"), names, prompts),
    st.tuples(st.just("add"), names, prompts),
    st.tuples(st.just("resize"), names, st.integers(0, 12 * 64)),
    st.tuples(st.just("correct"), names, st.integers(0, 9), st.integers(0, 5 * 64)),
    st.tuples(st.just("keep_only"), st.lists(names)),
)


@given(st.lists(steps, max_size=40), st.lists(prompts, min_size=1, max_size=6))
def test_after_any_history_the_index_says_what_a_search_of_every_block_says(
    history: list[tuple[object, ...]], wanted: list[tuple[int, ...]]
) -> None:
    index, naive = PrefixIndex(), Naive()
    for step, *given_ in history:
        getattr(index, str(step))(*given_)
        getattr(naive, str(step))(*given_)
        for one in wanted:
            for name in NAMES:
                assert index.matched(name, one) == naive.matched(name, one)
            for forks in (1, 2, 3):
                deepest = max((place + 1 for place, block in enumerate(one) if naive.forks[block] >= forks), default=0)
                assert index.common(one, forks) == deepest
        assert len(index) == sum(map(len, naive.blocks.values()))
        limits = [naive.capacity.get(name, DEFAULT_CAPACITY_BLOCKS) for name in naive.blocks]
        assert len(index) <= sum(limits)


def test_a_prompt_is_matched_as_far_as_it_was_seen() -> None:
    index = PrefixIndex()
    index.add("a", prompt("xxyy"))
    assert index.matched("a", prompt("xxyy")) == 4
    assert index.matched("a", prompt("xxyyz")) == 4
    assert index.matched("a", prompt("xxzz")) == 2
    assert index.matched("a", prompt("zxyy")) == 0
    assert index.matched("b", prompt("xxyy")) == 0
    assert index.matched("a", ()) == 0


def test_what_was_used_longest_ago_is_forgotten_first_and_its_end_before_its_beginning() -> None:
    index = PrefixIndex()
    index.resize("a", 6 * BLOCK_TOKENS)
    index.add("a", prompt("xxx"))
    index.add("a", prompt("yyy"))
    index.add("a", prompt("xxx"))
    index.add("a", prompt("zz"))
    assert [index.matched("a", prompt(one)) for one in ("xxx", "yyy", "zz")] == [3, 1, 2]


def test_of_a_prompt_larger_than_the_cache_the_beginning_is_kept() -> None:
    index = PrefixIndex()
    index.resize("a", 3 * BLOCK_TOKENS)
    index.add("a", prompt("xxxxx"))
    assert index.matched("a", prompt("xxxxx")) == 3
    assert len(index) == 3


def test_until_an_engine_says_its_size_it_has_half_a_million_tokens() -> None:
    index = PrefixIndex()
    index.add("a", tuple(range(9000)))
    assert len(index) == 8192
    assert index.matched("a", tuple(range(9000))) == 8192


@pytest.mark.parametrize(("tokens", "blocks"), [(0, 1), (63, 1), (191, 2), (192, 3), (255, 3)])
def test_a_cache_holds_as_many_blocks_as_its_tokens_fill_and_at_least_one(tokens: int, blocks: int) -> None:
    index = PrefixIndex()
    index.add("a", prompt("xxxxx"))
    index.resize("a", tokens)
    assert len(index) == blocks


def test_a_replica_that_is_gone_is_forgotten_with_its_size() -> None:
    index = PrefixIndex()
    for name in NAMES:
        index.resize(name, BLOCK_TOKENS)
        index.add(name, prompt("xx"))
    index.keep_only(["b"])
    assert [index.matched(name, prompt("xx")) for name in NAMES] == [0, 1, 0]
    index.add("a", prompt("xxx"))
    assert index.matched("a", prompt("xxx")) == 3


def filled(blocks: int, told: bool = True) -> PrefixIndex:
    index = PrefixIndex()
    index.add("a", tuple(range(blocks)))
    if told:
        index.correct("a", 1, BLOCK_TOKENS)
    return index


@pytest.mark.parametrize(("held", "left"), [(40, 36), (39, 36), (9, 8), (1, 0)])
def test_an_engine_that_had_cached_less_than_half_has_forgotten_the_oldest_tenth(held: int, left: int) -> None:
    index = filled(held)
    index.correct("a", 4, 127)
    assert len(index) == left
    assert index.matched("a", tuple(range(held))) == left


@pytest.mark.parametrize(("believed", "cached"), [(4, 128), (4, 256), (4, 900), (0, 0), (0, 64)])
def test_an_engine_that_had_cached_half_or_more_is_as_believed(believed: int, cached: int) -> None:
    index = filled(40)
    index.correct("a", believed, cached)
    assert len(index) == 40


def test_an_engine_that_never_says_what_was_cached_is_not_taken_for_one_that_forgets() -> None:
    index = filled(40, told=False)
    for _ in range(50):
        index.correct("a", 4, 0)
    assert len(index) == 40
    index.correct("a", 4, 1)
    assert len(index) == 36
    index.correct("a", 4, 0)
    assert len(index) == 33


def test_a_replica_that_comes_back_under_its_name_has_to_say_again_what_is_cached() -> None:
    index = filled(40)
    index.keep_only([])
    index.add("a", tuple(range(40)))
    index.correct("a", 4, 0)
    assert len(index) == 40


def test_nothing_else_separates_caches_unless_it_is_said() -> None:
    assert block_hashes(bytes(BLOCK_BYTES)) == block_hashes(bytes(BLOCK_BYTES), b"") != ()


def test_who_has_not_said_what_is_cached_has_not_said_it_after_others_went() -> None:
    index = filled(40, told=False)
    index.keep_only(["a", "b"])
    index.correct("a", 4, 0)
    assert len(index) == 40


def test_forgetting_the_oldest_costs_no_more_than_remembering_the_newest() -> None:
    """It once cost thirty times as much: each block was looked for from the beginning, over all that were gone."""

    def seconds(capacity: int) -> float:
        index = PrefixIndex()
        index.resize("a", capacity * BLOCK_TOKENS)
        index.add("a", tuple(range(30_000)))
        began = process_time()
        for number in range(100):
            index.add("a", tuple(range(30_000 + 200 * number, 30_200 + 200 * number)))
        return process_time() - began

    full = min(seconds(30_000) for _ in range(3))
    assert full < 6 * min(seconds(1_000_000) for _ in range(3))


def test_correcting_what_is_unknown_or_empty_changes_nothing() -> None:
    index = PrefixIndex()
    index.correct("a", 4, 1)
    index.add("a", prompt("x"))
    for _ in range(3):
        index.correct("a", 4, 1)
    assert len(index) == 0
    index.add("b", ())
    index.correct("b", 4, 1)
    assert len(index) == 0


# --- beginnings that everybody has ----------------------------------------------------------------------------------


def test_a_beginning_after_which_many_prompts_went_their_own_way_is_common() -> None:
    index = PrefixIndex()
    for number in range(5):
        index.add("a", (1, 2, 3, 100 + number))
    assert index.common((1, 2, 3, 999), 4) == 3
    assert index.common((1, 2, 3), 4) == 3
    assert index.common((1, 2, 3, 999), 5) == 0
    assert index.common((1, 2), 4) == 0
    assert index.common((), 1) == 0


def test_forks_count_wherever_the_prompts_went() -> None:
    index = PrefixIndex()
    for name in NAMES:
        for number in range(3):
            index.add(name, (1, 100 + number))
    assert index.common((1,), 6) == 1
    assert index.common((1,), 7) == 0


def test_the_deepest_common_beginning_counts() -> None:
    index = PrefixIndex()
    for number in range(9):
        index.add("a", (1, 2, number + 100))
        index.add("a", (1, 3, number + 200))
    assert index.common((1, 2, 4), 8) == 2
    assert index.common((1, 5), 1) == 1


def test_a_conversation_that_goes_on_makes_no_beginning_common() -> None:
    index = PrefixIndex()
    for turn in range(1, 60):
        index.add("a", tuple(range(3 * turn)))
        index.add("a", tuple(range(3 * turn)))
    assert index.common(tuple(range(180)), 2) == 0


def test_what_is_common_stays_so_when_every_replica_is_replaced() -> None:
    index = PrefixIndex()
    for number in range(5):
        index.add("a", (1, 2, 100 + number))
    index.keep_only(["b"])
    assert index.common((1, 2, 3), 4) == 2


def test_the_forks_are_bounded_and_the_oldest_are_forgotten() -> None:
    index = PrefixIndex()
    index.resize("a", 100_000 * BLOCK_TOKENS)
    for number in range(MOST_FORKS + 2):
        if number == MOST_FORKS:
            index.add("a", (0, -20_000))
            index.add("a", (0, -20_001))
        index.add("a", (number,))
        index.add("a", (number, -1 - number))
    assert index.common((0,), 3) == 1
    assert [index.common((number,), 1) for number in (1, 2, 3, MOST_FORKS + 1)] == [0, 0, 1, 1]


# --- homes ----------------------------------------------------------------------------------------------------------

keys = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40)


@given(keys, st.lists(st.text(max_size=6), min_size=2, max_size=9, unique=True))
def test_one_replica_more_or_less_moves_only_what_must_move(wanted: list[int], order: list[str]) -> None:
    gone = order[0]
    for key in wanted:
        before, after = home(key, order), home(key, order[1:])
        assert after == before or before == gone
        assert after != gone
        assert home(key, reversed(order)) == before


def test_homes_are_spread_evenly() -> None:
    found = Counter(home(key, ["a", "b", "c", "d"]) for key in block_hashes(b"p" * (2000 * BLOCK_BYTES)))
    assert all(400 < found[name] < 600 for name in "abcd")
