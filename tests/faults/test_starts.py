"""Checks what becomes of a serving tier when its spec is changed to one that cannot start.

Four ways to be wrong, each met by a tier with `rollout: Replace` and one with `rollout: Surge`, all at once. A
client asks every tier twice a second and counts what is not answered: with Surge nothing may be missed, and with
Replace neither, as long as there is a second replica. With Replace the last good spec is served again, in full, and the
replicas stay as many as were asked for.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from playground.handle import Playground
from tests.cluster.e2e.load import service_address
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has
from tests.faults.results import Sheet
from tests.faults.scene import SOON, Scene
from tierwise.decide.rollout import STEADY_SECONDS
from tierwise.pod_diagnosis import PATIENCE_SECONDS

pytestmark = pytest.mark.cluster
REPLICAS = {"replace": 2, "surge": 1}
NOBODY = "registry.example.com/nobody/nothing:1"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A change that cannot start: what is changed, what is said of it, and what it is called in the table."""

    change: Mapping[str, Any]
    reason: str
    words: str
    fault: str


def _repository(name: str) -> dict[str, Any]:
    return {"model": {"name": "served", "uri": f"hf://org/{name}"}}


MISTAKES = {
    "image": Mistake({"engine": {"image": NOBODY}}, "ImagePullFailed", NOBODY, "An image that cannot be pulled"),
    "gpu": Mistake(_repository("too-large"), "EngineOutOfMemory", "CUDA out of memory", "Out of GPU memory at start"),
    "killed": Mistake(
        _repository("too-much-memory"), "EngineOutOfMemory", "resources.memory", "Killed at start (exit 137, OOMKilled)"
    ),
    "arguments": Mistake(
        _repository("bad-arguments"), "EngineCrashed", "--reasoning-parser", "Arguments that the engine refuses"
    ),
}
TIERS = [f"{name}-{rollout}" for name in MISTAKES for rollout in REPLICAS]


def _tier(name: str, change: Mapping[str, Any]) -> dict[str, Any]:
    rollout = name.rpartition("-")[2]
    fields = {"model": {"name": "served", "uri": "hf://org/fine"}, **change}
    return cheap(name, rollout=rollout.capitalize(), replicas=REPLICAS[rollout], **fields)


