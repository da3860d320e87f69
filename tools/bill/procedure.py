"""Makes the bill: chooses what is to be chosen on the first half of the trace, runs every row on the second, and adds
the cases beside the table.

The order of the rows is the order of the tactics: each row has what the row above it has, and one more. Static fleets
are as large as the busiest minutes need; what follows the load starts the judged part warm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from tierwise_sim.replay.scenario import DEFAULT_TARGETS
from tierwise_sim.traces.arrival import Trace
from tools.bill import fleets, labels, parts, run, sizing
from tools.bill.fleets import H100, LARGE, LARGE_MODEL, SMALL, Fleet, Served
from tools.bill.labels import Pool
from tools.bill.parts import Part
from tools.bill.rows import Row
from tools.bill.run import OURS, SEED, Counted, Load
from tools.bill.shares import Shares

PEAK_REPLICAS = 8
SCALE_STEP = 0.25
MOST_SCALE = 40.0
SMALLER = (1.0, 0.75, 0.5)
"""Parts of the batch size that ours is tried with on the first half, until enough requests meet both targets."""
SPARE = 1.25
"""maxReplicas of a tier that follows the load, in sizes of the static fleet: llm-d's blueprint allows ten for eight."""
SPILL_CAP = Decimal(40)
"""US dollars an hour that may spill to the API."""


