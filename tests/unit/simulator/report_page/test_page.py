"""Checks the page of a simulation: its figures are those of the result, nothing is loaded, run or left unescaped."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.simulator.report_page.read_page import Page, drawings, levels
from tests.unit.simulator.report_page.results import (
    DAY,
    external,
    savings,
    simulation,
    tier_result,
    wave,
)
from tierwise.gpus import prices_of
from tierwise.html_page.document import POLICY
from tierwise_sim.replay.result import Point, SimulationResult
from tierwise_sim.report_page.frontier import best, unbeaten
from tierwise_sim.report_page.page import headline, page
from tierwise_sim.report_page.steps import HEIGHT

EVIL = "<script>alert(1)</script>"


def tried(*places: tuple[str, int]) -> list[SimulationResult]:
    """Simulations that cost so much and met so many of 2,000."""
    return [
        simulation(met=met, dollars=dollars, what_if=(f"small.scaling.maxReplicas={number}",))
        for number, (dollars, met) in enumerate(places, start=1)
    ]


def test_the_page_is_whole_loads_nothing_and_runs_nothing() -> None:
    text = page([simulation(saved=savings())])
    read = Page(text)
    assert read.open == []
    assert read.loads == []
    assert read.handlers == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(read.tags)
    assert f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in text
    assert POLICY.startswith("default-src 'none'")
    assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#hatch", "#starting", "#draining"}
    for name in ("hatch", "starting", "draining"):
        assert f'<pattern id="{name}"' in text


def test_every_drawing_is_well_formed_and_those_that_say_something_have_a_name() -> None:
    found = drawings(page([simulation(saved=savings()), *tried(("10", 100))]))
    named = [each for each in found if each.get("role") == "img"]
    assert len(named) == 4, "three plots of a tier, and the frontier"
    for each in named:
        assert each.get("aria-label") or (each[0].tag == "title" and each[0].text)
    assert all(each.get("aria-hidden") == "true" for each in found if each not in named)


def test_the_sentence_that_matters() -> None:
    assert headline(simulation(saved=savings(), dollars="48.41")) == (
        "48.41 US dollars paid in 24.0 h, 2.02 per hour; 93.0 % of the requests met both targets; "
        "what was used costs 60.0 % less than all on provider."
    )
    assert headline(simulation(dollars="48.41")).endswith("93.0 % of the requests met both targets.")


@pytest.mark.parametrize(("percent", "said"), [("1.40", "1.4 % less"), ("-20.00", "20.0 % more")])
def test_where_what_would_have_been_paid_is_known_the_head_says_what_of_it_is_saved(percent: str, said: str) -> None:
    result = simulation(saved=replace(savings(), paid_percent=Decimal(percent)), dollars="48.41")
    assert headline(result).endswith(f"that is {said} than all on provider.")
    text = page([result]).replace("\N{NO-BREAK SPACE}", " ")
    assert f"{Decimal(percent):.1f} %" in text
    assert "saved against all on provider" in text
    assert "60.0 %" not in text, "use alone is not what is paid"


def test_the_tables_hold_the_figures_of_the_result() -> None:
    read = Page(page([simulation()]))
    small = read.table("Requests").row("small")
    assert (small["requests"], small["no answer"], small["met both"], small["judged"]) == (
        "1,000",
        "10",
        "940",
        "1,000",
    )
    assert read.table("Requests").row("all")["met both"] == "1,860"
    assert read.table("Latency").row("small")["TTFT p50"] == "400 ms"
    paid = read.table("GPU time").row("small")
    assert (paid["GPU"], paid["GPU-hours"], paid["starting"]) == ("1 × NVIDIA-L40S", "24.00", "1.50")
    assert (paid["$ per GPU-hour"], paid["$"]) == ("1.86", "44.64")
    assert read.table("GPU time").row("provider")["$"] == "3.77"


def test_bars_are_as_long_as_their_figures() -> None:
    text = page([simulation()])
    widths = [float(each) for each in re.findall(r'class="level" x="[\d.]+" y="3" width="([\d.]+)"', text)]
    assert widths == pytest.approx([940, 940, 930, 1000, 1000 * 3.7715 / 44.64], abs=0.1)


def test_the_waterfall_adds_up_to_what_was_used_and_on_to_what_the_head_says_was_paid() -> None:
    result = simulation(saved=savings())
    text = page([result])
    shown = [each.replace("\N{MINUS SIGN}", "-") for each in re.findall(r'class="amount" role="cell">([^<]*)<', text)]
    all_on, *parts, used, idle, paid = (Decimal(each) for each in shown[shown.index("96.50") :])
    assert parts == [Decimal("-50.20"), Decimal("-9.80"), Decimal("2.10")]
    assert all_on + sum(parts) == used == Decimal("38.60")
    assert used + idle == paid == result.total.dollars.quantize(Decimal("0.01"))
    assert f"${paid}" in text, "the same figure stands at the head of the page"
    assert re.search(r">used<.*>GPU time that no request used<.*>paid<", text, re.DOTALL)


def test_without_savings_it_says_why() -> None:
    assert "the route names no referenceTier" in page([simulation()])


def test_prices_of_providers_are_called_assumed_and_say_whose_and_when() -> None:
    read = Page(page([simulation()]))
    table = read.table("For comparison")
    cheapest = prices_of("NVIDIA-L40S")[0]
    row = table.rows[1]
    assert row[1] == cheapest.provider
    assert row[-1] == f"{cheapest.usd} (assumed)"
    assert row[-2] == (cheapest.date or "undated")
    assert "in no figure of this page" in table.caption


def test_gpu_time_without_a_price_is_called_missing() -> None:
    text = page([simulation([tier_result(gpu_hour=None, dollars="0", timeline=wave())])])
    assert "GPU time of small is not in the dollars" in text
    assert Page(text).table("GPU time").row("small")["$"] == "?"


def test_what_is_assumed_is_printed() -> None:
    assert "<li>step times of small on NVIDIA-L40S: fitted, roofline</li>" in page([simulation()])


def test_a_tier_that_is_external_has_no_replicas() -> None:
    text = page([simulation([external()])])
    assert "It is external: it has no replicas." in text
    assert "<figure>" not in text


def test_peaks_of_a_timeline_reach_the_height_that_the_scale_gives_them() -> None:
    quiet = [Point(10.0 * each, 1, 1, 0, 0, 0, 5, 0.2) for each in range(8641)]
    quiet[5000] = Point(50000.0, 8, 1, 7, 0, 400, 5, 1.0)
    text = page([simulation([tier_result(timeline=quiet)])])

    def top(kind: str) -> int:
        return min(levels(re.findall(rf'<path class="{kind}" d="([^"]*)"', text)[-1]))

    assert (top("desired"), top("starting"), top("kv")) == (0, 0, 0)
    assert top("ready") == round(HEIGHT * 7 / 8)
    assert top("waits") == 0
    row = next(row for row in Page(text).table("small: least").rows if row[1].endswith("8"))
    assert row[1:] == ["1–8", "1", "0–7", "0", "0–400", "20–100 %"]


def test_a_day_of_eight_noisy_tiers_stays_below_a_megabyte() -> None:
    rng = random.Random(7)

    def few() -> int:
        return rng.randint(0, 60)

    def noisy() -> list[Point]:
        return [
            Point(10.0 * each, few(), few(), few(), few(), waiting=rng.randint(0, 999), running=9, kv=rng.random())
            for each in range(int(DAY / 10) + 1)
        ]

    tiers = [tier_result(f"tier-{number}", timeline=noisy()) for number in range(8)]
    assert len(page([simulation(tiers)] * 2).encode()) < 1_000_000


def test_names_and_notes_are_no_markup() -> None:
    evil = tier_result(EVIL, timeline=wave(600), gpu=EVIL, limited_seconds={EVIL: 60.0})
    results = [simulation([evil], what_if=(f"{EVIL}=1",), saved=savings(EVIL), notes=(EVIL,), seconds=600.0)] * 2
    text = page(results)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert Page(text).open == []
    assert drawings(text)


def test_only_what_no_other_one_beats_is_on_the_frontier() -> None:
    assert unbeaten(tried(("10", 1000), ("20", 1900), ("30", 1900), ("5", 500), ("25", 1800))) == [0, 1, 3]
    assert unbeaten(tried(("10", 1000), ("10", 1000))) == [0, 1], "equals do not beat each other"
    assert best(tried(("10", 1000), ("30", 1900), ("20", 1900))) == 2


def test_what_if_has_a_row_and_a_point_each_and_the_best_one_in_detail() -> None:
    results = tried(("10", 1000), ("20", 1900), ("30", 1880))
    text = page(results)
    found = Page(text).tables[0].row("2: small.scaling.maxReplicas=2")
    assert (found["met"], found["$"], found["beaten by another"]) == ("95.0 %", "20.00", "no")
    assert Page(text).tables[0].row("3: small.scaling.maxReplicas=3")["beaten by another"] == "yes"
    assert (text.count('<circle class="dot"'), text.count('<circle class="hollow"')) == (2, 1)
    assert "number 2 has the most requests within both targets" in text
    assert "20.00 US dollars paid in" in text


def test_one_simulation_has_no_frontier() -> None:
    assert "What if</h2>" not in page([simulation()])


def test_no_simulation_is_refused() -> None:
    with pytest.raises(ValueError, match="no simulation"):
        page([])
