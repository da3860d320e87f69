"""Names the shared-budget rules, makes them, and says where each comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tierwise.errors import Invalid
from tierwise_sim.policies.budget import BudgetRule
from tierwise_sim.policies.budget_rules import Coordinator, first_come, greedy, rescale, unlimited
from tierwise_sim.policies.kueue import KueueFloors


@dataclass(frozen=True, slots=True)
class NamedRule:
    """One budget rule; `new` makes it for one run."""

    name: str
    summary: str
    source: str
    new: Callable[[], BudgetRule]


_ALL = (
    NamedRule("unlimited", "No budget: every wish is granted.", "-", lambda: unlimited),
    NamedRule(
        "first-come", "An ask that does not fit is rejected as a whole.",
        "ai-dynamo/dynamo components/src/dynamo/planner/core/budget.py, GlobalPlanner --max-total-gpus",
        lambda: first_come,
    ),
    NamedRule(
        "wva-greedy", "The most saturated tier first, then the cheapest; as much as fits.",
        "llm-d/llm-d-workload-variant-autoscaler internal/engines/pipeline", lambda: greedy,
    ),
    NamedRule(
        "wva-rescale", "Under contention floors, and the rest by priority times demand.",
        "llm-d/llm-d-workload-variant-autoscaler pull requests 1452 and 1489", lambda: rescale,
    ),
    NamedRule(
        "coordinator", "Ceilings by each tier's share of what waits; they fall after four ticks.",
        "llm-d coordinator (proof of concept)", Coordinator,
    ),
    NamedRule(
        "kueue-floors", "A floor per tier; free GPUs are lent, and taken back by preemption.",
        "llm-d/llm-d guides/workload-autoscaling/kueue-rebalancing; Kueue 0.19", KueueFloors,
    ),
)  # fmt: skip

BUDGET_RULES: Mapping[str, NamedRule] = {rule.name: rule for rule in _ALL}


def budget_rule(name: str) -> BudgetRule:
    """A fresh rule of this name. Raises Invalid with the names there are."""
    rule = BUDGET_RULES.get(name)
    if rule is None:
        raise Invalid(f"budget rule {name!r}: not known; choose one of {', '.join(BUDGET_RULES)}")
    return rule.new()
