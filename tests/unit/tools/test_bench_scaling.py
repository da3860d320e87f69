"""Checks what a comparison of autoscalers compares, how it judges, and that its page prints what was found."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tierwise_sim.policies.registry import POLICIES, parse
from tierwise_sim.replay.autoscalers import OURS
from tierwise_sim.traces.errors import TraceError
from tools.bench_scaling import __main__ as command
from tools.bench_scaling import cases, judge, loads, page, picture, results, run, shapes, work
from tools.bench_scaling.cases import AZURE, CONTENTION, KEDA, KUEUE, MEDIUM, OUTAGES, POOL, SCALING, WVA_FIXED, Case
from tools.bench_scaling.journal import APART_FROM, Journal, figures
from tools.bench_scaling.run import Figures, TierFigures, measure

OURS_AT = Case(SCALING, AZURE, MEDIUM, 120.0, OURS)
KEDA_AT = replace(OURS_AT, scaler=f"{KEDA}:fixed=1,running=8,up_window=0")
WVA_AT = replace(OURS_AT, scaler=WVA_FIXED)


def came_to(met: int, dollars: float, *, tiers: dict[str, tuple[int, int]] | None = None, removed: int = 0) -> Figures:
    """Figures of 1,000 judged requests."""
    each = {name: TierFigures(judged, good, 100.0, 1.0) for name, (judged, good) in (tiers or {}).items()}
    return Figures(
        seconds=1800.0, requests=1000, judged=1000, met=met, met_ttft=met, met_inter_token=1000, refused=0,
        ttft_p50=0.1, ttft_p99=2.0, dollars=dollars, ready=1000.0, starting=100.0, draining=50.0, changes_per_hour=4.0,
        reversals_per_hour=1.0, seconds_at_budget=0.0, seconds_at_maximum=0.0,
        tiers=each or {MEDIUM: TierFigures(1000, met, 1150.0, 2.0)}, removals=removed, removed=removed, steps="fitted",
    )  # fmt: skip


# --- cases ------------------------------------------------------------------------------------------------------------


def test_the_short_set_is_a_part_of_the_full_one() -> None:
    short, full = cases.short(), cases.full()
    assert not set(short) - set(full)
    assert len(set(short)) == len(short), "no simulation is asked for twice"
    assert len(set(full)) == len(full)


def test_every_policy_is_there_at_every_point_of_its_sweep() -> None:
    cell = {case.scaler for case in cases.full() if case.cell == OURS_AT.cell}
    for name, policy in POLICIES.items():
        points = {label for label in cell if cases.family(label) == name}
        assert len(points) >= len(policy.sweep), name
        if policy.fixed:
            assert name in points, "as coded, too"


def test_each_scaler_is_written_as_it_is_read() -> None:
    for case in cases.full():
        if case.scaler != OURS:
            assert parse(case.scaler).label == case.scaler


def test_only_chooses_by_a_part_of_the_name_or_a_pattern() -> None:
    short = cases.short()
    assert all(case.part == OUTAGES for case in cases.chosen(short, ["outages/"]))
    assert {case.scaler for case in cases.chosen(short, ["*/tierwise"])} == {OURS}
    assert cases.chosen(short, []) == short
    assert command.main(["--only", "nothing like that", "--list"]) == 2


# --- what is simulated ------------------------------------------------------------------------------------------------


def test_everybody_gets_the_same_requests_and_the_same_tiers() -> None:
    ours, theirs = (Case(SCALING, "sine", MEDIUM, 120.0, name) for name in (OURS, KEDA_AT.scaler))
    assert loads.load(ours) is loads.load(theirs)


def test_a_mean_minute_needs_the_replicas_that_are_said() -> None:
    load = loads.load(Case(SCALING, "sine", MEDIUM, 120.0, OURS))
    (rate,) = shapes.rates(MEDIUM, load.ask).values()
    judged = [each for each in load.trace.arrivals if each.at >= load.begin]
    needed = len(judged) / loads.JUDGED_SECONDS / rate
    assert loads.REPLICAS <= needed <= 1.4 * loads.REPLICAS, "bursts come on top of the mean"


@pytest.mark.parametrize("factor", [1.2, 3.0])
@pytest.mark.parametrize("load", [cases.APART, cases.TOGETHER])
def test_contention_asks_for_so_many_times_the_budget(load: str, factor: float) -> None:
    found = loads.load(Case(CONTENTION, load, POOL, 120.0, OURS, factor=factor))
    rates = shapes.rates(POOL, found.ask)
    gpus = {kind.name: kind.gpus for kind in shapes.KINDS[POOL]}
    width = 120.0
    most = 0.0
    start = loads.WARM_SECONDS
    while start + width <= found.trace.duration:
        inside = [each for each in found.trace.arrivals if start <= each.at < start + width]
        most = max(
            most, sum(gpus[name] * sum(each.model == name for each in inside) / width / rates[name] for name in rates)
        )
        start += width
    assert factor * loads.BUDGET == pytest.approx(most, rel=0.2)


def test_the_load_rises_while_something_is_wrong() -> None:
    found = loads.load(Case(OUTAGES, "rising", MEDIUM, 120.0, OURS, fault="nan"))
    begin = found.begin + loads.FAULT_AFTER
    counts = [
        sum(begin + part * 250 <= each.at < begin + (part + 1) * 250 for each in found.trace.arrivals)
        for part in range(3)
    ]
    assert counts == sorted(counts)


def test_a_recorded_trace_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIERWISE_DATA", raising=False)
    loads.recorded.cache_clear()
    with pytest.raises(TraceError, match="TIERWISE_DATA"):
        loads.recorded(AZURE)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loads of a few minutes, so that a simulation takes a second."""
    monkeypatch.setattr(loads, "JUDGED_SECONDS", 240.0)
    monkeypatch.setattr(loads, "WARM_SECONDS", 120.0)
    monkeypatch.setattr(loads, "FAULT_AFTER", 60.0)
    monkeypatch.setattr(loads, "REPLICAS", 1.5)
    loads._load.cache_clear()
    yield
    loads._load.cache_clear()


