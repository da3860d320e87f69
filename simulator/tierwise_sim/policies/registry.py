"""Names the autoscalers, makes them, and says where each comes from.

A name may carry settings, as a user of the original would set them: `keda-waiting:waiting=10,fixed=1`. Every policy has
a sweep, so that a comparison shows each at its best setting for a load, and not at one that somebody chose for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tierwise.errors import Invalid
from tierwise_sim.policies.aibrix import Apa, Kpa
from tierwise_sim.policies.hpa import Behavior, SpeedLimit
from tierwise_sim.policies.keda import Keda, Trigger, dispatched, held_back, pod_sum, prefill_seconds
from tierwise_sim.policies.kubeai import KubeAi
from tierwise_sim.policies.observation import Autoscaler
from tierwise_sim.policies.references import Oracle, Static
from tierwise_sim.policies.slo_law import SloLaw
from tierwise_sim.policies.wva_v1 import WvaV1
from tierwise_sim.policies.wva_v2 import WvaV2

Settings = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a tier before it runs.

    Users of token-aware scaling measure `prefill_tokens_per_second` (of one replica). The oracle needs the other two:
    what a replica answers within the service level, and the rate to come.
    """

    prefill_tokens_per_second: float | None = None
    requests_per_second: float | None = None
    rate: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One autoscaler. `settings` are its defaults (those of the original), `sweep` what to vary for a frontier.

    `wakes_at_once`: at zero replicas the caller gives it one as soon as a request comes, as the original does without
    waiting for its period. `instant`: its replicas are ready at once. `fixed`: what the setting `fixed=1` corrects;
    empty where there is no such setting.
    """

    name: str
    summary: str
    source: str
    settings: Settings
    sweep: tuple[Settings, ...]
    make: Callable[[Facts, Settings], Autoscaler]
    fixed: str = ""
    wakes_at_once: bool = False
    instant: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy with the settings that differ from its defaults."""

    policy: Policy
    overrides: Settings = field(default_factory=dict)

    def new(self, facts: Facts) -> Autoscaler:
        """A fresh autoscaler for one tier and one run. Raises Invalid when a fact that it needs is not given."""
        return self.policy.make(facts, {**self.policy.settings, **self.overrides})

    def sweep(self) -> tuple[Choice, ...]:
        """This choice at every setting of the policy's sweep."""
        return tuple(Choice(self.policy, {**self.overrides, **one}) for one in self.policy.sweep)

    @property
    def label(self) -> str:
        """The name with its settings, as `parse` reads it."""
        settings = ",".join(f"{key}={value:g}" for key, value in sorted(self.overrides.items()))
        return f"{self.policy.name}:{settings}" if settings else self.policy.name


def parse(text: str) -> Choice:
    """The choice that `NAME` or `NAME:SETTING=NUMBER,...` names. Raises Invalid with what may be written."""
    name, _, rest = text.partition(":")
    policy = POLICIES.get(name)
    if policy is None:
        raise Invalid(f"autoscaler {name!r}: not known; choose one of {', '.join(POLICIES)}")
    overrides: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        key, _, number = part.partition("=")
        if key not in policy.settings:
            has = ", ".join(policy.settings) or "none"
            raise Invalid(f"autoscaler {name}: no setting {key!r}; it has {has}")
        try:
            overrides[key] = float(number)
        except ValueError:
            overrides[key] = math.nan
        if not math.isfinite(overrides[key]) or overrides[key] < 0:
            raise Invalid(f"autoscaler {name}: {key}={number!r} is not a number of 0 or more")
    return Choice(policy, overrides)


def _given(value: float | None, name: str, policy: str) -> float:
    if value is None or not value > 0:
        raise Invalid(
            f"autoscaler {policy}: needs {name} of the tier, above 0; measure it, or let the replay compute it"
        )
    return value


def _keda_waiting(facts: Facts, s: Settings) -> Autoscaler:
    return Keda([Trigger("waiting", pod_sum("waiting"), s["waiting"])], fixed=bool(s["fixed"]))


def _keda_waiting_running(facts: Facts, s: Settings) -> Autoscaler:
    triggers = [
        Trigger("waiting", pod_sum("waiting"), s["waiting"]),
        Trigger("running", pod_sum("running"), s["running"]),
    ]
    return Keda(triggers, fixed=bool(s["fixed"]))


def _keda_epp(facts: Facts, s: Settings, *, guard: bool = False) -> Autoscaler:
    behavior = Behavior(up_window=0 if guard else s["up_window"], up=(SpeedLimit(100, 15, percent=True),))
    triggers = [Trigger("queue", held_back, s["queue"]), Trigger("running", dispatched, s["running"])]
    return Keda(triggers, behavior, fixed=bool(s["fixed"]), guard=guard)


