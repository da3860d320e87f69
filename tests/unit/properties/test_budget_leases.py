"""Checks that a budget is never passed by several routers, whatever happens to them, to the operator and to clocks.

The router's own purse and the operator's own leases run over one status, as the API server keeps it: a write may be
lost or be made by an operator that has seen an old status (the API server refuses it), a router may read late, a
container or a pod may end at any moment, a router may be cut off and go on spending, and reports come late or never.
Each run is some hundred steps of chance; which faults there are, and how often, is chance as well.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.api.modelroute import RouteBudget
from tierwise.api.modelroute_status import BudgetStatus
from tierwise.decide.leases import SKEW_SECONDS, renew
from tierwise.routing.route import Budget, Overflow
from tierwise.types import WalletReport
from tierwise_router.kubernetes_source import lease_of
from tierwise_router.purse import Hold, Purse

AMOUNT = Decimal(1)
REPLICAS = 3
STEPS = 300
MEMORY = Path("/dev/shm")  # what is synced there costs no disk


@dataclass
class Pod:
    """One router. `skew`: of its clock, in seconds. `seen`: how many of the written statuses it has read."""

    uid: str
    skew: float
    seen: int = 0
    alive: bool = True  # for the API server; a pod that is gone for it may go on, cut off
    purse: Purse | None = None
    open: list[tuple[Hold, Decimal]] = field(default_factory=list)
    reports: list[WalletReport] = field(default_factory=list)


class World:
    """Routers that spend, and an operator that remembers nothing."""

    def __init__(self, seed: int, zone: str, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        # The last day of summer time in Berlin begins in four hours; a month ends a week later.
        self.now = datetime(2026, 10, 24, 18, tzinfo=UTC)
        self.budget = RouteBudget.model_validate({"amount": str(AMOUNT), "period": "Day", "timeZone": zone})
        self.values = Budget(AMOUNT, "Day", zone)
        self.statuses: list[BudgetStatus] = []
        self.pods: list[Pod] = []
        self.spent: dict[datetime, Decimal] = {}
        self.rates = {
            name: self.chance.choice([0, 0.01, 0.1]) for name in ("kill", "go", "cut", "lose", "blind", "back")
        }
        self.greed = [self.chance.random() ** 6 for _ in range(12)]
        self.turns = self.chance.choice([0, 0.01, 0.05])
        self.pace = self.chance.choice([5, 60, 600])

    def happens(self, what: str) -> bool:
        return self.chance.random() < self.rates[what]

    def step(self) -> None:
        chance = self.chance
        self.now += timedelta(seconds=chance.expovariate(1 / self.pace))
        if chance.random() < self.turns:
            chance.shuffle(self.greed)  # who was busy is idle now, with a lease for a busy one
        while sum(pod.alive for pod in self.pods) < REPLICAS:
            self.start_pod()
        if not self.happens("blind"):
            self.operator_renews()
        for number, pod in enumerate(self.pods):
            if pod.alive:
                self.router_reads(pod)
            if chance.random() < self.greed[number % 12]:
                self.router_spends(pod, Decimal(chance.randint(1, 40)) / 1000, chance.randint(1, 6))
            if chance.random() < 0.7:
                self.requests_end(pod)
            if not self.happens("blind"):
                self.is_scraped(pod)
            if self.happens("kill") and pod.purse is not None:
                pod.open.clear()
                self.start_container(pod)
                pod.seen = max(0, pod.seen - chance.randint(0, 30))  # a list may be older than a watch was
            if self.happens("go") and self.happens("kill"):
                pod.alive = False
                if not self.happens("cut"):
                    pod.purse = None
        # It may be remembered, but nobody reads it any more.
        self.pods = [pod for pod in self.pods if pod.alive or pod.purse is not None][-12:]

    def start_pod(self) -> None:
        skew = self.chance.uniform(-SKEW_SECONDS, SKEW_SECONDS)
        pod = Pod(f"pod-{self.chance.getrandbits(64):016x}", skew)
        self.start_container(pod)
        self.pods.append(pod)

    def start_container(self, pod: Pod) -> None:
        def now() -> datetime:
            return self.now + timedelta(seconds=pod.skew)

        path = self.folder / pod.uid
        pod.purse = Purse(self.values, Overflow(), now, lambda: self.now.timestamp(), path, leased=True)

    def router_reads(self, pod: Pod) -> None:
        behind = self.chance.choice([0, 0, 0, 1, 5, 30])
        if pod.purse is not None and self.statuses:
            pod.seen = max(pod.seen, len(self.statuses) - behind)  # a watch never goes back
            if pod.seen > 0:
                pod.purse.follow(lease_of(self.statuses[pod.seen - 1], pod.uid))

    def router_spends(self, pod: Pod, estimate: Decimal, count: int) -> None:
        for _ in range(count):
            hold = pod.purse.hold(estimate, spilled=False) if pod.purse is not None else None
            if hold is not None and hold.reservation is not None:
                # It reaches the provider now: whatever becomes of it, it may be billed.
                period = hold.reservation.period
                self.spent[period] = self.spent.get(period, Decimal(0)) + estimate
                pod.open.append((hold, estimate))

    def requests_end(self, pod: Pod) -> None:
        for hold, estimate in pod.open:
            cost = estimate * self.chance.randint(50, 100) / 100
            assert pod.purse is not None
            assert hold.reservation is not None
            pod.purse.settle(hold, cost)
            self.spent[hold.reservation.period] -= estimate - cost
        pod.open.clear()

    def is_scraped(self, pod: Pod) -> None:
        account = pod.purse.account if pod.purse is not None else None
        if account is not None and pod.purse is not None and account.period.year > 1:
            at, period = self.now.timestamp(), account.period.timestamp()
            pod.reports.append(WalletReport(at, period, account.spent, account.reserved, pod.purse.largest))

    def operator_renews(self) -> None:
        behind = self.chance.randint(1, 5) if self.happens("lose") else 0
        old = self.chance.randint(0, 3) if self.happens("blind") else 0
        base = len(self.statuses) - behind
        before = self.statuses[base - 1] if base > 0 else None
        reports = {pod.uid: pod.reports[-1 - old] if len(pod.reports) > old else None for pod in self.pods if pod.alive}
        skew = -7200 if self.happens("back") else 0
        status = renew(before, self.budget, reports, REPLICAS, self.now.timestamp() + skew)
        stale = behind and self.statuses  # the API server refuses it: the version has changed
        if status != before and not stale and not self.happens("lose"):
            self.statuses.append(status)

    def check(self) -> None:
        assert all(spent <= AMOUNT for spent in self.spent.values()), self.spent
        for status in self.statuses[-1:]:
            # What a container that starts again must count as spent may be more than a lease that became smaller.
            leased = sum((Decimal(one.amount) for one in status.leases), Decimal(0))
            assert leased + Decimal(status.left) <= AMOUNT


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_whatever_happens_no_period_spends_more_than_the_budget(zone: str, seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        world = World(seed, zone, Path(folder))
        for _ in range(STEPS):
            world.step()
            world.check()


def test_where_nothing_fails_almost_all_of_the_budget_can_be_spent(tmp_path: Path) -> None:
    world = World(1, "UTC", tmp_path)
    world.rates = dict.fromkeys(world.rates, 0)
    world.greed, world.turns, world.pace = [1.0] * 12, 0, 5
    for _ in range(200):
        world.step()
    assert max(world.spent.values()) >= Decimal("0.95")
