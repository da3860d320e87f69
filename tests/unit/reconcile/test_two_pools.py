"""A tier in several pools, cycle after cycle: an InferenceService for each, growth, and a move from one to another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.unit.act.worlds import NAMESPACE, deployment_ref, service_ref
from tests.unit.reconcile.pool_scenes import PoolScene, node
from tests.unit.reconcile.scenes import tier_ref
from tierwise import reasons
from tierwise.act.former_bindings import NOBODY
from tierwise.observe import World
from tierwise.observe.records import EndpointSliceRecord, PodRecord
from tierwise.reconcile import CycleResult, OperatorState
from tierwise.types import PodFacts


def scene() -> PoolScene:
    """Two pools of two GPUs; those of `l4` are the cheaper."""
    made = PoolScene()
    made.nodes = [node("node-0", 2, gpu="l40s"), node("node-1", 2, gpu="l4")]
    made.pool("l40s", nodeSelector={"gpu": "l40s"}, pricePerGPUHour="2")
    made.pool("l4", nodeSelector={"gpu": "l4"}, pricePerGPUHour="1")
    return made


def tier(made: PoolScene, replicas: int, *pools: str, name: str = "chat") -> None:
    made.add(name, replicas=replicas, pools=[{"name": pool} for pool in pools], scaling={"maxReplicas": 50})


async def test_a_tier_grows_in_the_cheaper_pool_and_then_in_the_dearer() -> None:
    made = scene()
    tier(made, 1, "l40s", "l4")
    await made.settle()
    selectors = [
        made.store.seen(service_ref(name))["spec"]["predictor"]["nodeSelector"] for name in ("chat", "chat-l4")
    ]
    assert selectors == [{"gpu": "l40s"}, {"gpu": "l4"}]
    assert made.all_replicas("chat", "chat-l4") == [0, 1]
    made.pin(3, "chat")
    await made.settle()
    assert made.all_replicas("chat", "chat-l4") == [1, 2]
    made.pin(1, "chat")
    await made.settle()
    assert made.all_replicas("chat", "chat-l4") == [0, 1]
    told = made.status("chat")
    assert [(each.name, each.pool) for each in told.inference_services] == [("chat", "l40s"), ("chat-l4", "l4")]


@dataclass
class MovingScene(PoolScene):
    """With the pods of the Deployments, as many as are asked for; `answering`: of which Deployments they are ready."""

    answering: set[str] = field(default_factory=set)

    def world(self) -> World:
        world = super().world()
        pods = [
            PodRecord(NAMESPACE, each.facts.name, pod_facts(f"{each.facts.name}-{number}"))
            for each in world.deployments
            for number in range(each.facts.spec_replicas)
        ]
        ready = [each for each in pods if each.deployment in self.answering]
        slices = [EndpointSliceRecord(NAMESPACE, each.deployment, frozenset({each.facts.name})) for each in ready]
        return replace(world, pods=pods, endpoint_slices=slices)

    async def cycle(self, *, writing: bool = True, pass_: float = 10.0) -> CycleResult:
        """One cycle, and what the garbage collector does after it."""
        done = await super().cycle(writing=writing, pass_=pass_)
        for ref, body in list(self.store._objects.items()):
            if any(owner["uid"] == NOBODY for owner in body["metadata"].get("ownerReferences", ())):
                del self.store._objects[ref], self.store._objects[deployment_ref(ref.name)]
        return done


def pod_facts(name: str) -> PodFacts:
    return PodFacts(name, f"uid-{name}", "Running", ready=True, terminating=False, scheduled=True, ready_at=1.0)


async def moved() -> MovingScene:
    """Two replicas that answer in l40s, of a tier that names l4 since."""
    made = MovingScene(nodes=[node("node-0", 2, gpu="l40s"), node("node-1", 2, gpu="l4")])
    made.pool("l40s", nodeSelector={"gpu": "l40s"}, pricePerGPUHour="2")
    made.pool("l4", nodeSelector={"gpu": "l4"}, pricePerGPUHour="1")
    tier(made, 2, "l40s")
    made.answering = {"chat-predictor"}
    await made.settle()
    assert made.all_replicas("chat") == [2]
    move(made, "l4")
    return made


def move(made: PoolScene, *pools: str) -> None:
    """The tier names other pools."""
    body = made.store.seen(tier_ref())
    spec = {**body["spec"], "pools": [{"name": pool} for pool in pools]}
    metadata = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
    made.store.put(tier_ref(), {**body, "metadata": metadata, "spec": spec})


async def test_a_tier_that_is_moved_starts_in_the_new_pool_before_it_ends_in_the_old() -> None:
    made = await moved()
    await made.settle()
    assert made.all_replicas("chat", "chat-l4") == [2, 2], "no replica in the new pool answers yet"
    assert (made.status().desired_replicas, made.status().ready) == (2, "2/2")
    made.answering = {"chat-predictor", "chat-l4-predictor"}
    await made.cycle()
    assert made.all_replicas("chat", "chat-l4") == [0, 2]
    await made.settle()
    assert service_ref("chat") not in made.store._objects, "the InferenceService of the old pool is gone"
    assert [(each.name, each.pool) for each in made.status().inference_services] == [("chat-l4", "l4")]
    assert made.changes() == [(0, 2)], "the move is no change of the number of replicas"


async def test_what_has_no_place_in_the_new_pool_stays_in_the_old() -> None:
    made = await moved()
    made.nodes = [node("node-0", 2, gpu="l40s"), node("node-1", 1, gpu="l4")]
    await made.settle()
    assert made.all_replicas("chat", "chat-l4") == [2, 1]
    made.answering |= {"chat-l4-predictor"}
    await made.settle()
    assert made.all_replicas("chat", "chat-l4") == [1, 1], "one of two is replaced"
    told = made.status()
    assert (told.desired_replicas, told.ready, told.limited_by) == (2, "2/2", reasons.POOL)
    assert told.placed == "l4 1/1, l40s 1/0"
    made.nodes = [node("node-0", 2, gpu="l40s"), node("node-1", 2, gpu="l4")]
    await made.settle()
    assert made.all_replicas("chat-l4") == [2]
    assert service_ref("chat") not in made.store._objects
    assert made.changes() == [(0, 2)]


async def test_an_operator_that_starts_in_the_middle_of_a_move_goes_on_with_it() -> None:
    made = await moved()
    await made.settle()
    made.kept = OperatorState()
    await made.settle()
    assert made.all_replicas("chat", "chat-l4") == [2, 2]
    made.answering = {"chat-l4-predictor"}
    made.kept = OperatorState()
    await made.settle()
    assert made.all_replicas("chat-l4") == [2]


async def test_a_tier_that_is_moved_back_keeps_what_still_runs() -> None:
    made = await moved()
    await made.cycle()
    await made.cycle()
    move(made, "l40s")
    await made.settle()
    await made.settle()
    assert made.all_replicas("chat") == [2]
    assert service_ref("chat-l4") not in made.store._objects
    assert [(each.name, each.pool) for each in made.status().inference_services] == [("chat", "l40s")]


async def test_each_pool_has_its_own_parallelism_and_quantization() -> None:
    made = scene()
    here = {"parallelism": {"tensor": 2}, "quantization": {"method": "fp8_per_tensor"}}
    pools = [{"name": "l40s"}, {"name": "l4", **here}]
    made.add("chat", replicas=1, pools=pools, scaling={"maxReplicas": 50})
    await made.settle()
    small, large = (made.store.seen(service_ref(name))["spec"]["predictor"] for name in ("chat", "chat-l4"))
    found = [each["containers"][0] for each in (small, large)]
    assert [each["resources"]["limits"]["nvidia.com/gpu"] for each in found] == ["1", "2"]
    assert ["--tensor-parallel-size=2" in each["args"] for each in found] == [False, True]
    assert ["--quantization=fp8_per_tensor" in each["args"] for each in found] == [False, True]
    rollouts = [each.rollout for each in made.status().inference_services]
    rendered = {each.rendered.hash for each in rollouts if each is not None and each.rendered is not None}
    assert len(rendered) == 2, "each has a fingerprint of its own"


async def test_a_spec_that_one_of_the_pools_cannot_run_is_refused_and_says_where() -> None:
    made = scene()
    made.pool("l4", nodeSelector={"gpu": "l4"}, pricePerGPUHour="1", gpu={"computeCapability": "7.5"})
    made.add(
        "chat", replicas=1, pools=[{"name": "l40s"}, {"name": "l4", "quantization": {"method": "nvfp4_per_token"}}]
    )
    await made.settle()
    (said,) = [each for each in made.status().conditions if each.type == "Accepted"]
    assert (said.status, said.message.startswith("In pool l4: ") or "in pool l4: " in said.message) == ("False", True)


async def test_a_name_that_another_tier_has_is_a_condition_and_none_of_its_pods_count() -> None:
    made = MovingScene(nodes=[node("node-0", 4, gpu="l40s"), node("node-1", 4, gpu="l4")])
    made.pool("l40s", nodeSelector={"gpu": "l40s"}, pricePerGPUHour="2")
    made.pool("l4", nodeSelector={"gpu": "l4"}, pricePerGPUHour="1")
    made.answering = {"chat-predictor", "chat-l4-predictor"}
    tier(made, 1, "l4", name="chat-l4")
    await made.settle()
    tier(made, 1, "l40s", "l4")
    await made.settle()
    (said,) = [each for each in made.status().conditions if each.type == "Provisioned"]
    assert (said.status, said.reason) == ("False", reasons.NOT_OURS)
    assert "chat-l4" in said.message
    assert made.status().placed == "l40s 1/1, l4 0/0"
    assert made.all_replicas("chat", "chat-l4") == [1, 1], "the other tier's is as it was"