@pytest.mark.usefixtures("brief")
def test_a_case_comes_to_the_same_figures_again_and_counts_only_what_is_judged() -> None:
    case = Case(SCALING, "sine", MEDIUM, 60.0, OURS)
    found = measure(case)
    assert found == measure(case)
    load = loads.load(case)
    assert found.requests == sum(each.at >= load.begin for each in load.trace.arrivals)
    assert 0 < found.met <= found.judged
    assert found.seconds == pytest.approx(240.0, abs=15.0)
    assert found.failures == 0
    tier = found.tiers[MEDIUM]
    assert tier.gpu_seconds == pytest.approx(found.gpu_seconds, abs=1.0)
    assert found.dollars == pytest.approx(found.gpu_seconds / 3600 * float(shapes.price(shapes.L40S)), rel=0.001)


@pytest.mark.usefixtures("brief")
def test_a_fixed_fleet_costs_what_it_costs() -> None:
    found = measure(Case(SCALING, "sine", MEDIUM, 60.0, "static:replicas=2"))
    assert found.tiers[MEDIUM].replicas == pytest.approx(2.0, abs=0.01)
    assert found.changes_per_hour == 0


@pytest.mark.usefixtures("brief")
def test_what_is_removed_is_counted_from_when_something_is_wrong_until_a_minute_after_it() -> None:
    case = Case(OUTAGES, "rising", MEDIUM, 60.0, OURS, fault="nan")
    load = loads.load(case)
    begin = load.begin + loads.FAULT_AFTER
    end = begin + loads.FAULT_SECONDS + run.AFTER_FAULT
    changes = [(begin - 1, 9, 7), (begin, 7, 5), (begin + 5, 5, 6), (end, 6, 5), (end + 1, 5, 1)]
    assert run._removed([changes, [(begin + 1, 4, 4)]], load) == (2, 3)