@dataclass
class Diary:
    """What was seen, once a second: when each tier first said what, and the fewest replicas it ever had ready."""

    kubectl: Kubectl
    said: dict[tuple[str, str], float] = field(default_factory=dict)
    fewest: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    restored: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Until it is over."""
        while not self._over.wait(1.0):
            text = self.kubectl("get", "modeltiers,deployments", "-o", "json")
            for each in json.loads(text)["items"]:
                name = each["metadata"]["name"]
                if each["kind"] == "ModelTier":
                    self._tier(name, each)
                else:
                    self._deployment(name.removesuffix("-predictor"), each)

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def _tier(self, name: str, tier: Object) -> None:
        if has(tier, "Provisioned", "False"):
            self.said.setdefault((name, conditions(tier)["Provisioned"]["reason"]), time.monotonic())

    def _deployment(self, name: str, deployment: Object) -> None:
        status = deployment["status"]
        ready, wanted = status.get("readyReplicas", 0), deployment["spec"]["replicas"]
        self.fewest[name] = min(ready, self.fewest.get(name, ready))
        self.most[name] = max(wanted, self.most.get(name, wanted))
        if ready == wanted == status.get("updatedReplicas", 0) and (name, "RolledBack") in self.said:
            self.restored.setdefault(name, time.monotonic())


@dataclass
class Client:
    """Asks every tier twice a second, through its Service, whether it answers."""

    playground: Playground
    missed: dict[str, list[str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    def ask(self, urls: Mapping[str, str]) -> None:
        """Until it is over."""
        with requests.Session() as session:
            while not self._over.wait(0.5):
                for name, url in urls.items():
                    self.asked[name] += 1
                    try:
                        session.get(url, proxies={"http": self.playground.proxy_url}, timeout=20).raise_for_status()
                    except requests.RequestException as error:
                        self.missed.setdefault(name, []).append(f"{time.strftime('%H:%M:%S')} {error}")

    def end(self) -> None:
        """Ask no more."""
        self._over.set()


@dataclass(frozen=True, slots=True)
class Broken:
    """The tiers after the change, and who watches them."""

    scene: Scene
    since: float
    diary: Diary
    client: Client

    def served(self, tier: str) -> int:
        """How often it was asked since the change; fails when one answer was missed, or when hardly anybody asked."""
        asked = self.client.asked[tier]
        assert self.client.missed.get(tier, []) == []
        assert asked > (time.monotonic() - self.since) / 2
        return asked


def _served(tier: Object) -> bool:
    good = tier.get("status", {}).get("rollout", {}).get("lastGood")
    wanted = tier["spec"]["replicas"]
    return good is not None and tier["status"].get("readyReplicas", 0) == wanted


@pytest.fixture(scope="module")
def broken(scene: Scene) -> Iterator[Broken]:
    """Tiers that have served for long enough, then changed for the worse, all at once."""
    kubectl = scene.kubectl
    kubectl.apply(*(_tier(name, {}) for name in TIERS))
    for name in TIERS:
        what = f"{name} has a last good spec"
        eventually(lambda name=name: kubectl.tier(name), _served, 2 * SOON + STEADY_SECONDS, what)  # type: ignore[misc]
    diary, client = Diary(kubectl), Client(scene.playground)
    urls = {name: f"http://{service_address(scene.playground, kubectl.namespace, name)}/health" for name in TIERS}
    threads = [threading.Thread(target=diary.look), threading.Thread(target=client.ask, args=(urls,))]
    for thread in threads:
        thread.start()
    try:
        since = time.monotonic()
        kubectl.apply(*(_tier(name, MISTAKES[name.rpartition("-")[0]].change) for name in TIERS))
        yield Broken(scene, since, diary, client)
    finally:
        diary.end()
        client.end()
        for thread in threads:
            thread.join(30)


@pytest.mark.parametrize("name", MISTAKES)
def test_replace_goes_back_to_the_last_good_spec(broken: Broken, faults: Sheet, name: str) -> None:
    """Named first, given up after its deadline, and served again in full; one replica serves throughout."""
    tier, mistake, diary = f"{name}-replace", MISTAKES[name], broken.diary
    limit = 2 * PATIENCE_SECONDS + SOON
    eventually(lambda: diary.restored.get(tier), bool, limit, f"{tier} serves its last good spec again")
    seen = broken.scene.kubectl.tier(tier)
    told = conditions(seen)["Provisioned"]
    assert (told["status"], told["reason"]) == ("False", "RolledBack")
    for part in ("Generation 2 cannot start", mistake.reason, mistake.words, "generation 1"):
        assert part in told["message"]
    assert conditions(seen)["Ready"]["status"] == "True"
    assert "RolledBack" in [event["reason"] for event in broken.scene.kubectl.find("events") if _about(event, tier)]
    assert (diary.fewest[tier], diary.most[tier]) == (1, 2)
    asked = broken.served(tier)
    named = diary.said[tier, mistake.reason]
    faults.record(
        row="16",
        fault=f"{mistake.fault}, rollout: Replace",
        detect_seconds=named - broken.since,
        recover_seconds=diary.restored[tier] - named,
        wrong=broken.scene.wrong(),
        note=f"recovered: both replicas serve the last good spec again; {asked} requests meanwhile, all answered",
    )


@pytest.mark.parametrize("name", MISTAKES)
def test_surge_never_stops_what_serves(broken: Broken, faults: Sheet, name: str) -> None:
    """The mistake is named; the old replica goes on; a correction is all it takes."""
    tier, mistake, diary = f"{name}-surge", MISTAKES[name], broken.diary
    eventually(lambda: diary.said.get((tier, mistake.reason)), bool, 2 * SOON, f"{tier} names its mistake")
    kubectl = broken.scene.kubectl
    assert mistake.words in conditions(kubectl.tier(tier))["Provisioned"]["message"]
    corrected = time.monotonic()
    kubectl.apply(_tier(tier, {"contextLength": 4096}))
    eventually(
        lambda: kubectl.tier(tier),
        lambda seen: has(seen, "Provisioned", "True") and has(seen, "Ready", "True") and _new(seen),
        2 * SOON,
        f"{tier} serves the correction",
    )
    assert (diary.fewest[tier], diary.most[tier]) == (1, 1)
    asked = broken.served(tier)
    assert (tier, "RolledBack") not in diary.said
    faults.record(
        row="16",
        fault=f"{mistake.fault}, rollout: Surge",
        detect_seconds=diary.said[tier, mistake.reason] - broken.since,
        recover_seconds=time.monotonic() - corrected,
        wrong=broken.scene.wrong(),
        note=f"recovered: the corrected spec serves; {asked} requests meanwhile, all answered",
    )


def _new(tier: Object) -> bool:
    rollout = tier["status"]["rollout"]
    return bool(rollout["lastGood"]["hash"] == rollout["rendered"]["hash"])


def _about(event: Object, tier: str) -> bool:
    return bool(event["involvedObject"]["name"] == tier)