class Simulate(Protocol):
    """Runs one fleet on a load: `run.simulate`, or what stands in for it in a test."""

    def __call__(
        self, fleet: Fleet, load: Load, share: float | None, initial: Mapping[str, int], autoscaler: str, what: str
    ) -> Counted:
        """What it found. `what`: for whoever watches."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen, and on what. `threshold`: running requests per replica of the KEDA blueprint; `smaller`: the
    part of the batch size at which ours keeps the service level on the first half; None: nothing that was tried kept
    it."""

    scale: float
    threshold: int | None
    smaller: float | None
    sequences: Mapping[str, int]
    schedule: Sequence[tuple[int, int]]
    static: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Procedure:
    """One bill. `pools`: questions to draw from by benchmark, empty without the data set."""

    trace: Trace
    shares: Shares
    simulate: Simulate
    pools: Mapping[str, Pool] = field(default_factory=dict)
    _static: dict[str, dict[str, int]] = field(default_factory=dict)

    # --- what is chosen -----------------------------------------------------------------------------------------------

    def tiers(self) -> tuple[Served, Served, Served, Served]:
        """The large tier as published, quantized, and with drafts; the small one: each with the batch that the rule
        gives it."""
        mean = sizing.workload(parts.chosen_on(self.trace).trace)
        target = DEFAULT_TARGETS.inter_token

        def sized(served: Served) -> Served:
            return replace(served, sequences=sizing.sequences(served, mean, target))

        quantized = Served(LARGE, LARGE_MODEL, H100, 2, quantized=True)
        drafting = replace(quantized, prefix_cache=True, drafts=sizing.schedule(quantized, mean))
        return (
            sized(fleets.reference(1, None).tiers[0]), sized(quantized), sized(drafting), sized(fleets.small(1, None))
        )  # fmt: skip

    def scale(self, reference: Served) -> float:
        """So many times the trace's rate, that the reference needs eight replicas in its busiest minutes: the most that
        eight can serve."""
        part = parts.peak(self.trace)
        fleet = Fleet((replace(reference, replicas=PEAK_REPLICAS),))
        values = [round(SCALE_STEP * step, 2) for step in range(1, int(MOST_SCALE / SCALE_STEP) + 1)]
        rate = len(part.trace.arrivals) / part.trace.duration
        mean = sizing.workload(part.trace)
        guess = PEAK_REPLICAS * sizing.rate(reference, mean) / rate
        near = [value for value in values if 0.6 * guess <= value <= 1.4 * guess] or values

        def enough(index: int) -> bool:
            load = _load(parts.scaled(part, near[index], SEED))
            found = self.simulate(fleet, load, None, {}, OURS, f"scale {near[index]:g}")
            return found.attainment >= sizing.LEAST

        best = sizing.highest(range(len(near)), enough)
        return near[0] if best is None else near[best]

    def static(self, key: str, fleet: Fleet, peak: Part, share: float | None = None) -> Fleet:
        """The fleet with the fewest replicas that serve the busiest minutes, tier by tier."""
        load, mean = self.load(peak, labels.MMLU), sizing.workload(peak.trace)
        rate = len(peak.trace.arrivals) / peak.trace.duration
        parts_of = {LARGE: 1.0 if share is None else share / 100, SMALL: 0.0 if share is None else 1 - share / 100}
        guess = {tier.name: max(1, round(rate * parts_of[tier.name] / sizing.rate(tier, mean))) for tier in fleet.tiers}
        sizes = dict(guess)
        for tier in fleet.tiers:  # one after the other, with room in the others: they do not wait for each other

            def tried(replicas: int, name: str = tier.name) -> Counted:
                wanted = {other: size + 1 for other, size in sizes.items() if other != name} | {name: replicas}
                found = self.simulate(_pinned(fleet, wanted), load, share, {}, OURS, f"{key}: {replicas} x {name}")
                return _only(found, name)

            sizes[tier.name] = sizing.least_replicas(tried, guess[tier.name])
        self._static[key] = sizes
        return _pinned(fleet, sizes)

    def threshold(self, reference: Served, initial: int, part: Part) -> int | None:
        """The highest threshold of the KEDA blueprint that keeps the service level on the part to choose on."""
        fleet = bounded(Fleet((reference,)), {LARGE: initial})

        def enough(running: int) -> bool:
            name = keda(running)
            found = self.simulate(fleet, _load(part), None, {LARGE: initial}, name, name)
            return found.attainment >= sizing.LEAST

        return sizing.highest(sizing.THRESHOLDS, enough)

    def smaller(self, fleet: Fleet, share: float, initial: Mapping[str, int], part: Part) -> float | None:
        """The largest part of the batch size with which ours keeps the service level on the part to choose on."""
        load = self.load(part, labels.MMLU)
        fleet = judged(bounded(fleet, initial))
        for factor in SMALLER:
            found = self.simulate(shrunk(fleet, factor), load, share, initial, OURS, f"ours at {factor:g}")
            if found.attainment >= sizing.LEAST:
                return factor
        return None

    # --- what is run --------------------------------------------------------------------------------------------------

    def load(self, part: Part, benchmark: str) -> Load:
        """The part with a question for each request, where there are some."""
        if benchmark not in self.pools:
            return _load(part)
        trace, questions = labels.labelled(part.trace, self.pools[benchmark], SEED)
        return Load(trace, part.begin, questions)

    def main(self) -> tuple[Chosen, list[Row]]:
        """What was chosen, and the table."""
        reference, quantized, drafting, small = self.tiers()
        scale = self.scale(reference)
        peak = parts.scaled(parts.peak(self.trace), scale, SEED)
        first = parts.scaled(parts.chosen_on(self.trace), scale, SEED)
        second = parts.scaled(parts.judged(self.trace), scale, SEED)
        self._static["static"] = {LARGE: PEAK_REPLICAS}
        threshold = self.threshold(reference, PEAK_REPLICAS, first)
        used = threshold or sizing.THRESHOLDS[0]
        load = self.load(second, labels.MMLU)

        def one(key: str, title: str, fleet: Fleet, share: float | None = None, autoscaler: str = OURS) -> Row:
            initial = self._initial(key)
            given = load if key != "gsm8k" else self.load(second, labels.GSM8K)
            found = self.simulate(fleet, given, share, initial, autoscaler, title)
            return Row.of(key, title, described(fleet), scaler_of(fleet, autoscaler), found)

        rows = [
            one(
                "static", "large model alone, unquantized, static", _pinned(Fleet((reference,)), {LARGE: PEAK_REPLICAS})
            ),
            one(
                "keda",
                "the same, autoscaled (KEDA+EPP)",
                bounded(Fleet((reference,)), self._static["static"]),
                autoscaler=keda(used),
            ),
            one("quantization", "+ quantization", self.static("quantization", Fleet((quantized,)), peak)),
        ]
        cached = Fleet((replace(quantized, prefix_cache=True),))
        rows.append(one("prefix", "+ prefix cache", _pinned(cached, self._static["quantization"])))
        spoken = Fleet((drafting,))
        rows.append(one("speculation", "+ speculation", self.static("speculation", spoken, peak)))
        both, average, promised = Fleet((small, drafting)), self.shares.average, self.shares.promised
        fixed = self.static("routing", both, peak, average)
        rows.append(one("routing", "+ routing, 95 % of the quality on average", fixed, average))
        smaller = self.smaller(both, average, self._static["routing"], first)
        following = shrunk(judged(bounded(both, self._static["routing"])), smaller or SMALLER[-1])
        rows.append(one("autoscaling", "+ autoscaling", following, average))
        rows.append(one("spill", "+ spill to an API", replace(following, api=SPILL_CAP), average))
        rows.append(one("promised", "all but spill, 95 % promised with 90 % confidence", following, promised))
        rows.append(one("gsm8k", "all but spill, questions of GSM8K", following, self.shares.gsm8k))
        chosen = Chosen(
            scale,
            threshold,
            smaller,
            {"reference": reference.sequences, "quantized": quantized.sequences, "drafting": drafting.sequences,
             "small": small.sequences},
            [(step.from_batch, step.tokens) for step in drafting.drafts],
            {key: dict(sizes) for key, sizes in self._static.items()},
        )  # fmt: skip
        return chosen, rows

    def recorded(self, chosen: Chosen) -> list[Row]:
        """The trace as it was recorded: a fleet of a few replicas."""
        reference, _, drafting, small = self.tiers()
        peak, second = parts.peak(self.trace), parts.judged(self.trace)
        load, average = self.load(second, labels.MMLU), self.shares.average
        fixed = self.static("recorded static", Fleet((reference,)), peak)
        keda_fleet = bounded(Fleet((reference,)), self._static["recorded static"])
        own = judged(bounded(Fleet((small, drafting)), {LARGE: 1, SMALL: 1}))
        ours = shrunk(own, chosen.smaller or SMALLER[-1])
        plans: list[tuple[str, str, Fleet, float | None, Mapping[str, int], str]] = [
            ("static", "large model alone, unquantized, static", fixed, None, {}, OURS),
            ("keda", "the same, autoscaled (KEDA+EPP)", keda_fleet, None, self._static["recorded static"],
             keda(chosen.threshold or sizing.THRESHOLDS[0])),
            ("autoscaling", "all tactics but spill", ours, average, {LARGE: 1, SMALL: 1}, OURS),
        ]  # fmt: skip
        return [
            Row.of(key, title, described(fleet), scaler_of(fleet, scaler),
                   self.simulate(fleet, load, share, initial, scaler, f"as recorded: {title}"))
            for key, title, fleet, share, initial, scaler in plans
        ]  # fmt: skip

    def with_prefixes(self, trace: Trace, context: int, chosen: Chosen) -> list[Row]:
        """Another trace, whose prompts share beginnings: the quantized large tier without and with its prefix cache."""
        second = parts.judged(trace)
        base = Served(
            LARGE, LARGE_MODEL, H100, 4, quantized=True, context=context, sequences=chosen.sequences["quantized"]
        )
        load, found = _load(second), []
        for cached in (False, True):
            fleet = Fleet((replace(base, prefix_cache=cached),))
            title = f"quantized large model, prefix cache {'on' if cached else 'off'}"
            counted = self.simulate(fleet, load, None, {LARGE: 4}, OURS, f"{trace.name}: {title}")
            found.append(Row.of("on" if cached else "off", title, described(fleet), scaler_of(fleet, OURS), counted))
        return found

    def _initial(self, key: str) -> Mapping[str, int]:
        return self._static["static"] if key == "keda" else self._static.get("routing", {})


