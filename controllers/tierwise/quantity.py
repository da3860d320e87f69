"""Parses Kubernetes quantities into numbers.

"1", "1000m" and 1 are the same amount; the API server and KServe rewrite one form into another, so amounts are
compared as numbers. Grammar: k8s.io/apimachinery/pkg/api/resource (decimal and binary suffixes, exponents).
"""

from __future__ import annotations

import re
from fractions import Fraction

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:([eE][+-]?[0-9]{1,3})|([numkMGTPE]i?|Ki)?)")


def parse_quantity(quantity: str | int | float) -> Fraction | None:
    """The exact amount; None when it is no quantity at all."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    if exponent:
        return Fraction(number) * Fraction(10) ** int(exponent[1:])
    factor = _SUFFIXES.get(suffix or "")
    return None if factor is None else Fraction(number) * factor


def add_gib(quantity: str, gib: int) -> str:
    """A memory quantity plus `gib` GiB, rounded up to bytes, in the largest binary unit that stays exact.

    With nothing to add the quantity stays as the user wrote it."""
    base = parse_quantity(quantity)
    if gib == 0 or base is None:
        return quantity
    total = -((-base) // 1) + gib * 1024**3
    for power, suffix in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if total % 1024**power == 0:
            return f"{total // 1024**power}{suffix}"
    return str(total)
