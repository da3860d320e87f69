"""Holds everything that the report on one tier reads.

One tier's view, plan and outcome side by side, and what all tiers share (Prometheus' health, whether KServe is there,
the time), so that every derivation is a function of one argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.pod_diagnosis import PodIssue, diagnose
from tierwise.types import NO_POOLS, Decision, MetricsHealth, Pools, TierOutcome, TierPlan, TierView, Workload


@dataclass(frozen=True, slots=True)
class ReportContext:
    """One tier at one moment. `at` is in seconds since the epoch."""

    view: TierView
    plan: TierPlan
    outcome: TierOutcome
    metrics: MetricsHealth
    kserve_present: bool
    at: float
    pools: Pools = NO_POOLS

    @property
    def spec(self) -> ModelTierSpec | None:
        """The spec, or None when it does not parse."""
        return self.view.tier.spec

    @property
    def serving(self) -> ModelTierSpec | None:
        """The spec that the replicas are made from: the present one, or the last good one."""
        return self.plan.rollout.spec if self.plan.rollout is not None else self.spec

    def diagnosed(self, workload: Workload) -> PodIssue | None:
        """What is wrong with the pods of one of the workloads."""
        spec = self.spec_of(workload) or self.spec
        return None if spec is None else diagnose(workload, spec, self.at)

    def spec_of(self, workload: Workload) -> ModelTierSpec | None:
        """What the replicas of one of the workloads are made from; None where that is not known."""
        rollout = self.plan.rollout_of(workload)
        return rollout.spec if rollout is not None else self.view.spec_of(workload)

    @property
    def old(self) -> ModelTierStatus:
        """The status as it was decided about: with our own last write, and with changes that it does not tell yet."""
        return self.view.tier.status

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Everything that runs for the tier."""
        return self.view.workloads

    @property
    def decision(self) -> Decision | None:
        """The decision, if one could be made."""
        return self.plan.decision

    @property
    def rejected(self) -> tuple[str, str] | None:
        """Reason and message when the spec is not accepted."""
        return self.plan.invalid

    @property
    def external(self) -> bool:
        """Whether the tier is served by somebody else."""
        return self.spec is not None and self.spec.external is not None

    @property
    def ready(self) -> int:
        """Replicas that the Service sends requests to."""
        return len(self.view.ready_endpoints)

    @property
    def desired(self) -> int:
        """Replicas decided; for a spec that is not accepted, those that were decided last."""
        return self.decision.target if self.decision is not None else self.old.desired_replicas
