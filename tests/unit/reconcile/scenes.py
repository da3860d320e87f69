"""A cluster with a few tiers, seen by an informer that may be told to stay behind. The operator's own cycle runs
against it, over the API server in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.unit.act.store import Store
from tests.unit.act.worlds import MODEL, NAMESPACE, deployment_ref, kserve
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.observe import Samples, World
from tierwise.observe.records import deployment_record, inference_service_record
from tierwise.observe.tier_object import tier_object
from tierwise.ports import ObjectRef
from tierwise.reconcile import CycleResult, OperatorState, run
from tierwise.types import ALONE, Installations


class Clock:
    def __init__(self) -> None:
        self.at = 1_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - 900_000.0


def tier_ref(name: str = "chat") -> ObjectRef:
    return ObjectRef("tierwise.io/v1alpha1", "modeltiers", NAMESPACE, name)


@dataclass
class Scene:
    """A cluster with tiers, seen by an informer that may be told to stay behind."""

    store: Store = field(default_factory=Store)
    clock: Clock = field(default_factory=Clock)
    kept: OperatorState = field(default_factory=OperatorState)
    behind: World | None = None
    installations: Installations = ALONE

    def add(self, name: str = "chat", **spec: Any) -> None:
        body = {"metadata": {"generation": 1}, "spec": {**MODEL, **spec}}
        self.store.put(tier_ref(name), body)

    def pin(self, replicas: int, name: str = "chat") -> None:
        body = self.store.seen(tier_ref(name))
        self.store.put(tier_ref(name), {**body, "spec": {**body["spec"], "replicas": replicas}})

    def world(self) -> World:
        found: dict[str, list[Any]] = {"modeltiers": [], "inferenceservices": [], "deployments": []}
        for ref, body in self.store._objects.items():
            if ref.plural in found:
                found[ref.plural].append({**body, "apiVersion": ref.api_version})
        for each in found["deployments"]:
            each["metadata"]["ownerReferences"] = [
                {**owner, "kind": "InferenceService", "name": each["metadata"]["name"].removesuffix("-predictor")}
                for owner in each["metadata"]["ownerReferences"]
            ]
        return World(
            tiers=[tier_object(each) for each in found["modeltiers"]],
            deployments=[deployment_record(each) for each in found["deployments"]],
            inference_services=[inference_service_record(each) for each in found["inferenceservices"]],
            installations=self.installations,
        )

    async def cycle(self, *, writing: bool = True, pass_: float = 10.0) -> CycleResult:
        self.clock.at += pass_
        world = self.behind if self.behind is not None else self.world()
        done = await run(world, Samples(), self.store, self.clock, self.kept, writing=writing)
        for ref in list(self.store._objects):
            if ref.plural == "inferenceservices":
                kserve(self.store, ref.name)
        return done

    async def settle(self) -> None:
        for _ in range(6):
            await self.cycle(pass_=20.0)
        self.store.writes.clear()

    def status(self, name: str = "chat") -> ModelTierStatus:
        return ModelTierStatus.model_validate(self.store.seen(tier_ref(name)).get("status") or {})

    def changes(self, name: str = "chat") -> list[tuple[int, int]]:
        """The changes of replicas that the status tells, newest first."""
        return [(each.from_replicas, each.to_replicas) for each in self.status(name).scaling.decisions]

    def replicas(self, name: str = "chat") -> int:
        return int(self.store.seen(deployment_ref(name))["spec"]["replicas"])

    @property
    def told(self) -> list[str]:
        """The reasons of all Events."""
        return [event.reason for event in self.store.events]

    def hand_scale(self, replicas: int, name: str = "chat") -> None:
        """Somebody writes the replicas of the Deployment."""
        body = self.store.seen(deployment_ref(name))
        self.store.put(deployment_ref(name), {**body, "spec": {**body["spec"], "replicas": replicas}})
