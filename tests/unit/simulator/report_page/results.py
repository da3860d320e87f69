"""Makes results for the page: tiers whose replicas rise and fall over a day, with figures of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from tierwise.routing import savings as tactics
from tierwise_sim.replay.result import (
    Changes,
    Distribution,
    GpuSeconds,
    Point,
    Requests,
    SavingsResult,
    Setup,
    SimulationResult,
    Targets,
    TierResult,
    TokenCounts,
    Total,
)

DAY = 86400.0
SEEN = Distribution(count=900, mean=0.6, p50=0.4, p90=1.1, p95=1.34, p99=2.75, largest=6.0)

ASKED = Requests(
    arrived=1000, answered=990, met=940, met_ttft=950, met_inter_token=980, judged=1000, refused={"queue full": 10}
)


def wave(seconds: float = DAY, step: float = 10.0, peak: int = 6, shift: float = 0.0) -> tuple[Point, ...]:
    """A day of samples: replicas follow a wave, start late and drain late; a queue grows on the way up."""
    found = []
    for number in range(int(seconds / step) + 1):
        at = number * step
        wanted = 1 + (peak - 1) * (1 - math.cos(2 * math.pi * (at / seconds + shift))) / 2
        before = 1 + (peak - 1) * (1 - math.cos(2 * math.pi * (max(0.0, at - 900) / seconds + shift))) / 2
        desired, ready = round(wanted), round(before)
        starting, draining = max(0, desired - ready), max(0, ready - desired)
        kv = min(1.0, 0.35 + 0.5 * (wanted - before) + 0.08 * math.sin(at / 97))
        waiting = max(0, round(40 * (wanted - before) + 3 * math.sin(at / 211)))
        found.append(Point(at, desired, min(ready, desired), starting, draining, waiting, 20 * ready, kv))
    return tuple(found)


def tier_result(
    name: str = "small", *, dollars: str = "44.64", timeline: Sequence[Point] = (), **fields: object
) -> TierResult:
    """A served tier on L40S."""
    given: dict[str, object] = {
        "external": False,
        "gpu": "NVIDIA-L40S",
        "gpus_per_replica": 1,
        "gpu_hour": Decimal("1.86"),
        "startup_seconds": 120.0,
        "requests": ASKED,
        "share": 0.7,
        "tokens": TokenCounts(prompt=400000, cached=100000, output=90000),
        "ttft": SEEN,
        "inter_token": Distribution(count=900, mean=0.02, p50=0.018, p90=0.03, p95=0.041, p99=0.077, largest=0.2),
        "gpu_seconds": GpuSeconds(ready=79200.0, starting=5400.0, draining=1800.0),
        "replicas_mean": 3.21,
        "replicas_peak": max((point.replicas for point in timeline), default=0),
        "changes": Changes(ups=11, downs=9, reversals=1, per_hour=0.83, reversals_per_hour=0.04),
        "limited_seconds": {"Max": 1260.0},
    }
    return TierResult(name=name, dollars=Decimal(dollars), timeline=tuple(timeline), **{**given, **fields})  # type: ignore[arg-type]


def external(name: str = "provider", dollars: str = "3.7715") -> TierResult:
    """A tier that somebody else serves."""
    return tier_result(
        name,
        dollars=dollars,
        external=True,
        gpu="",
        gpus_per_replica=0,
        gpu_hour=None,
        gpu_seconds=GpuSeconds(),
        limited_seconds={},
        changes=Changes(),
    )


def savings(reference: str = "provider") -> SavingsResult:
    """Two tactics that saved, one that cost."""
    return SavingsResult(
        reference=reference,
        baseline=Decimal("96.500000"),
        lower_baseline=Decimal("80.000000"),
        actual=Decimal("38.600000"),
        saved_percent=Decimal("60.00"),
        lower_bound_percent=Decimal("51.75"),
        parts={tactics.ROUTING: Decimal("50.2"), tactics.PREFIX_CACHE: Decimal("9.8"), tactics.SPILL: Decimal("-2.1")},
        notes=("answers are taken to be as long as those of the reference tier",),
    )


def simulation(
    tiers: Sequence[TierResult] | None = None,
    *,
    met: int = 1860,
    dollars: str | None = None,
    what_if: tuple[str, ...] = (),
    saved: SavingsResult | None = None,
    notes: tuple[str, ...] = ("step times of small on NVIDIA-L40S: fitted, roofline",),
    seconds: float = DAY,
) -> SimulationResult:
    """A result of these tiers; `met` of 2,000 requests met both targets."""
    found = (tier_result(timeline=wave()), external()) if tiers is None else tuple(tiers)
    total = sum((each.dollars for each in found), Decimal(0)) if dollars is None else Decimal(dollars)
    worst = found[0]
    return SimulationResult(
        setup=Setup(
            trace="day.jsonl",
            seconds=seconds,
            arrivals=2000,
            seed=7,
            autoscaler="tierwise",
            targets=Targets(2.5, 0.1),
            startup_seconds=120.0,
            scrape_seconds=10.0,
            decide_seconds=10.0,
            routers=2,
            route="chat",
            what_if=what_if,
        ),
        tiers=found,
        total=Total(
            dollars=total,
            dollars_per_hour=total / 24,
            dollars_per_million_tokens=Decimal("1.234567"),
            gpu_seconds=GpuSeconds(79200.0, 5400.0, 1800.0),
            requests=replace(ASKED, arrived=2000, answered=1990, met=met, judged=2000),
            tokens=TokenCounts(800000, 200000, 180000),
            ttft=SEEN,
            inter_token=SEEN,
            attainment=met / 2000,
            worst_tier=worst.name,
            worst_attainment=worst.requests.attainment,
            share={each.name: each.share for each in found},
            changes=Changes(),
        ),
        savings=saved,
        no_savings="" if saved else "the route names no referenceTier",
        notes=notes,
    )