@pytest.mark.usefixtures("brief")
def test_a_fault_begins_when_it_is_said_to() -> None:
    case = Case(OUTAGES, "rising", MEDIUM, 60.0, OURS, fault="node-lost")
    load = loads.load(case)
    (fault,) = run._scenario(case, load).faults
    assert (fault.at, fault.seconds) == (load.begin + loads.FAULT_AFTER, loads.FAULT_SECONDS)
    assert run._scenario(replace(case, fault=cases.NO_FAULT), load).faults == ()


@pytest.mark.usefixtures("brief")
def test_the_budget_holds_for_whoever_decides() -> None:
    for scaler, rule in ((OURS, ""), (f"{KEDA}:fixed=1,running=8", KUEUE)):
        found = measure(Case(CONTENTION, cases.TOGETHER, POOL, 60.0, scaler, rule, 3.0))
        assert found.gpu_seconds <= loads.BUDGET * found.seconds + 1
        assert found.seconds_at_budget > 0


# --- the journal ------------------------------------------------------------------------------------------------------


def test_what_has_run_is_found_again_and_nothing_else(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "code", None)
    journal.keep(OURS_AT, came_to(990, 5.0))
    assert journal.found(OURS_AT) == came_to(990, 5.0)
    assert journal.found(KEDA_AT) is None
    assert Journal(tmp_path, "other code", None).found(OURS_AT) is None
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"], "nothing half written stays"


def test_what_a_simulation_does_not_run_is_what_is_left_out_of_the_hash() -> None:
    code = "import sys, tools.bench_scaling.run; print(*[each for each in sys.modules if each.startswith('tierwise')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=results.REPO, capture_output=True, text=True, check=True)
    rooms = [path.split("/", 1)[1].replace("/", ".") for path in APART_FROM]
    assert not [name for name in done.stdout.split() for room in rooms if f"{name}.".startswith(f"{room}.")]


def test_only_what_is_missing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Case] = []

    def measured(case: Case) -> Figures:
        ran.append(case)
        return came_to(900, 4.0)

    monkeypatch.setattr(work, "measure", measured)
    journal = Journal(tmp_path, "code", None)
    journal.keep(OURS_AT, came_to(990, 5.0))
    told: list[tuple[int, int, str]] = []
    work.run([OURS_AT, KEDA_AT], journal, 1, lambda done, of, name: told.append((done, of, name)))
    assert ran == [KEDA_AT]
    assert told == [(0, 1, ""), (1, 1, KEDA_AT.name)]
    assert list(work.collected([KEDA_AT, OURS_AT, WVA_AT], journal)) == [KEDA_AT, OURS_AT]


# --- judging ----------------------------------------------------------------------------------------------------------


def of_bar(found: judge.Found, bar: str) -> bool | None:
    (verdict,) = [each for each in judge.verdicts(found) if each.bar == bar]
    return verdict.kept


@pytest.mark.parametrize(
    ("met", "dollars", "kept"),
    [(991, 4.99, False), (991, 5.0, True), (990, 4.99, True), (992, 5.01, True)],
)
def test_a_baseline_has_to_be_both_better_and_cheaper(met: int, dollars: float, kept: bool) -> None:
    found = {OURS_AT: came_to(990, 5.0), KEDA_AT: came_to(met, dollars)}
    assert of_bar(found, judge.DOMINATED) is kept


def test_whoever_knows_the_load_beforehand_beats_nobody() -> None:
    fixed = replace(OURS_AT, scaler="static:replicas=4")
    found = {OURS_AT: came_to(990, 5.0), fixed: came_to(1000, 1.0)}
    assert of_bar(found, judge.DOMINATED) is None


