"""Checks the pieces of a page: round ticks around every value, escaped texts, labels inside, bars to scale."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tierwise.html_page.bars import COST, Bar, bars
from tierwise.html_page.chart import WIDTH, Axis, Chart, round_ticks
from tierwise.html_page.document import POLICY, bullets, document, figures, section, table

EVIL = '<b onclick="x">&'
SAFE = "&lt;b onclick=&quot;x&quot;&gt;&amp;"


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.integers(3, 10))
def test_ticks_are_few_and_hold_everything(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = round_ticks(low, high, most)
    assert 2 <= len(ticks) <= most
    assert ticks[0] <= low + 1e-6 * span
    assert ticks[-1] >= high - 1e-6 * span
    assert ticks == sorted(set(ticks))


def test_ticks_are_round() -> None:
    assert round_ticks(0, 213.5) == [0, 50, 100, 150, 200, 250]
    assert round_ticks(0, 1, 3) == [0, 0.5, 1]
    assert round_ticks(5, 5)[0] <= 5 <= round_ticks(5, 5)[-1]


def test_texts_are_escaped() -> None:
    for made in (section(EVIL, ""), figures([(EVIL, EVIL)]), table([EVIL], [[EVIL]], EVIL), bullets([EVIL])):
        assert EVIL not in made
        assert SAFE in made
    assert f"<title>{SAFE}</title>" in document(EVIL, "", "")


def test_a_page_forbids_what_is_not_in_it() -> None:
    assert f'content="{POLICY}"' in document("a", "", "")


def test_a_sign_of_percent_stays_with_its_number() -> None:
    assert "5\N{NO-BREAK SPACE}%" in document("a", "", "<p>5 %</p>")


def test_a_label_stands_where_there_is_room() -> None:
    chart = Chart("a chart", Axis("x", 0, 10, [0, 10]), Axis("y", 0, 10, [0, 10]))
    chart.label((1, 5), "left")
    chart.label((10, 5), EVIL)
    first, second = re.findall(r'<text class="note" text-anchor="(\w+)" x="([\d.]+)"', chart.draw())
    assert (first[0], second[0]) == ("start", "end")
    assert float(second[1]) < WIDTH
    assert EVIL not in chart.draw()


def test_bars_are_to_scale_and_the_smallest_is_seen() -> None:
    drawn = bars("a", "$", [Bar("one", "5", 0, 5), Bar("two", "1", 4, 5, COST), Bar("none", "0", 0, 0)], 10)
    assert re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="3" width="([\d.]+)"', drawn) == [
        ("level", "0.0", "500.0"),
        ("cost", "400.0", "100.0"),
        ("level", "0.0", "0.0"),
    ]
    tiny = bars("a", "$", [Bar("one", "0", 9.999, 10)], 10)
    assert re.findall(r'x="([\d.]+)" y="3" width="([\d.]+)"', tiny) == [("996.0", "4.0")]
