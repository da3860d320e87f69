"""Checks that a plot of steps loses no peak, whatever its length, and stays as small as its columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.report_page.read_page import levels, width
from tierwise_sim.report_page.steps import COLUMNS, HEIGHT, Column, area, columns, line

POINTS = st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 20)), min_size=1, max_size=60).map(
    lambda found: [(at, float(value)) for at, value in sorted(found, key=lambda each: each[0])]
)


def test_a_value_holds_until_the_next_one() -> None:
    assert columns([(0.0, 1.0), (5.0, 3.0)], 10.0, 4) == [
        Column(1, 1, 1),
        Column(1, 1, 1),
        Column(3, 3, 3),
        Column(3, 3, 3),
    ]


def test_a_column_that_begins_with_an_old_value_shows_it_too() -> None:
    assert columns([(0.0, 1.0), (6.0, 3.0)], 10.0, 2)[1] == Column(1, 3, 3)


def test_before_the_first_point_its_value_holds() -> None:
    assert columns([(5.0, 2.0)], 10.0, 2) == [Column(2, 2, 2), Column(2, 2, 2)]


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no points"):
        columns([], 10.0)


def test_a_peak_of_one_sample_in_a_day_is_drawn_to_its_height() -> None:
    points = [(10.0 * each, 9.0 if each == 4321 else 1.0) for each in range(8641)]
    found = line(columns(points, 86400.0), 9.0)
    assert min(levels(found)) == 0, "the top"
    assert levels(found).count(0) == 1
    assert levels(found)[-1] == round(HEIGHT * 8 / 9), "and it is over at once"


def test_a_fall_to_nothing_is_drawn_too() -> None:
    points = [(10.0 * each, 0.0 if each == 4321 else 9.0) for each in range(8641)]
    assert max(levels(line(columns(points, 86400.0), 9.0))) == HEIGHT


def test_an_area_is_closed_at_the_ground() -> None:
    assert area([Column(1, 1, 1), Column(2, 2, 2)], 2.0) == f"M0 {HEIGHT // 2}h1V0h1V{HEIGHT}H0Z"


@given(POINTS, st.integers(1, 50))
def test_the_extremes_of_all_columns_are_those_of_all_points(points: list[tuple[float, float]], count: int) -> None:
    found = columns(points, 1000.0, count)
    assert len(found) == count
    assert min(each.low for each in found) == min(value for _, value in points)
    assert max(each.high for each in found) == max(value for _, value in points)
    assert found[-1].last == points[-1][1]
    assert all(each.low <= each.last <= each.high for each in found)


@given(POINTS)
def test_each_moment_lies_within_its_column(points: list[tuple[float, float]]) -> None:
    found = columns(points, 1000.0, 25)
    for at, value in points:
        column = found[min(int(at / 1000.0 * 25), 24)]
        assert column.low <= value <= column.high


@given(POINTS)
def test_a_line_is_as_wide_as_the_plot_and_shows_every_extreme(points: list[tuple[float, float]]) -> None:
    found = line(columns(points, 1000.0), 20.0)
    assert width(found) == COLUMNS
    assert {min(levels(found)), max(levels(found))} == {
        round(HEIGHT * (1 - value / 20)) for value in (max(v for _, v in points), min(v for _, v in points))
    }
    assert len(found) <= 16 * COLUMNS