def keda(running: int) -> str:
    """The KEDA+EPP blueprint at a threshold of running requests per replica."""
    return f"keda-epp:running={running}"


def bounded(fleet: Fleet, sizes: Mapping[str, int]) -> Fleet:
    """The fleet with a maximum of a quarter more than a static one of these sizes has."""
    tiers = tuple(replace(tier, most=math.ceil(SPARE * sizes[tier.name])) for tier in fleet.tiers)
    return replace(fleet, tiers=tiers)


def judged(fleet: Fleet) -> Fleet:
    """The fleet, told the service level that all rows are judged by: only ours knows how to follow one."""
    return replace(fleet, tiers=tuple(replace(tier, judged=True) for tier in fleet.tiers))


def shrunk(fleet: Fleet, factor: float) -> Fleet:
    """The fleet with smaller batches: more replicas, each less full."""
    tiers = tuple(replace(tier, sequences=max(1, round(tier.sequences * factor))) for tier in fleet.tiers)
    return replace(fleet, tiers=tiers)


def described(fleet: Fleet) -> str:
    """The fleet in a line: `2 H100 x 5 large fp8 + ...`."""
    said = []
    for tier in fleet.tiers:
        many = f"{tier.replicas} x " if tier.replicas is not None else ""
        gpu = "H100" if tier.gpu == H100 else "L40S"
        said.append(f"{many}{tier.model.rsplit('/', 1)[-1]} {'fp8' if tier.quantized else 'bf16'} on {tier.gpus} {gpu}")
    return " + ".join(reversed(said)) + ("" if fleet.api is None else f" + {fleets.API_MODEL}")


def scaler_of(fleet: Fleet, autoscaler: str) -> str:
    """Who decides the replicas."""
    return "static" if all(tier.replicas is not None for tier in fleet.tiers) else autoscaler


def _pinned(fleet: Fleet, sizes: Mapping[str, int]) -> Fleet:
    return replace(fleet, tiers=tuple(replace(tier, replicas=sizes[tier.name]) for tier in fleet.tiers))


def _only(found: Counted, name: str) -> Counted:
    tier = found.tiers[name]
    return replace(found, judged=tier.judged, met=tier.met)


def _load(part: Part) -> Load:
    return Load(part.trace, part.begin)


def simulated(shown: Callable[[str, float, float], None]) -> Simulate:
    """`run.simulate`, told to whoever watches: what, how far, of how much."""

    def one(
        fleet: Fleet, load: Load, share: float | None, initial: Mapping[str, int], autoscaler: str, what: str
    ) -> Counted:
        given = run.scenario(fleet, load, share, initial)
        return run.simulate(given, load, autoscaler, lambda at, of: shown(what, at, of))

    return one


def as_dict(chosen: Chosen) -> dict[str, Any]:
    """For JSON."""
    return {
        "scale": chosen.scale,
        "threshold": chosen.threshold,
        "smaller": chosen.smaller,
        "sequences": dict(chosen.sequences),
        "schedule": [list(step) for step in chosen.schedule],
        "static": {key: dict(sizes) for key, sizes in chosen.static.items()},
    }
