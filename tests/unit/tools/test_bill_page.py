"""Checks that the table, the page and the picture print what the JSON holds, and that the parts of a trace are what
they are said to be."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tools.test_bill_rows import ROW
from tierwise_sim.traces.arrival import Arrival, Trace
from tools.bill import labels, page, parts, picture, results
from tools.bill.labels import Pool
from tools.bill.run import Question

ROWS = [
    ROW,
    replace(ROW, key="keda", title="autoscaled", dollars=150.0, dollars_per_hour=300.0),
    replace(
        ROW,
        key="autoscaling",
        title="+ autoscaling",
        dollars=45.25,
        dollars_per_hour=90.5,
        quality=95.1,
        steps="fitted",
    ),
    replace(ROW, key="spill", title="+ spill", dollars=210.0, dollars_per_hour=420.0, quality=None),
]
BILL: dict[str, Any] = {
    "format": 1,
    "about": {
        "command": "make bill", "trace": "a trace", "published": True, "scale": 8.25, "minutes": 29.2, "requests":
        80000, "ttft": 2.5, "inter_token": 0.1, "acceptance": 0.7, "quality": "measured.", "prefix": "None here.",
        "steps": "kernels", "prices": {"H100": "$6.88 (assumed)", "L40S": "$1.861 (assumed)"},
    },
    "chosen": {
        "scale": 8.25, "threshold": 64, "smaller": None, "sequences": {"reference": 128}, "schedule": [[1, 3], [64, 0]],
        "static": {},
    },
    "rows": [asdict(row) for row in ROWS],
    "recorded": [asdict(row) for row in ROWS],
    "prefixes": [asdict(ROWS[0]), asdict(ROWS[2])],
    "break_even": {
        "kinds": {"large": {"dollars": 13.76, "requests": 25000.0}}, "routing": [25001.0, 51000.0],
        "shares": [{"requests": 20000, "percent": 0.0}], "blended": 0.3,
        "apis": [{"name": "api", "input": "1", "output": "4", "large": [7000.0, 9000.0], "small": [None, None]}],
    },
    "notes": ["A note."],
    "missed": ["a bar"],
}  # fmt: skip


def test_each_line_of_the_table_is_a_row_of_the_json() -> None:
    lines = page.block(BILL).splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(ROWS)
    assert lines[0].startswith("Simulated"), "before any figure"
    assert lines[4] == "| static | 400.00 | 16.0 | 99.5 % | 100.0 % |  |  |"
    assert lines[6] == "| **+ autoscaling** | 90.50 | 16.0 | 99.5 % | 95.1 % | 77.4 % | 69.8 % |"
    assert lines[7] == "| + spill | 420.00 | 16.0 | 99.5 % | not known | −5.0 % | −40.0 % |"
    assert "Goals that were not reached: a bar." in page.block(BILL)
    assert "reached" in page.block(BILL | {"missed": []})


def test_the_page_says_what_was_assumed_and_where_nothing_pays() -> None:
    text = page.page(BILL)
    for said in (
        "$6.88 (assumed)",
        "70 % of drafted tokens",
        "None here.",
        "25,001",
        "51,000",
        "7,000; 9,000",
        "never",
        "A note.",
    ):
        assert said in text
    assert "none did" in text, "a service level that nothing kept is said"
    assert "At 20,000 requests per hour the small tier never pays" in text
    hard = BILL | {"break_even": BILL["break_even"] | {"shares": [{"requests": 140000, "percent": 86.0}]}}
    assert "more than 86 % of them need the large one" in page.page(hard)
    assert "Not run" in page.page(BILL | {"prefixes": []})


def test_the_picture_has_a_bar_for_each_row_as_long_as_its_dollars() -> None:
    drawn = ET.fromstring(picture.svg(BILL))
    bars = [float(each.get("width", "0")) for each in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(bars) == len(ROWS)
    assert bars[2] / bars[0] == pytest.approx(90.5 / 400, abs=1e-3)
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", picture.svg(BILL)), "nothing is loaded"


def test_files_are_made_of_the_json_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"# A\n{results.BEGIN}\nold\n{results.END}\nrest\n")
    without = results.files(tmp_path)
    assert set(without) == {results.README, results.PAGE}
    assert all("No bill was made yet" in text for text in without.values())
    (tmp_path / "docs/results").mkdir(parents=True)
    (tmp_path / results.RESULTS).write_text(json.dumps(BILL))
    made = results.files(tmp_path)
    assert set(made) == {results.README, results.PAGE, results.PICTURE}
    assert made[results.README] == f"# A\n{results.BEGIN}\n{page.block(BILL)}\n{results.END}\nrest\n"


def test_what_is_chosen_on_ends_where_what_is_judged_begins() -> None:
    trace = Trace("t", tuple(Arrival(float(at), 100, 10) for at in range(3600)), 3600.0, "made")
    chosen, judged = parts.chosen_on(trace), parts.judged(trace)
    assert (chosen.begin, chosen.trace.duration) == (300.0, 1200.0)
    assert (judged.begin, judged.trace.duration) == (300.0, 2100.0)
    assert len(judged.trace.arrivals) == 2100


def test_the_peak_is_the_busiest_minutes() -> None:
    busy = [Arrival(float(at), 100, 1000 if 1200 <= at < 1500 else 10) for at in range(3600)]
    peak = parts.peak(Trace("t", tuple(busy), 3600.0, "made"))
    assert peak.begin == 60.0
    assert sum(each.output_tokens == 1000 for each in peak.trace.arrivals) == 300


def test_a_request_is_as_hard_as_the_question_that_it_asks() -> None:
    assert labels.easiness([0.3, -1.0, 5.0]) == [0.5, 1.0, 0.0]
    pool = Pool([Question(1.0, 1.0), Question(0.0, 1.0)], [1.0, 0.0])
    trace = Trace("t", tuple(Arrival(float(at), 10, 10) for at in range(100)), 100.0, "made")
    made, asked = labels.labelled(trace, pool, 1)
    assert all(arrival.label == question.small for arrival, question in zip(made.arrivals, asked, strict=True))
    assert {arrival.label for arrival in made.arrivals} == {0.0, 1.0}
    assert labels.labelled(trace, pool, 1) == (made, asked)
