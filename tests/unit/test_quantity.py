"""Equal amounts are equal however they are written, and adding memory never loses a byte."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.render.strategies import QUANTITIES
from tierwise.quantity import add_gib, parse_quantity


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        (4, 4),
        ("4000m", 4),
        ("0.5", Fraction(1, 2)),
        ("500m", Fraction(1, 2)),
        ("16Gi", 16 * 1024**3),
        ("16384Mi", 16 * 1024**3),
        ("1.5Gi", 3 * 512 * 1024**2),
        ("1k", 1000),
        ("1Ki", 1024),
        ("2e3", 2000),
        ("1E-1", Fraction(1, 10)),
        ("3E", 3 * 10**18),
        ("1u", Fraction(1, 10**6)),
        ("7n", Fraction(7, 10**9)),
        (".5", Fraction(1, 2)),
        ("-1", -1),
    ],
)
def test_amounts(written: str | int, value: int | Fraction) -> None:
    assert parse_quantity(written) == value


@pytest.mark.parametrize("written", ["", "Gi", "1 Gi", "1gi", "1mi", "1ki", "one", "1Gi2", "0x1", "1e", "١"])
def test_what_is_no_quantity(written: str) -> None:
    assert parse_quantity(written) is None


@given(st.decimals(0, 10**6, places=3))
def test_plain_numbers_are_exact(number: Decimal) -> None:
    assert parse_quantity(f"{number:f}") == Fraction(number)


@pytest.mark.parametrize(
    ("quantity", "gib", "total"),
    [
        ("16Gi", 0, "16Gi"),
        ("16384Mi", 0, "16384Mi"),
        ("16Gi", 48, "64Gi"),
        ("512Mi", 1, "1536Mi"),
        ("1Ki", 1, "1048577Ki"),
        ("1G", 1, "2073741824"),
        ("100m", 1, "1073741825"),
    ],
)
def test_adding(quantity: str, gib: int, total: str) -> None:
    assert add_gib(quantity, gib) == total


@given(QUANTITIES, st.integers(0, 4096))
def test_adding_never_loses_a_byte_and_adds_less_than_one(quantity: str, gib: int) -> None:
    before, after = parse_quantity(quantity), parse_quantity(add_gib(quantity, gib))
    assert before is not None
    assert after is not None
    assert 0 <= after - before - gib * 1024**3 < 1
