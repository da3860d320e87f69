"""Names every simulation of the comparison: which load, which tiers, who decides, and what goes wrong.

A case is a value, and so is a set of them: what has run, what is missing and what a bar is judged on can be told apart
without running anything. `full` has every policy at every point of its sweep; `short` the points that the bars need
most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from tierwise_sim.policies.registry import POLICIES, parse
from tierwise_sim.replay.autoscalers import OURS
from tierwise_sim.replay.scenario import FaultKind

SCALING, CONTENTION, OUTAGES = "scaling", "contention", "outages"
PARTS = (SCALING, CONTENTION, OUTAGES)
AZURE, MOONCAKE = "azure-llm-2023-conv", "mooncake-conversation"
GENERATED = ("step", "ramp", "sine")
APART, TOGETHER = "apart", "together"
SMALL, MEDIUM, LARGE, PAIR, POOL = "small", "medium", "large", "pair", "pool"
SHAPES = (SMALL, MEDIUM, LARGE, PAIR)
STARTUPS = (60.0, 120.0, 300.0)
USUAL = 120.0
FACTORS = (1.2, 1.5, 2.0, 3.0)
HALF = "half"
NO_FAULT = "none"
FAULTS = tuple(kind.value for kind in FaultKind)

KEDA, WVA = "keda-epp", "wva-v2"
WVA_FIXED = f"{WVA}:down=0.7,fixed=1,tolerance=0,up=0.85,window=0"
"""WVA's second analyzer with its own bands, corrected, and with nothing behind it that waits."""
KUEUE, RESCALE = "kueue-floors", "wva-rescale"
TOO_LONG = {MEDIUM: (MOONCAKE,), PAIR: (MOONCAKE,)}
"""Loads that an engine of a shape cannot have: the context of its model is too short."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One simulation. `rule`: who shares out GPUs among tiers that know nothing of each other; `factor`: so many times
    the budget is what all tiers together need at most; `floors`: "half" where every tier is promised half of its equal
    share, else one replica; `fault`: what goes wrong."""

    part: str
    load: str
    shape: str
    startup: float
    scaler: str
    rule: str = ""
    factor: float = 0.0
    floors: str = ""
    fault: str = ""

    @property
    def cell(self) -> tuple[str, str, str, float, float, str, str]:
        """What cases have in common that are compared: everything but who decides."""
        return self.part, self.load, self.shape, self.startup, self.factor, self.floors, self.fault

    @property
    def decides(self) -> str:
        """Who decides, with the rule for the budget."""
        return f"{self.scaler} + {self.rule}" if self.rule else self.scaler

    @property
    def name(self) -> str:
        """For `--only` and the progress line."""
        more = [f"x{self.factor:g}" if self.factor else "", self.floors, self.fault]
        place = "/".join([self.part, self.load, self.shape, f"{self.startup:g}s", *filter(None, more)])
        return f"{place}/{self.decides}"


def family(scaler: str) -> str:
    """The policy of a scaler, without its settings."""
    return scaler.partition(":")[0]


def chosen(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """Those whose name has one of these texts in it, or fits it as a pattern; all without any."""
    return [case for case in cases if not only or any(_fits(case.name, text) for text in only)]


def _fits(name: str, text: str) -> bool:
    return text in name or fnmatch(name, text)


def full() -> list[Case]:
    """Every load, shape, start-up and sweep."""
    found = [
        Case(SCALING, load, shape, startup, scaler)
        for load in (AZURE, MOONCAKE, *GENERATED)
        for shape in SHAPES
        if load not in TOO_LONG.get(shape, ())
        for startup in STARTUPS
        for scaler in (OURS, *_sweeps())
    ]
    rivals = [(scaler, rule) for rule in (KUEUE, RESCALE) for scaler in _under_a_budget()]
    for load, factor, floors in itertools.product((APART, TOGETHER), FACTORS, ("", HALF)):
        found += [Case(CONTENTION, load, POOL, USUAL, OURS, "", factor, floors)]
        found += [Case(CONTENTION, load, POOL, USUAL, scaler, rule, factor, floors) for scaler, rule in rivals]
    names = [text for name in POLICIES if name not in ("static", "oracle") for text in _forms(name, {})]
    found += _outages((OURS, *names))
    return found


def _sweeps() -> Iterator[str]:
    """Each policy at every point of its sweep, corrected where there is a correction; and as coded at its defaults."""
    for name, policy in POLICIES.items():
        if policy.fixed:
            yield name
        for settings in policy.sweep:
            yield list(_forms(name, settings))[-1]


def _forms(name: str, settings: Mapping[str, float]) -> Iterator[str]:
    """As coded, and corrected where there is a correction; as `parse` reads and writes it."""
    for extra in ({}, {"fixed": 1.0}) if POLICIES[name].fixed else ({},):
        text = ",".join(f"{key}={value:g}" for key, value in {**settings, **extra}.items())
        yield parse(f"{name}:{text}").label


def _under_a_budget() -> tuple[str, ...]:
    return (*(f"{KEDA}:fixed=1,running={running}" for running in (8, 16, 24)), WVA_FIXED)


_KEDAS = tuple(f"{KEDA}:fixed=1,running={running},up_window=0" for running in (8, 12, 16, 24))
_FEW = (OURS, *_KEDAS[:2], WVA_FIXED)
_MORE = (
    OURS,
    *_KEDAS,
    WVA_FIXED,
    f"{WVA}:down=0.55,fixed=1,tolerance=0,up=0.7,window=0",
    "keda-waiting-running:fixed=1,running=12",
    "slo-law:down=0.4,fixed=1,tolerance=0,up=0.55",
    "aibrix-apa:fixed=1,kv=0.5",
    "knative-kpa:requests=16",
    "kubeai:requests=10,window=120",
    "static:replicas=4",
    "static:replicas=5",
    "oracle",
)


def short() -> list[Case]:
    """What tells most in ten minutes of one core; part of what `full` has."""
    plan: Sequence[tuple[str, str, float, Sequence[str]]] = (
        (AZURE, MEDIUM, USUAL, _MORE),
        (AZURE, MEDIUM, 60.0, _FEW),
        (AZURE, MEDIUM, 300.0, _FEW),
        (AZURE, SMALL, USUAL, _FEW),
        (AZURE, LARGE, USUAL, _FEW),
        (AZURE, PAIR, USUAL, _FEW),
        (MOONCAKE, LARGE, USUAL, _FEW),
        ("step", MEDIUM, USUAL, _FEW),
        ("ramp", MEDIUM, USUAL, _FEW),
        ("sine", MEDIUM, USUAL, _FEW),
    )
    found = [
        Case(SCALING, load, shape, startup, parse(scaler).label if scaler != OURS else scaler)
        for load, shape, startup, scalers in plan
        for scaler in scalers
    ]
    for load, factor in ((APART, 1.2), (APART, 2.0), (TOGETHER, 1.2), (TOGETHER, 2.0), (TOGETHER, 3.0)):
        for scaler, rule in ((OURS, ""), (f"{KEDA}:fixed=1,running=8", KUEUE), (WVA_FIXED, RESCALE)):
            found.append(Case(CONTENTION, load, POOL, USUAL, scaler, rule, factor, HALF))
    found += _outages((OURS, KEDA, WVA, "aibrix-apa"))
    return found


def _outages(scalers: Sequence[str]) -> list[Case]:
    return [
        Case(OUTAGES, "rising", MEDIUM, USUAL, scaler, fault=fault)
        for fault in (NO_FAULT, *FAULTS)
        for scaler in scalers
    ]


SETS = {"short": short, "full": full}
