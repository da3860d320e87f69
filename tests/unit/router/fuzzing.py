"""Says how many inputs a property is tried with: few by default, as many as TIERWISE_FUZZ says in a campaign."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

from hypothesis import HealthCheck, settings

SLOW_INPUTS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def fuzz(default: int) -> settings:
    """The settings of one property."""
    return settings(
        max_examples=int(os.environ.get("TIERWISE_FUZZ", default)),
        deadline=None,
        suppress_health_check=SLOW_INPUTS,
    )


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data` in pieces, cut at `places` (any numbers; taken modulo its length)."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [piece for piece in (data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)) if piece]


def bytes_of(seed: int, size: int, alphabet: bytes) -> bytes:
    """Reproducible bytes, for what need not shrink."""
    return bytes(random.Random(seed).choices(alphabet, k=size))
