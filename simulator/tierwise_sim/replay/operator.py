"""Runs the operator's own decisions on simulated replicas: the Snapshot that it would see, and its plan.

Nothing is decided here. What a cluster and a Prometheus would say is put into the operator's values, `tierwise.decide`
makes of it what it makes of any other, and the plan is handed back: replicas with the order in which they end, and the
ladder that the routers act on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise import route_values
from tierwise.api.modelroute_status import LadderTier, ModelRouteStatus
from tierwise.api.modeltier_status import DecisionStatus, ModelTierStatus
from tierwise.decide import SpecChecks, decide_in_turns, plan_routes
from tierwise.decide.claims import share_out
from tierwise.decide.fleet import Budget, LimitedBy, PoolState
from tierwise.observe.signals import Samples, health, router_samples, tier_signals
from tierwise.routing.route import ClassifierFile, Clients, Route, RouteTier, Use
from tierwise.times import rfc3339
from tierwise.types import (
    DeploymentFacts,
    InferenceServiceFacts,
    Plan,
    PodFacts,
    RouteKey,
    RouteObject,
    RouterSignals,
    RouteView,
    Snapshot,
    TierKey,
    TierObject,
    TierPlan,
    TierState,
    TierView,
    Workload,
)
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.scaler import Order, World
from tierwise_sim.replay.scenario import NAMESPACE, Scenario, ServedTier

Decide = Callable[[Snapshot, Mapping[TierKey, TierState]], Plan]
_MANY = 1_000_000  # GPUs of a product that nobody has counted
_NO_GPU = "0/1 nodes are available: no GPU is free (simulated)"


@dataclass(slots=True)
class _Memory:
    """What is kept of one tier from decision to decision: the state, and the part of the status that is read back."""

    state: TierState
    status: ModelTierStatus


class OperatorScaler:
    """The operator as a scaler. `decide`: its decision, for tests that show that it is asked."""

    def __init__(self, scenario: Scenario, decide: Decide | None = None) -> None:
        self._scenario = scenario
        self._checks = SpecChecks()
        self._decide = decide or self._by_operator
        self._memory = {
            name: _Memory(TierState(recommended=tier.initial), ModelTierStatus())
            for name, tier in scenario.served.items()
        }
        self._ladder: tuple[LadderTier, ...] = ()
        self._route: Route | None = None
        self._seen: tuple[float, Snapshot] | None = None
        self.failures: list[str] = []
        """Tracebacks of defects that a tier has met: it kept what it had."""

    @property
    def period_seconds(self) -> float:
        """The operator's tick."""
        return self._scenario.timing.decide

    @property
    def instant(self) -> bool:
        """Its replicas take their time."""
        return False

    @property
    def wakes_at_once(self) -> bool:
        """It looks at the routers with its next decision."""
        return False

    def route(self, world: World, now: float) -> Route:
        """The route over the tiers as they are now, as the operator resolves it for the routers."""
        return self._resolved(self._snapshot(world, now))

    def orders(self, world: World, now: float) -> Sequence[Order]:
        """What the operator writes now."""
        snapshot = self._snapshot(world, now)
        plan = self._decide(snapshot, {TierKey(NAMESPACE, name): each.state for name, each in self._memory.items()})
        plan = self._shared(snapshot, plan)
        found = (self._order(each, snapshot.at) for each in plan.tiers if each.key.name in self._memory)
        return [order for order in found if order is not None]

    def _by_operator(self, snapshot: Snapshot, states: Mapping[TierKey, TierState]) -> Plan:
        turns = decide_in_turns(snapshot, states, checks=self._checks)
        while True:
            try:
                next(turns)
            except StopIteration as end:
                plan: Plan = end.value
                return plan

    def _shared(self, snapshot: Snapshot, plan: Plan) -> Plan:
        """The plan under the GPUs that all tiers share."""
        scenario, limits = self._scenario, self._scenario.budget
        if not limits:
            return plan
        pool_of = {TierKey(NAMESPACE, name): tier.gpu for name, tier in scenario.served.items()}
        shared, _ = share_out(
            snapshot,
            plan,
            [PoolState(gpu, limits.get(gpu, _MANY)) for gpu in sorted(set(pool_of.values()))],
            pool_of=pool_of,
            budget=Budget(gpus=limits.get("")),
            priorities={TierKey(NAMESPACE, name): weight for name, weight in scenario.priorities.items()},
        )
        return shared

    # --- what is decided --------------------------------------------------------------------------------------------

    def _order(self, plan: TierPlan, at: float) -> Order | None:
        memory, decision = self._memory[plan.key.name], plan.decision
        memory.state = plan.state
        if plan.failure:
            self.failures.append(plan.failure)
        if decision is None:
            return None
        memory.status = memory.status.model_copy(update={"limited_by": decision.limited_by})
        written = plan.workloads[0] if plan.workloads else None
        target = decision.current if written is None else written.scale_to
        if target != decision.current:
            change = DecisionStatus.model_validate(
                {"time": rfc3339(at), "from": decision.current, "to": target, "reason": decision.reason}
            )
            scaling = memory.status.scaling.model_copy(update={"decisions": [change]})
            memory.status = memory.status.model_copy(update={"scaling": scaling})
            memory.state = replace(memory.state, scaled_at=at, slept=target == 0)
        return Order(
            tier=plan.key.name,
            replicas=target,
            limited_by=decision.limited_by,
            at_budget=decision.limited_by in (LimitedBy.BUDGET, LimitedBy.POOL),
            costs={} if written is None else dict(written.deletion_costs),
        )

    def _resolved(self, snapshot: Snapshot) -> Route:
        (plan,) = plan_routes(snapshot)
        if plan.failure:
            self.failures.append(plan.failure)
        if self._route is None or plan.ladder != self._ladder:
            self._ladder = plan.ladder
            self._route = to_route(self._scenario, plan.ladder)
        return self._route

    # --- what is seen -----------------------------------------------------------------------------------------------

    def _snapshot(self, world: World, now: float) -> Snapshot:
        """The world at this moment: one for the tiers and the routes, as in the operator's cycle."""
        if self._seen is None or self._seen[0] != now:
            self._seen = now, self._look(world, world.prometheus.samples(now), world.epoch + now)
        return self._seen[1]

    def _look(self, world: World, samples: Samples, at: float) -> Snapshot:
        names = {router.name: True for router in world.routers}
        views = tuple(
            self._view(tier.name, world, samples, names, at) for tier in sorted(world.scenario.tiers, key=_name)
        )
        route = RouteObject(
            key=RouteKey(NAMESPACE, world.scenario.route_name),
            uid="route",
            generation=1,
            resource_version="1",
            created_at=world.epoch,
            spec=world.scenario.route,
            status=ModelRouteStatus(ladder=list(self._ladder)),
        )
        return Snapshot(at, views, health(samples, at), routes=(RouteView(route),))

    def _view(self, name: str, world: World, samples: Samples, routers: Mapping[str, bool], at: float) -> TierView:
        tier = next(each for each in world.scenario.tiers if each.name == name)
        status = self._memory[name].status if name in self._memory else ModelTierStatus()
        seen = TierObject(TierKey(NAMESPACE, name), f"uid-{name}", 1, "1", tier.spec, status)
        if not isinstance(tier, ServedTier):
            return TierView(seen, (Workload(name),))
        fleet = world.fleets[name]
        workload = _workload(fleet, world.epoch)
        pods = [pod.name for pod in workload.pods]
        return TierView(
            seen,
            (workload,),
            tier_signals(samples, NAMESPACE, name, pods, workload.ready_endpoints, at, tier.spec.scaling.targets),
            routers=RouterSignals(
                routes=(world.scenario.route_name,),
                routers=router_samples(samples, NAMESPACE, name, routers, at),
            ),
        )


