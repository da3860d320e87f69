"""Holds the values that pass between rooms: snapshot, state, plan, outcome, and what GPUs and models are capable of.

All are frozen, and none knows how it was read or what becomes of it.
"""

from __future__ import annotations

from tierwise.types.capabilities import GPU, UNKNOWN, Facts, ModelShape
from tierwise.types.outcome import ActionError, Outcome, PendingScale, TierOutcome, WorkloadOutcome
from tierwise.types.plan import Advice, Decision, NamedSignal, Plan, Rollout, Step, TierPlan, WorkloadPlan
from tierwise.types.pool import NO_POOLS, PoolObject, PoolPrice, Pools, PoolUse, PoolView
from tierwise.types.route import (
    ChildEvent,
    RouteChild,
    RouteKey,
    RouteObject,
    RouteOutcome,
    RoutePlan,
    RouterPod,
    RouteView,
)
from tierwise.types.route_content import ClassifierReport, ClassifierStanding
from tierwise.types.route_signals import RouteSignals, WalletReport
from tierwise.types.route_verdicts import COUNTS, VerdictCounts
from tierwise.types.route_work import Answered, PairSums, RouteWork, Tokens
from tierwise.types.snapshot import (
    MISSING,
    NO_ROUTERS,
    UNKNOWN_ROUTERS,
    DeploymentFacts,
    InferenceServiceFacts,
    MetricsHealth,
    PodFacts,
    PodSample,
    RouterSample,
    RouterSignals,
    SampleTimes,
    Signal,
    Snapshot,
    State,
    TierKey,
    TierObject,
    TierSignals,
    TierView,
    Workload,
    WorkloadKey,
)
from tierwise.types.state import Flow, Peak, PoolClamp, PoolRate, TierState

__all__ = [
    "COUNTS",
    "GPU",
    "MISSING",
    "NO_POOLS",
    "NO_ROUTERS",
    "UNKNOWN",
    "UNKNOWN_ROUTERS",
    "ActionError",
    "Advice",
    "Answered",
    "ChildEvent",
    "ClassifierReport",
    "ClassifierStanding",
    "Decision",
    "DeploymentFacts",
    "Facts",
    "Flow",
    "InferenceServiceFacts",
    "MetricsHealth",
    "ModelShape",
    "NamedSignal",
    "Outcome",
    "PairSums",
    "Peak",
    "PendingScale",
    "Plan",
    "PodFacts",
    "PodSample",
    "PoolClamp",
    "PoolObject",
    "PoolPrice",
    "PoolRate",
    "PoolUse",
    "PoolView",
    "Pools",
    "Rollout",
    "RouteChild",
    "RouteKey",
    "RouteObject",
    "RouteOutcome",
    "RoutePlan",
    "RouteSignals",
    "RouteView",
    "RouteWork",
    "RouterPod",
    "RouterSample",
    "RouterSignals",
    "SampleTimes",
    "Signal",
    "Snapshot",
    "State",
    "Step",
    "TierKey",
    "TierObject",
    "TierOutcome",
    "TierPlan",
    "TierSignals",
    "TierState",
    "TierView",
    "Tokens",
    "VerdictCounts",
    "WalletReport",
    "Workload",
    "WorkloadKey",
    "WorkloadOutcome",
    "WorkloadPlan",
]
