"""Checks the benchmark of prefixes: what it replays, what it counts, and that it can say that a bar is missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tierwise.routing.prefix import BLOCK_TOKENS
from tierwise_sim.workloads import PREFIX_BLOCK_TOKENS, Arrival
from tools.bench_prefix import __main__ as bench
from tools.bench_prefix import results, workload
from tools.bench_prefix.contenders import CONTENDERS, Ours, RoundRobin
from tools.bench_prefix.replay import Outcome, capacity, replay
from tools.bench_prefix.results import FOUR, MOST_HITS, ONE, Row, Scenario, short

SETTINGS = bench.engine(tight=False)


def turns(*prompts: tuple[float, int, tuple[int, ...]]) -> list[workload.Asked]:
    return workload.prepare([Arrival(at, tokens, 10, prefix) for at, tokens, prefix in prompts])


def test_prompts_share_the_text_of_the_blocks_that_they_share() -> None:
    one, other = turns((0.0, 1500, (1, 2, 3)), (1.0, 1100, (1, 2, 9)))
    shared = 2 * PREFIX_BLOCK_TOKENS // BLOCK_TOKENS
    assert one.blocks[:shared] == other.blocks[:shared]
    assert one.blocks[shared:] != other.blocks[shared:]
    assert (len(one.blocks), len(other.blocks)) == (1500 // BLOCK_TOKENS, 1100 // BLOCK_TOKENS)
    assert one.request.block_hashes == (1, 2), "a block that is not full is in no cache"


def test_a_second_turn_is_cached_where_the_first_was() -> None:
    asked = turns((0.0, 1024, (1, 2)), (5.0, 1536, (1, 2, 3)))
    alone = replay(asked, SETTINGS, 1, RoundRobin)
    assert alone.hit_rate == pytest.approx(1024 / 2560)
    elsewhere = replay(asked, SETTINGS, 2, RoundRobin)
    assert (elsewhere.hit_rate, elsewhere.given) == (0.0, (1, 1))
    ours = replay(asked, SETTINGS, 2, lambda engines: Ours(engines, 1))
    assert ours.hit_rate == pytest.approx(1024 / 2560)


def test_what_no_replica_may_be_given_waits_in_the_router_and_counts_from_its_arrival() -> None:
    asked = turns(*((0.001 * number, 512, (number,)) for number in range(6)))
    free = replay(asked, SETTINGS, 1, lambda engines: Ours(engines, 1, concurrency=6))
    one_by_one = replay(asked, SETTINGS, 1, lambda engines: Ours(engines, 1, concurrency=1))
    assert len(one_by_one.first_tokens) == 6
    assert one_by_one.percentile(0.99) > 3 * free.percentile(0.99)


def test_percentiles_are_of_the_sorted_times() -> None:
    found = Outcome(0.0, tuple(map(float, range(100))), (), 0, 0.0)
    assert [found.percentile(share) for share in (0.0, 0.5, 0.95, 1.0)] == [0.0, 50.0, 95.0, 99.0]


def test_the_trace_keeps_its_order_when_its_steps_are_spread() -> None:
    arrivals = [Arrival(at, 10, 1, (number,)) for number, at in enumerate([0.0, 0.0, 0.0, 3.0, 3.0])]
    made = workload.spread(arrivals)
    assert [each.prefix for each in made] == [each.prefix for each in arrivals]
    assert [int(each.at // 3) for each in made] == [0, 0, 0, 1, 1]
    assert len({each.at for each in made}) == 5


def test_a_rate_is_what_was_asked_for() -> None:
    asked = turns(*((7.0 * number, 512, (number,)) for number in range(11)))
    faster = workload.at_rate(asked, 2.0)
    assert [faster[0].at, faster[-1].at] == pytest.approx([0.0, 5.5])


def test_generated_conversations_share_instructions_and_continue_themselves() -> None:
    made = workload.conversations(60, 2.0)
    assert made == workload.conversations(60, 2.0)
    assert [each.at for each in made] == sorted(each.at for each in made)
    assert len({each.prefix[0] for each in made}) <= 12
    assert 60 * 4 < len(made) < 60 * 10
    cached = replay(workload.prepare(made), SETTINGS, 2, CONTENDERS[MOST_HITS]).hit_rate
    assert cached > 0.5


def test_the_same_run_gives_the_same_figures() -> None:
    asked = workload.prepare(workload.conversations(20, 4.0))
    for making in CONTENDERS.values():
        assert replay(asked, SETTINGS, 3, making) == replay(asked, SETTINGS, 3, making)
    assert capacity(asked, SETTINGS, 4) > capacity(asked, SETTINGS, 2) > 0


SCENARIO = Scenario("w", 4, 50, "ample", 1000)


@pytest.mark.parametrize(
    ("one", "four", "missed"),
    [(0.9, 0.9, 0), (0.89, 0.9, 1), (1.0, 0.94, 1), (1.0, 0.95, 0), (0.9, 0.85, 2), (0.89, 0.8, 3)],
)
def test_a_missed_bar_is_told(one: float, four: float, missed: int) -> None:
    rows = [Row(SCENARIO, name, rate, 0, 0, 0, []) for name, rate in ((ONE, one), (FOUR, four), (MOST_HITS, 1.0))]
    assert len(short(rows, SCENARIO)) == missed


def test_the_command_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIERWISE_DATA", raising=False)
    out = tmp_path / "prefix.json"
    bench.main(["--requests", "60", "--replicas", "2", "--loads", "50", "--caches", "tight", "--out", str(out)])
    rows = results.load(out)
    assert [row.contender for row in rows] == list(CONTENDERS)
    assert {row.scenario.cache_tokens for row in rows} == {bench.engine(tight=True).kv_tokens}
    assert all(sum(row.given) == 60 for row in rows)
    assert set(json.loads(out.read_text())) == {"command", "versions", "engine", "rows"}


def test_the_results_of_the_repository_meet_every_bar_where_the_cache_is_ample() -> None:
    """Where it is tight few tokens are cached at all; what is missed there stands below the table."""
    rows = results.load()
    ample = [scenario for scenario in Scenario.all_of(rows) if scenario.cache == "ample"]
    assert len(ample) >= 4
    assert [line for scenario in ample for line in short(rows, scenario)] == []


def test_what_is_missed_stands_below_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(one: float) -> str:
        rows = [Row(SCENARIO, name, rate, 0, 0, 0, []) for name, rate in ((ONE, one), (FOUR, 0.95), (MOST_HITS, 1.0))]
        monkeypatch.setattr(results, "load", lambda: rows)
        return results.files()[results.README]

    assert "Every row has it." in told(0.95)
    assert f"- {SCENARIO}: the hit rate of {ONE} is 0.800 of that of {MOST_HITS}" in told(0.8)