def _name(tier: object) -> str:
    return str(getattr(tier, "name", ""))


def _workload(fleet: TierFleet, epoch: float) -> Workload:
    name = fleet.tier.name
    replicas = fleet.replicas
    return Workload(
        name=name,
        inference_service=InferenceServiceFacts(name, f"isvc-{name}", "1", {}, owned=True),
        deployment=DeploymentFacts(
            name=f"{name}-predictor",
            uid=f"deployment-{name}",
            resource_version="1",
            generation=1,
            observed_generation=1,
            spec_replicas=fleet.desired,
            replicas=len(replicas),
            ready_replicas=fleet.count(Phase.READY),
            updated_replicas=len(replicas),
            autoscaler_class="external",
            created_at=epoch,
        ),
        pods=tuple(_pod(one, epoch) for one in sorted(replicas, key=lambda one: one.name)),
        ready_endpoints=frozenset(one.name for one in replicas if one.phase is Phase.READY),
    )


def _pod(replica: SimReplica, epoch: float) -> PodFacts:
    pending = replica.phase is Phase.PENDING
    ready = replica.phase is Phase.READY
    return PodFacts(
        name=replica.name,
        uid=replica.name,
        phase="Pending" if pending else "Running",
        ready=ready,
        terminating=replica.phase is Phase.DRAINING,
        scheduled=not pending,
        created_at=epoch + replica.created_at,
        ready_at=epoch + replica.ready_at if ready and replica.ready_at is not None else None,
        unschedulable_message=_NO_GPU if pending else "",
        node_lost=replica.phase is Phase.LOST,
    )


def to_route(scenario: Scenario, ladder: Iterable[LadderTier]) -> Route:
    """The route that routers act on. Raises Invalid where its parts do not fit together."""
    spec = scenario.route
    tiers: list[RouteTier] = []
    uses = {ref.name: Use(ref.use) for ref in spec.tiers}
    for tier in ladder:
        tiers.append(route_values.ladder_tier(tier, uses[tier.name], "simulated" if tier.provider else None))
    given = spec.policy.classifier
    classifier = None if given is None else ClassifierFile("simulated", given.quality_percent)
    return route_values.to_route(
        scenario.route_name, spec, tiers, Clients(), routers=spec.replicas, classifier=classifier
    )
