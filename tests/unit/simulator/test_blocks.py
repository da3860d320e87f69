"""Checks that no KV block is ever lost or invented, whatever requests come and go."""

from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim.blocks import BlockPool, Holding

CAPACITY = 12


def use(pool: BlockPool, hashes: list[int], extra: int) -> Holding | None:
    """What the engine does for one prompt: hold what is cached, reserve the rest, publish it; None if full."""
    device, host = pool.match(hashes, len(hashes))
    missing = len(hashes) + extra - device
    if missing + pool.idle_among(hashes[:device]) > pool.free:
        return None
    holding = Holding()
    pool.hold(holding, hashes[:device])
    assert pool.reserve(holding, missing)
    for block in hashes[device:]:
        pool.publish(holding, block)
    assert host <= len(hashes) - device
    return holding


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 3), st.booleans()), min_size=1, max_size=60
    ),
    st.integers(0, 8),
)
def test_blocks_are_conserved(operations: list[tuple[int, int, int, bool]], host: int) -> None:
    pool = BlockPool(CAPACITY, host)
    held: list[Holding] = []
    for family, length, extra, drop in operations:
        if drop and held:
            pool.release(held.pop(0))
        elif (holding := use(pool, [family * 100 + i for i in range(length)], extra)) is not None:
            assert holding.blocks == length + extra
            held.append(holding)
        assert pool.used + pool.free == CAPACITY
        assert 0 <= pool.used <= CAPACITY
        assert pool.used + pool.cached <= CAPACITY
        assert pool.used <= sum(holding.blocks for holding in held)
    for holding in held:
        pool.release(holding)
    assert (pool.used, pool.free) == (0, CAPACITY)


def test_a_prefix_is_shared_and_survives_its_first_owner() -> None:
    pool = BlockPool(10)
    first = use(pool, [1, 2, 3], 1)
    second = use(pool, [1, 2, 4], 1)
    assert first is not None
    assert second is not None
    assert pool.used == 3 + 1 + 1 + 1
    pool.release(first)
    assert pool.used == 4
    assert pool.match([1, 2, 3], 3) == (3, 0)


def test_the_oldest_and_last_blocks_are_evicted_first() -> None:
    pool = BlockPool(4)
    old = use(pool, [1, 2], 0)
    assert old is not None
    pool.release(old)
    new = use(pool, [5, 6], 0)
    assert new is not None
    pool.release(new)
    assert pool.reserve(Holding(), 1)
    assert pool.match([1, 2], 2) == (1, 0)
    assert pool.match([5, 6], 2) == (2, 0)


def test_evicted_blocks_are_found_in_host_memory() -> None:
    pool = BlockPool(4, host_capacity=3)
    old = use(pool, [1, 2, 3, 4], 0)
    assert old is not None
    pool.release(old)
    assert pool.reserve(Holding(), 4)
    assert pool.match([1, 2, 3, 4], 4) == (0, 3)


def test_too_many_blocks_are_refused_and_nothing_changes() -> None:
    pool, holding = BlockPool(4), Holding()
    assert not pool.reserve(holding, 5)
    assert (pool.used, holding.blocks) == (0, 0)