@pytest.mark.parametrize(("keda", "wva", "kept"), [(990, 5.0, True), (991, 5.0, False), (990, 4.99, False)])
def test_as_good_as_the_best_keda_at_most_at_the_cost_of_wva(keda: int, wva: float, kept: bool) -> None:
    worse = replace(KEDA_AT, scaler=f"{KEDA}:fixed=1,running=64,up_window=0")
    found = {
        OURS_AT: came_to(990, 5.0), KEDA_AT: came_to(keda, 9.0), worse: came_to(10, 1.0), WVA_AT: came_to(900, wva),
    }  # fmt: skip
    assert of_bar(found, judge.BEST_KEDA) is kept


def test_the_worst_tier_decides_under_contention() -> None:
    ours = Case(CONTENTION, cases.APART, POOL, 120.0, OURS, "", 2.0)
    other = replace(ours, scaler=KEDA, rule=KUEUE)
    found = {
        ours: came_to(800, 5.0, tiers={"medium": (500, 400), "large": (500, 400)}),
        other: came_to(900, 5.0, tiers={"medium": (500, 500), "large": (500, 399)}),
    }
    assert of_bar(found, judge.WORST_TIER) is True
    found[other] = came_to(700, 5.0, tiers={"medium": (500, 401), "large": (500, 401)})
    assert of_bar(found, judge.WORST_TIER) is False


def test_one_removal_while_something_is_wrong_is_one_too_many() -> None:
    ours = Case(OUTAGES, "rising", MEDIUM, 120.0, OURS, fault="nan")
    assert of_bar({ours: came_to(990, 5.0)}, judge.NO_REMOVAL) is True
    found = {ours: came_to(990, 5.0, removed=1)}
    assert of_bar(found, judge.NO_REMOVAL) is False
    assert any("nan" in line for line in judge.missed(found))


# --- the page ---------------------------------------------------------------------------------------------------------

FOUND = {
    OURS_AT: came_to(990, 5.0),
    KEDA_AT: came_to(995, 4.5),
    WVA_AT: came_to(950, 4.0),
    Case(CONTENTION, cases.APART, POOL, 120.0, OURS, "", 2.0, "half"): came_to(800, 6.0),
    Case(OUTAGES, "rising", MEDIUM, 120.0, OURS, fault="nan"): came_to(970, 3.0),
    Case(OUTAGES, "rising", MEDIUM, 120.0, "aibrix-apa", fault="nan"): came_to(870, 3.0, removed=3),
}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = json.loads(json.dumps(results.made(FOUND, "short", 105, "abc1234")))
    assert results.found(made) == FOUND
    assert figures(made["cases"][0]["figures"]) == FOUND[OURS_AT]
    assert made["about"]["command"] == "make bench-scaling"
    path = tmp_path / results.RESULTS
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made))
    assert set(results.files(tmp_path)) == {results.PAGE, results.PICTURE}


def test_the_page_says_what_was_missed_and_how_much_has_run() -> None:
    text = page.page(results.made(FOUND, "short", 105, "abc1234")["about"], FOUND)
    assert "commit abc1234, Python" in text
    assert "6 of the\n105 simulations" in text
    assert "99.0 % at $5.00, 1 of 2 points are better and cheaper" in text
    assert f"**{KEDA_AT.scaler}** | 99.5 %" in text
    assert f"\n| {WVA_AT.scaler} | 95.0 %" in text
    assert "| aibrix-apa |  |  |  | 3; 87.0 % |" in text
    assert all(len(line) <= 120 or line.startswith(("|", "-")) for line in text.splitlines())


def test_before_there_is_a_comparison_the_page_says_so(tmp_path: Path) -> None:
    assert "make bench-scaling" in results.files(tmp_path)[results.PAGE]


def test_the_picture_has_a_mark_for_every_point_and_loads_nothing() -> None:
    drawn = picture.svg(FOUND)
    root = ET.fromstring(drawn)
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert {KEDA_AT.scaler, WVA_AT.scaler, OURS} <= set(titles)
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_the_pages_of_the_last_comparison_are_those_that_are_committed() -> None:
    assert not [path for path, text in results.files().items() if (results.REPO / path).read_text("utf-8") != text]
