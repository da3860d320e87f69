"""Checks the benchmark of scoring: no prompt comes twice, and both routers decide as they should and are measured."""

from __future__ import annotations

from tools.bench_scoring import BYTES, WITH, WITHOUT, prompts, through_routers


def test_prompts_have_their_size_and_differ() -> None:
    made = prompts(50, BYTES)
    assert {len(each) for each in made} == {BYTES}
    assert len(set(made)) == 50
    assert not set(made) & set(prompts(50, BYTES, seed=2))


def test_two_routers_are_measured_side_by_side() -> None:
    found = through_routers(rounds=2, count=3)
    assert found["requests"] == 6
    assert all(found["p50_ms"][name] > 0 for name in (WITHOUT, WITH))
