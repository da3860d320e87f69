"""Checks that quantities are read as Kubernetes means them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as official

from playground.kubelet.quantity import parse_quantity


@given(
    st.decimals(min_value=0, max_value=10**6, places=3),
    st.sampled_from(["", "m", "u", "n", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]),
)
def test_as_the_official_client_reads_them(number: Decimal, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == official(f"{number}{suffix}")


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000), ("12E2", 1200), (".5", Decimal("0.5")), (4, 4)])
def test_other_forms(text: str | int, value: Decimal) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1GiB", "--1"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)