def _token_triggers(facts: Facts, s: Settings, policy: str) -> list[Trigger]:
    speed = _given(facts.prefill_tokens_per_second, "prefill_tokens_per_second", policy)
    return [
        Trigger("prefill seconds", prefill_seconds(speed), s["prefill"]),
        Trigger("KV use", pod_sum("kv_usage"), s["kv"]),
    ]


def _keda_token_aware(facts: Facts, s: Settings) -> Autoscaler:
    behavior = Behavior(up=(SpeedLimit(1, 180),), down=(SpeedLimit(1, 300),))
    return Keda(_token_triggers(facts, s, "keda-token-aware"), behavior, fixed=bool(s["fixed"]))


def _keda_token_aware_fast(facts: Facts, s: Settings) -> Autoscaler:
    return Keda(_token_triggers(facts, s, "keda-token-aware-fast"), fixed=bool(s["fixed"]))


def _wva_v1(facts: Facts, s: Settings) -> Autoscaler:
    return WvaV1(
        window_seconds=s["window"],
        tolerance=s["tolerance"],
        spare_kv=s["spare_kv"],
        spare_queue=s["spare_queue"],
        fixed=bool(s["fixed"]),
    )


def _wva_v2(facts: Facts, s: Settings) -> Autoscaler:
    return WvaV2(
        window_seconds=s["window"], tolerance=s["tolerance"], up=s["up"], down=s["down"], fixed=bool(s["fixed"])
    )


def _oracle(facts: Facts, s: Settings) -> Autoscaler:
    each = _given(facts.requests_per_second, "requests_per_second", "oracle")
    if facts.rate is None:
        raise Invalid("autoscaler oracle: needs the rate of the trace to come")
    return Oracle(rate=facts.rate, requests_per_second=each)


def _vary(name: str, *values: float) -> tuple[Settings, ...]:
    return tuple({name: value} for value in values)


_KEDA_FIXED = "an empty or NaN result, and a ready pod that is not measured, is an error (nothing is removed), not 0"
_KEDA = "kedacore/keda pkg/scalers/prometheus_scaler.go"
_LLMD = "llm-d/llm-d guides/workload-autoscaling"
_WVA = "llm-d/llm-d-workload-variant-autoscaler internal"
_AIBRIX = "vllm-project/aibrix pkg/controller/podautoscaler"
_V2_BANDS: tuple[Settings, ...] = tuple(
    {"window": window, "tolerance": 0, "up": up, "down": down}
    for window in (0, 120, 240)
    for up, down in ((0.6, 0.45), (0.7, 0.55), (0.85, 0.7), (0.95, 0.8))
)

# Metrics that are a number of replicas are swept without the HPA's tolerance: it would hold single steps from ten on.
_V1_SPARE: tuple[Settings, ...] = tuple(
    {"window": window, "tolerance": 0, "spare_kv": spare} for window in (0, 120, 240) for spare in (0.05, 0.1, 0.2, 0.3)
)
_SLO_BANDS: tuple[Settings, ...] = tuple(
    {"up": up, "down": down, "tolerance": 0}
    for up, down in ((0.3, 0.2), (0.4, 0.3), (0.55, 0.4), (0.7, 0.5), (0.9, 0.6))
)

