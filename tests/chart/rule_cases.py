"""Lists the series under which each alert fires or is silent, and what each recording rule makes of given ones.

The values are promtool's: `0+6x60` begins at 0 and grows by 6 every minute, 60 times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """An alert, the time at which it is looked at, and the series until then."""

    alert: str
    at: str
    series: Mapping[str, str]


TIER = 'tier_namespace="chat", tier="small"'
ENGINE = 'namespace="chat", tierwise_io_tier="small", pod="small-1"'
ROUTE = 'namespace="chat", tierwise_io_route="auto"'
PODS = ('pod="auto-router-1"', 'pod="auto-router-2"')


def _condition(kind: str) -> str:
    return f'tierwise_tier_condition{{{TIER}, type="{kind}", status="false"}}'


def _router(name: str, labels: str = "", pod: str = PODS[0]) -> str:
    return f"tierwise_router_{name}{{{ROUTE}, {pod}{', ' if labels else ''}{labels}}}"


def _requests(outcome: str, code: int, pod: str = PODS[0]) -> str:
    return _router("requests_total", f'tier="small", outcome="{outcome}", code="{code}"', pod)


def _choice(reason: str) -> str:
    return _router("choices_total", f'tier="small", reason="{reason}"')


def _refused(reason: str) -> str:
    return _router("refused_total", f'tier="hosted", reason="{reason}"')


def _of_route(name: str, labels: str = "") -> str:
    return f'tierwise_route_{name}{{route_namespace="chat", route="auto"{labels}}}'


NOT_READY, NOT_ACCEPTED, NOT_PROVISIONED = (
    _of_route("condition", f', type="{kind}", status="false"') for kind in ("Ready", "Accepted", "Provisioned")
)
DESIRED = f"tierwise_tier_desired_replicas{{{TIER}}}"
MAXIMUM = f'tierwise_decisions_total{{{TIER}, reason="MaxReplicas"}}'
AGE = 'tierwise_cycle_age_seconds{namespace="tierwise-system", pod="tierwise-0"}'
WAITING = f"vllm:num_requests_waiting{{{ENGINE}}}"
TOKENS = f"vllm:generation_tokens_total{{{ENGINE}}}"
COST = f"tierwise_tier_cost_usd_per_hour{{{TIER}}}"
UP, DOWN = (f'tierwise_scalings_total{{{TIER}, direction="{way}"}}' for way in ("up", "down"))
TARGETS = tuple(f"up{{{ROUTE}, {pod}}}" for pod in PODS)
OK, FAILED, CUT = _requests("ok", 200), _requests("refused", 503), _requests("broken", 200)
CLIENTS_OWN, BUSY, FAULT = _requests("client_error", 400), _requests("refused", 429), _requests("internal_error", 500)
READY = tuple(_router("replicas", 'tier="small", state="ready"', pod) for pod in PODS)
QUEUED = {name: _router("waiting", f'tier="small", priority="{name}"') for name in ("interactive", "batch")}
WANTED = _router("wanted_total", 'tier="small"')
BUDGET, SPENT = _of_route("budget_usd"), _of_route("spent_usd")
ESTIMATED = _router("usage_estimated_total", 'tier="small"')
DROPPED = _router("log_lines_dropped_total")

FIRES: dict[str, Case] = {
    "a loop that stands still": Case("TierwiseStalled", "5m", {AGE: "0+60x60"}),
    "a tier that is not ready": Case("TierwiseTierNotReady", "20m", {_condition("Ready"): "1x60", DESIRED: "2x60"}),
    "a spec that is refused": Case("TierwiseTierRefused", "6m", {_condition("Accepted"): "1x60"}),
    "a tier that is not measured": Case("TierwiseMetricsUnavailable", "15m", {_condition("MetricsAvailable"): "1x60"}),
    "a tier that wants more than its maximum": Case("TierwiseTierAtMaximum", "40m", {MAXIMUM: "0+6x60"}),
    "a queue at the maximum": Case("TierwiseTierAtLimitWithQueue", "20m", {MAXIMUM: "0+6x60", WAITING: "3x60"}),
    "a queue in a router at the maximum": Case(
        "TierwiseTierAtLimitWithQueue", "20m", {MAXIMUM: "0+6x60", WAITING: "0x60", QUEUED["interactive"]: "3x60"}
    ),
    "a tier that goes up and down": Case(
        "TierwiseTierThrashing", "65m", {UP: "0+1x10 10x60", DOWN: "0+0x10 1+1x10 11x60"}
    ),
    "replicas that nobody uses": Case("TierwiseTierIdleCostly", "5h", {COST: "2.4x360", TOKENS: "900x360"}),
    "a route without routers": Case("TierwiseRouteNotReady", "6m", {NOT_READY: "1x60"}),
    "a route over a tier that is not there": Case("TierwiseRouteNotAccepted", "6m", {NOT_ACCEPTED: "1x60"}),
    "a route whose new routers do not start": Case("TierwiseRouteNotProvisioned", "20m", {NOT_PROVISIONED: "1x60"}),
    "a router that does not start": Case(
        "TierwiseRouteRoutersMissing", "20m", {_of_route("ready_routers"): "1x60", _of_route("routers"): "2x60"}
    ),
    "no router that answers": Case("TierwiseRouterDown", "3m", {TARGETS[0]: "0x60", TARGETS[1]: "0x60"}),
    "a tenth of the requests failing": Case(
        "TierwiseRouteErrorBudgetBurnFast", "20m", {OK: "0+90x400", FAILED: "0+10x400"}
    ),
    "answers that are cut": Case("TierwiseRouteErrorBudgetBurnFast", "20m", {OK: "0+90x400", CUT: "0+10x400"}),
    "one request of twenty failing for hours": Case(
        "TierwiseRouteErrorBudgetBurnSlow", "5h", {OK: "0+95x400", FAILED: "0+5x400"}
    ),
    "a fault of the router": Case("TierwiseRouterInternalError", "12m", {FAULT: "0x8 1x60"}),
    "a tier without replicas that is asked for": Case(
        "TierwiseRouteTierUnreachable", "25m", {READY[0]: "0x60", READY[1]: "0x60", WANTED: "0+2x60"}
    ),
    "a fifth falling back": Case(
        "TierwiseRouteFallbackHigh", "20m", {_choice("Default"): "0+80x60", _choice("Fallback"): "0+20x60"}
    ),
    "a tenth refused": Case("TierwiseRouteRefusing", "20m", {OK: "0+90x60", BUSY: "0+10x60"}),
    "a cap that is reached": Case("TierwiseRouteSpillCapReached", "20m", {_refused("spill_cap"): "0x15 3x60"}),
    "a budget of which 85 % are gone": Case(
        "TierwiseRouteBudgetNearlySpent", "10m", {BUDGET: "100x60", SPENT: "85x60"}
    ),
    "a budget that is spent": Case("TierwiseRouteBudgetSpent", "21m", {_refused("budget"): "0x14 1x60"}),
    "answers without usage": Case("TierwiseRouteUsageEstimated", "95m", {OK: "0+10x120", ESTIMATED: "0+1x120"}),
    "a log that nobody reads": Case("TierwiseRouterLogDropped", "40m", {DROPPED: "0+5x60"}),
}
SILENT: dict[str, Case] = {
    "a loop that turns": Case("TierwiseStalled", "20m", {AGE: "3x60"}),
    "a tier at zero by intent": Case("TierwiseTierNotReady", "40m", {_condition("Ready"): "1x60", DESIRED: "0x60"}),
    "a tier that has just started": Case("TierwiseTierNotReady", "10m", {_condition("Ready"): "1x60", DESIRED: "2x60"}),
    "a spec that was corrected": Case("TierwiseTierRefused", "20m", {_condition("Accepted"): "1x3 0x60"}),
    "a tier that is measured": Case("TierwiseMetricsUnavailable", "30m", {_condition("MetricsAvailable"): "0x60"}),
    "a tier that once touched its maximum": Case("TierwiseTierAtMaximum", "59m", {MAXIMUM: "0+6x10 60x50"}),
    "a maximum without a queue": Case("TierwiseTierAtLimitWithQueue", "40m", {MAXIMUM: "0+6x60", WAITING: "0x60"}),
    "a queue in which nobody is kept waiting": Case(
        "TierwiseTierAtLimitWithQueue", "40m", {MAXIMUM: "0+6x60", QUEUED["batch"]: "3x60"}
    ),
    "a queue below the maximum": Case("TierwiseTierAtLimitWithQueue", "40m", {MAXIMUM: "9x60", WAITING: "3x60"}),
    "a queue of another tier": Case(
        "TierwiseTierAtLimitWithQueue", "40m", {MAXIMUM: "0+6x60", WAITING.replace("small", "large"): "3x60"}
    ),
    "a tier that only grows": Case("TierwiseTierThrashing", "65m", {UP: "0+1x10 10x60", DOWN: "0x80"}),
    "replicas that are used": Case("TierwiseTierIdleCostly", "5h", {COST: "2.4x360", TOKENS: "900+1x360"}),
    "an idle tier without replicas": Case("TierwiseTierIdleCostly", "5h", {COST: "0x360", TOKENS: "900x360"}),
    "a route that is ready": Case("TierwiseRouteNotReady", "20m", {NOT_READY: "0x60"}),
    "a route whose tier has come": Case("TierwiseRouteNotAccepted", "20m", {NOT_ACCEPTED: "1x3 0x60"}),
    "a route that is rolled out": Case("TierwiseRouteNotProvisioned", "10m", {NOT_PROVISIONED: "1x60"}),
    "a rollout of routers": Case(
        "TierwiseRouteRoutersMissing", "30m", {_of_route("ready_routers"): "1x10 2x60", _of_route("routers"): "2x60"}
    ),
    "one router of two": Case("TierwiseRouterDown", "20m", {TARGETS[0]: "0x60", TARGETS[1]: "1x60"}),
    "an engine that is down": Case("TierwiseRouterDown", "20m", {f"up{{{ENGINE}}}": "0x60"}),
    "requests that clients spoil": Case(
        "TierwiseRouteErrorBudgetBurnFast", "60m", {OK: "0+90x400", CLIENTS_OWN: "0+90x400"}
    ),
    "one failure of a few requests": Case(
        "TierwiseRouteErrorBudgetBurnFast", "20m", {OK: "0x12 1x400", FAILED: "0x12 1x400"}
    ),
    "a fault that is over": Case(
        "TierwiseRouteErrorBudgetBurnFast", "45m", {OK: "0+90x400", FAILED: "0+20x20 400x400"}
    ),
    "one request of a hundred failing": Case(
        "TierwiseRouteErrorBudgetBurnSlow", "6h", {OK: "0+99x400", FAILED: "0+1x400"}
    ),
    "refusals for want of room": Case("TierwiseRouteErrorBudgetBurnSlow", "6h", {OK: "0+9x400", BUSY: "0+9x400"}),
    "a router without faults": Case("TierwiseRouterInternalError", "40m", {FAULT: "3x60", OK: "0+9x60"}),
    "a tier without replicas that nobody wants": Case(
        "TierwiseRouteTierUnreachable", "40m", {READY[0]: "0x60", WANTED: "7x60"}
    ),
    "a replica that one router has": Case(
        "TierwiseRouteTierUnreachable", "40m", {READY[0]: "0x60", READY[1]: "1x60", WANTED: "0+2x60"}
    ),
    "one in twenty falling back": Case(
        "TierwiseRouteFallbackHigh", "40m", {_choice("Default"): "0+95x60", _choice("Fallback"): "0+5x60"}
    ),
    "spilling as intended": Case(
        "TierwiseRouteFallbackHigh", "40m", {_choice("Default"): "0+50x60", _choice("Spill"): "0+50x60"}
    ),
    "one refusal in a hundred": Case("TierwiseRouteRefusing", "40m", {OK: "0+99x60", BUSY: "0+1x60"}),
    "a full queue": Case("TierwiseRouteSpillCapReached", "40m", {_refused("queue_full"): "0+3x60"}),
    "half a budget": Case("TierwiseRouteBudgetNearlySpent", "40m", {BUDGET: "100x60", SPENT: "50x60"}),
    "a cap, not a budget": Case("TierwiseRouteBudgetSpent", "40m", {_refused("spill_cap"): "0+3x60"}),
    "one answer in a hundred without usage": Case(
        "TierwiseRouteUsageEstimated", "119m", {OK: "0+100x120", ESTIMATED: "0+1x120"}
    ),
    "lines that were lost long ago": Case("TierwiseRouterLogDropped", "59m", {DROPPED: "7x60"}),
}

_TIER_OF_ROUTE = '{namespace="chat", tierwise_io_route="auto", tier="small"}'
_ROUTE = f"{{{ROUTE}}}"
_FOUR_FIFTHS = {OK: "0+60x400", _requests("ok", 200, PODS[1]): "0+60x400", FAILED: "0+20x400", CUT: "0+10x400"}
_ERRORS = {_ROUTE: 0.2}
_FIRST_TOKENS = {
    _router("first_token_seconds_bucket", f'tier="small", le="{bound}"'): f"0+{count}x60"
    for bound, count in (("0.5", 0), ("1.0", 100), ("+Inf", 100))
}
_COST, _TOKENS = _router("cost_usd_total", 'tier="small"'), _router("tokens_total", 'tier="small", kind="output"')

RECORDED: tuple[tuple[str, str, Mapping[str, str], Mapping[str, float]], ...] = (
    (
        "tierwise:route_requests:rate5m",
        "30m",
        {OK: "0+60x60", _requests("ok", 200, PODS[1]): "0+120x60"},
        {'{namespace="chat", tierwise_io_route="auto", tier="small", outcome="ok"}': 3},
    ),
    ("tierwise:route_errors:ratio_rate5m", "30m", _FOUR_FIFTHS, _ERRORS),
    ("tierwise:route_errors:ratio_rate30m", "40m", _FOUR_FIFTHS, _ERRORS),
    ("tierwise:route_errors:ratio_rate1h", "90m", _FOUR_FIFTHS, _ERRORS),
    ("tierwise:route_errors:ratio_rate6h", "390m", _FOUR_FIFTHS, _ERRORS),
    (
        "tierwise:route_refused:ratio_rate5m",
        "30m",
        {OK: "0+30x60", BUSY: "0+10x60", CLIENTS_OWN: "0+90x60"},
        {_ROUTE: 0.25},
    ),
    (
        "tierwise:route_tier_share:ratio_rate5m",
        "30m",
        {OK: "0+30x60", OK.replace("small", "large"): "0+10x60"},
        {_TIER_OF_ROUTE: 0.75, _TIER_OF_ROUTE.replace("small", "large"): 0.25},
    ),
    (
        "tierwise:route_choices:ratio_rate5m",
        "30m",
        {_choice("Default"): "0+30x60", _choice("Spill"): "0+10x60"},
        {f'{{{ROUTE}, reason="{reason}"}}': share for reason, share in (("Default", 0.75), ("Spill", 0.25))},
    ),
    ("tierwise:route_ttft_seconds:p95_5m", "30m", _FIRST_TOKENS, {_TIER_OF_ROUTE: 0.975}),
    (
        "tierwise:tier_ttft_seconds:p95_5m",
        "30m",
        {
            f'vllm:time_to_first_token_seconds_bucket{{{ENGINE}, le="{bound}"}}': f"0+{count}x60"
            for bound, count in (("0.5", 0), ("1.0", 100), ("+Inf", 100))
        },
        {'{namespace="chat", tierwise_io_tier="small"}': 0.975},
    ),
    ("tierwise:tier_cost_usd:sum_rate1h", "90m", {_COST: "0+0.0625x120"}, {_TIER_OF_ROUTE: 3.75}),
    (
        "tierwise:tier_usd_per_mtok:1h",
        "90m",
        {_COST: "0+0.0625x120", _TOKENS: "0+125000x120"},
        {_TIER_OF_ROUTE: 0.5},
    ),
    (
        "tierwise:route_budget_used:ratio",
        "10m",
        {BUDGET: "100x60", SPENT: "15x60"},
        {'{route_namespace="chat", route="auto"}': 0.15},
    ),
)
