"""Counted requests are spread as declared: sums exact, gaps as bursty as asked, lengths of the histogram's shape."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim.traces.beginnings import BLOCK_TOKENS, Beginnings
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.spread import Counted, Spreading, moments, shares, spread

MANY = Counted(100.0, 3600.0, 20_000, 20_000_000, 4_000_000)


def variation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((each - mean) ** 2 for each in values) / len(values)) / mean


@pytest.mark.parametrize("burstiness", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_gaps_are_as_bursty_as_declared(burstiness: float) -> None:
    arrivals, notes = spread([MANY], Spreading(burstiness=burstiness, seed=3))
    gaps = [after.at - before.at for before, after in pairwise(arrivals)]
    # The standard error of the variation of 20,000 gamma gaps, kurtosis included, is below 1.6 % up to 2, 3 % at 4.
    assert variation(gaps) == pytest.approx(burstiness, rel=0.09, abs=1e-9)
    assert f"burstiness {burstiness:g}, seed 3" in notes[0]


def test_arrivals_lie_within_the_interval_and_fill_it() -> None:
    arrivals, _ = spread([MANY], Spreading())
    assert arrivals[0].at >= 100.0
    assert arrivals[-1].at < 3700.0
    quarters = [sum(100 + 900 * n <= each.at < 1000 + 900 * n for each in arrivals) for n in range(4)]
    assert all(abs(each - 5000) < 6 * math.sqrt(5000 * 0.75) for each in quarters)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    one, again, other = (spread([MANY], Spreading(seed=seed))[0] for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("wanted", [0.0, 0.5, 1.0])
def test_lengths_vary_as_declared(wanted: float) -> None:
    arrivals, _ = spread([MANY], Spreading(variation=wanted, seed=1))
    logs = [math.log(each.prompt_tokens) for each in arrivals]
    mean = sum(logs) / len(logs)
    assert math.sqrt(sum((each - mean) ** 2 for each in logs) / len(logs)) == pytest.approx(wanted, rel=0.05, abs=1e-3)


def test_lengths_of_a_histogram_have_its_shape() -> None:
    """Half of the prompts between 100 and 200 tokens, half between 1,000 and 2,000."""
    quantiles = ((0.0, 100.0), (0.5, 200.0), (0.5000001, 1000.0), (1.0, 2000.0))
    known = Counted(0.0, 60.0, 4000, 4000 * 800, 4000 * 10, prompt_lengths=quantiles)
    prompts = sorted(each.prompt_tokens for each in spread([known], Spreading())[0])
    short, long = [each for each in prompts if each < 450], [each for each in prompts if each >= 450]
    assert abs(len(short) - 2000) < 200
    assert max(short) / min(short) == pytest.approx(2, rel=0.02)
    assert max(long) / min(long) == pytest.approx(2, rel=0.02)
    assert sum(prompts) == 4000 * 800


def test_cached_tokens_are_kept_to_a_block_and_belong_to_one_tenant_and_model() -> None:
    counts = [
        Counted(0.0, 60.0, 500, 500_000, 5_000, cached_tokens=200_000, tenant=tenant, model="m")
        for tenant in ("a", "b")
    ]
    arrivals, _ = spread(counts, Spreading())
    blocks: dict[str, set[int]] = {}
    for tenant in ("a", "b"):
        mine = [each for each in arrivals if each.tenant == tenant]
        cached = sum(len(each.prefix) * each.block_tokens for each in mine)
        assert 200_000 - BLOCK_TOKENS < cached <= 200_000
        blocks[tenant] = {block for each in mine for block in each.prefix}
        longest = max((each.prefix for each in mine), key=len)
        assert all(each.prefix == longest[: len(each.prefix)] for each in mine)
    assert not blocks["a"] & blocks["b"]


@given(weights=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50), more=st.integers(0, 10**9))
def test_shares_sum_to_the_total(weights: list[float], more: int) -> None:
    total = len(weights) + more
    found = shares(total, weights)
    assert sum(found) == total
    assert min(found) >= 1
    for part, weight in zip(found, weights, strict=True):
        assert part - 1 == pytest.approx(more * weight / sum(weights), rel=1e-6, abs=2)


@given(many=st.integers(1, 300), burstiness=st.floats(0, 10), seed=st.integers(0, 99))
def test_moments_are_sorted_and_before_the_end(many: int, burstiness: float, seed: int) -> None:
    found = moments(many, burstiness, Random(seed))
    assert len(found) == many
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] < 1


@given(cached=st.lists(st.integers(0, 3000), min_size=1, max_size=40))
def test_beginnings_never_exceed_the_prompt_nor_what_was_cached(cached: list[int]) -> None:
    beginnings = Beginnings()
    given_out = 0
    for count in cached:
        prefix = beginnings.for_cached("t", "m", count, count + 10)
        assert len(prefix) * BLOCK_TOKENS <= count + 10
        given_out += len(prefix) * BLOCK_TOKENS
    assert given_out <= sum(cached)


@pytest.mark.parametrize(
    ("name", "value"), [("burstiness", -1), ("burstiness", 11), ("burstiness", math.nan), ("variation", 3)]
)
def test_what_cannot_be_drawn_is_refused(name: str, value: float) -> None:
    with pytest.raises(TraceError, match=f"is {value}; expected 0"):
        Spreading(**{name: value})  # type: ignore[arg-type]
