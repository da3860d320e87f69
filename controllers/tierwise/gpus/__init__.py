"""Lists what each GPU can do and what it costs, with the source of every figure.

The one table of GPUs: the simulated engine, the pages and the checks read it. It is Python and not a data file, so that
rooms that do no I/O can read it, and a row that lacks its source does not type-check.
"""

from __future__ import annotations

from tierwise.gpus.facts import FACTS, GpuFacts, UnknownGpu, find
from tierwise.gpus.prices import PRICES, Price, prices_of

__all__ = ["FACTS", "PRICES", "GpuFacts", "Price", "UnknownGpu", "find", "prices_of"]