_ALL = (
    Policy(
        "static", "Always the same number of replicas.", "-", {"replicas": 1},
        _vary("replicas", *range(1, 17)), lambda facts, s: Static(replicas=int(s["replicas"])),
    ),
    Policy(
        "oracle", "ceil(rate / what a replica answers within the service level), with replicas that are ready at once.",
        "llm-d/llm-d-workload-variant-autoscaler issue 1499", {}, ({},), _oracle, wakes_at_once=True, instant=True,
    ),
    Policy(
        "keda-waiting", "KEDA and HPA on waiting requests, 5 per replica: vLLM production-stack's chart, with sum().",
        f"vllm-project/production-stack helm/templates/scaledobject-vllm.yaml; {_KEDA}",
        {"waiting": 5, "fixed": 0}, _vary("waiting", 1, 2, 5, 10, 20), _keda_waiting, _KEDA_FIXED,
    ),
    Policy(
        "keda-waiting-running", "The same with a second trigger on running requests: a level beside an error signal.",
        _KEDA, {"waiting": 5, "running": 40, "fixed": 0},
        _vary("running", 8, 12, 16, 24, 32, 40, 56, 80), _keda_waiting_running, _KEDA_FIXED,
    ),
    Policy(
        "keda-epp", "llm-d's blueprint: requests held in the router (1) and running (16) per replica.",
        f"{_LLMD}/keda-epp/optimized-baseline", {"queue": 1, "running": 16, "up_window": 0, "fixed": 0},
        tuple(
            {"running": running, "up_window": window}
            for window in (0, 60, 300)
            for running in (8, 12, 16, 24, 32, 48, 64)
        ),
        _keda_epp, _KEDA_FIXED,
    ),
    Policy(
        "keda-epp-guard", "llm-d's blueprint with the formula that subtracts replicas that start (queue-guard).",
        f"{_LLMD}/keda-epp/optimized-baseline/overlays/k8s/queue-guard", {"queue": 1, "running": 16, "fixed": 0},
        _vary("running", 8, 12, 16, 24, 32, 48, 64), lambda facts, s: _keda_epp(facts, s, guard=True), _KEDA_FIXED,
    ),
    Policy(
        "keda-token-aware", "llm-d on seconds of unread prompts (1.5) and KV use (0.8), one replica per three minutes.",
        f"{_LLMD}/keda-epp-token-aware/optimized-baseline", {"prefill": 1.5, "kv": 0.8, "fixed": 0},
        _vary("kv", 0.3, 0.4, 0.5, 0.6, 0.8, 0.9), _keda_token_aware, _KEDA_FIXED,
    ),
    Policy(
        "keda-token-aware-fast", "The same triggers with the default speed of an HPA.",
        f"{_LLMD}/keda-epp-token-aware/optimized-baseline", {"prefill": 1.5, "kv": 0.8, "fixed": 0},
        _vary("kv", 0.3, 0.4, 0.5, 0.6, 0.8, 0.9), _keda_token_aware_fast, _KEDA_FIXED,
    ),
    Policy(
        "slo-law", "llm-d's law on the 90th percentiles of TTFT and inter-token latency in service levels.",
        f"{_LLMD}/README.slo-aware.md", {"up": 0.55, "down": 0.40, "tolerance": 0.1, "fixed": 0}, _SLO_BANDS,
        lambda facts, s: SloLaw(up=s["up"], down=s["down"], tolerance=s["tolerance"], fixed=bool(s["fixed"])),
        "holds while requests are in flight and no latency is known; the credit for starting replicas never shrinks",
    ),
    Policy(
        "wva-v1", "llm-d's workload variant autoscaler, spare KV memory and queue, one replica at a time.",
        f"{_WVA}/saturation/analyzer.go",
        {"window": 240, "tolerance": 0.1, "spare_kv": 0.1, "spare_queue": 3, "fixed": 0}, _V1_SPARE,
        _wva_v1, "holds while a replica lacks a figure, instead of reading it as 0", wakes_at_once=True,
    ),
    Policy(
        "wva-v2", "llm-d's workload variant autoscaler, demand and capacity in tokens, several replicas at once.",
        f"{_WVA}/engines/analyzers/saturation_v2/analyzer.go",
        {"window": 240, "tolerance": 0.1, "up": 0.85, "down": 0.70, "fixed": 0},
        _V2_BANDS, _wva_v2, "takes a replica's last figures for 60 s, then holds, instead of reading them as 0",
        wakes_at_once=True,
    ),
    Policy(
        "aibrix-apa", "AIBrix on the mean KV use per pod (0.5), at most doubled or halved.",
        f"{_AIBRIX}/algorithm/apa.go", {"kv": 0.5, "fixed": 0}, _vary("kv", 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        lambda facts, s: Apa(target=s["kv"], fixed=bool(s["fixed"])),
        "only ready pods in the mean, the guard for pending replicas, the down window takes its maximum, a gap holds",
    ),
    Policy(
        "aibrix-kpa", "AIBrix with stable and panic windows of the mean KV use, which it divides like a total.",
        f"{_AIBRIX}/algorithm/kpa.go", {"kv": 0.5}, _vary("kv", 0.05, 0.1, 0.2, 0.3, 0.5),
        lambda facts, s: Kpa(target=s["kv"]),
    ),
    Policy(
        "knative-kpa", "The same windows as Knative means them: running and waiting requests, 40 per replica.",
        f"{_AIBRIX}/algorithm/kpa.go, corrected; knative/serving pkg/autoscaler/scaling/autoscaler.go",
        {"requests": 40}, _vary("requests", 8, 16, 24, 32, 40, 56, 80),
        lambda facts, s: Kpa(target=s["requests"], fixed=True),
    ),
    Policy(
        "kubeai", "KubeAI on the ten-minute mean of active requests, 100 per replica.",
        "kubeai-project/kubeai internal/modelautoscaler/autoscaler.go", {"requests": 100, "window": 600},
        tuple({"requests": n, "window": w} for w in (600, 120) for n in (10, 20, 30, 40, 60, 100)),
        lambda facts, s: KubeAi(target=s["requests"], window_seconds=s["window"]), wakes_at_once=True,
    ),
)  # fmt: skip

POLICIES: Mapping[str, Policy] = {policy.name: policy for policy in _ALL}
