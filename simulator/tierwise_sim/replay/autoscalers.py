"""Makes the autoscaler of a name: ours, or one of others with its settings."""

from __future__ import annotations

from functools import partial

from tierwise.errors import Invalid
from tierwise_sim.policies.budget_registry import budget_rule
from tierwise_sim.policies.registry import POLICIES, parse
from tierwise_sim.replay.rivals import PolicyScaler
from tierwise_sim.replay.scaler import Scaler
from tierwise_sim.replay.scenario import Scenario

OURS = "tierwise"


def make(name: str, scenario: Scenario, rule: str = "") -> Scaler | None:
    """The autoscaler of a name such as `keda-epp:running=16`, for one run; None: the simulation's own operator. `rule`:
    what divides the GPUs of a budget among tiers that know nothing of each other. Raises Invalid with what there is."""
    if name.partition(":")[0] == OURS:
        if name != OURS or rule:
            raise Invalid(
                f"--autoscaler {OURS} takes its settings from the manifests, and has its own rule for a budget"
            )
        return None
    if name.partition(":")[0] not in POLICIES:
        raise Invalid(f"--autoscaler {name!r} is not known; there are {OURS}, {', '.join(POLICIES)}")
    return PolicyScaler(scenario, parse(name), partial(budget_rule, rule) if rule else None)
