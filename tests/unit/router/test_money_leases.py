"""Four routers under one budget: real processes, an API server that tells them of their leases, the operator's rules.

The provider's own count of what it was asked for is what must stay within the budget: also what a killed router had
open, and what its clients never got.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.observe.test_route_object import body
from tests.unit.router.router_process import COMES_SECONDS, RouterProcess, started
from tests.unit.router.scripted_engine import Caller, EngineLoad, Seen, scripted_engine
from tests.unit.router.stub_api_server import StubApiServer, stub_api_server
from tests.unit.router.test_endpoints import endpoint, part
from tests.unit.router.test_money import KINDS, MILLION, all_settled
from tierwise.api.modelroute import RouteBudget
from tierwise.api.modelroute_status import BudgetStatus
from tierwise.decide.leases import renew
from tierwise.types import WalletReport

BUDGET = RouteBudget.model_validate({"amount": "1", "period": "Month"})
RATES: dict[str, dict[str, str]] = {
    "metered": {"input": "0.25", "cachedInput": "0.025", "cacheWrite": "0.3125", "output": "2"},
    "dear": {"input": "1.25", "cachedInput": "0.125", "output": "10"},
    "flex": {"input": "0.625", "output": "5"},
    "batch": {"input": "0.5", "output": "4"},
}
DOLLARS_PER_SECOND = 36 / 3600  # of a replica of the served tiers
ROUTERS = ("pod-a", "pod-b", "pod-c", "pod-d")
REQUESTS = 2400


def model_route(url: str) -> dict[str, Any]:
    common = {"use": "Always", "concurrency": 64, "keepAliveSeconds": 4}
    provider = {"baseURL": url + "/v1", "secretName": "provider", "secretKey": "token"}
    bought = {**common, "provider": provider}
    served = {**common, "model": "tierwise", "replicaHour": "36"}
    ladder = [
        {**served, "name": "timed", "service": "timed-predictor"},
        {**served, "name": "timed-too", "service": "timed-too-predictor"},
        {**bought, "name": "metered", "model": "metered", "prices": RATES["metered"]},
        {
            **bought,
            "name": "dear",
            "model": "dear",
            "prices": RATES["dear"],
            "serviceTierPrices": {name: RATES[name] for name in ("flex", "batch")},
        },
    ]
    spec = {"tiers": [{"name": each["name"]} for each in ladder], "budget": BUDGET.model_dump(by_alias=True)}
    return body({**spec, "replicas": len(ROUTERS)}, {"ladder": ladder})


def slices(url: str) -> list[dict[str, Any]]:
    port = {"name": "http", "port": int(url.rpartition(":")[2]), "protocol": "TCP"}

    def one(service: str) -> dict[str, Any]:
        metadata = {"uid": service, "name": service, "labels": {"service": service}}
        return {**part(endpoint(service, "127.0.0.1"), ports=[port]), "metadata": metadata}

    return [one("timed-predictor"), one("timed-too-predictor")]


@dataclass
class Routers:
    """The routers that run, by the UID of their pods, and an operator that renews their leases."""

    api: StubApiServer
    folder: Path
    stack: ExitStack
    running: dict[str, RouterProcess] = field(default_factory=dict)
    pods: set[str] = field(default_factory=set)
    written: BudgetStatus | None = None

    async def start(self, uid: str) -> None:
        folder = self.folder / uid
        folder.mkdir(exist_ok=True)
        self.pods.add(uid)
        options = [
            "--route=team/chat",
            f"--kubeconfig={self.folder / 'kubeconfig'}",
            f"--secrets={self.folder / 'secrets'}",
            f"--router-id={uid}",
            f"--spending-file={folder / 'spending.json'}",
        ]
        waiting = started(folder, *options)
        # The API server runs in this loop, and the router asks it before it listens.
        self.running[uid] = await asyncio.to_thread(self.stack.enter_context, waiting)

    async def renew(self) -> None:
        """As the operator does in each of its cycles."""
        reports: dict[str, WalletReport | None] = dict.fromkeys(self.pods)
        for uid, process in list(self.running.items()):
            with contextlib.suppress(OSError):
                said = await asyncio.to_thread(process.metrics)
                reports[uid] = report(said) if uid in self.pods else None
        status = renew(self.written, BUDGET, {uid: reports[uid] for uid in self.pods}, len(ROUTERS), time.time())
        if status != self.written:
            self.written = status
            self.api.set_status(budget=status.model_dump(by_alias=True))


def report(said: Mapping[str, float]) -> WalletReport | None:
    parts = {
        name: said.get(f'tierwise_router_budget_usd{{part="{name}"}}') for name in ("spent", "reserved", "largest")
    }
    spent, reserved, largest = (Decimal(repr(value)) if value is not None else None for value in parts.values())
    if spent is None or reserved is None or largest is None:
        return None
    return WalletReport(time.time(), said["tierwise_router_budget_period_start_seconds"], spent, reserved, largest)


@asynccontextmanager
async def routers(url: str, folder: Path) -> AsyncIterator[Routers]:
    for tier in ("metered", "dear"):
        key = folder / "secrets" / "providers" / tier / "token"
        key.parent.mkdir(parents=True)
        key.write_text("sk-1")
    with ExitStack() as stack:
        async with stub_api_server(model_route(url), slices(url), folder / "kubeconfig") as api:
            made = Routers(api, folder, stack)
            await asyncio.gather(*map(made.start, ROUTERS))
            yield made


def cost_of(usage: Mapping[str, Any], rates: Mapping[str, str]) -> Decimal:
    """The formula of docs/routing.md on a provider's usage."""
    details = usage.get("prompt_tokens_details", {})
    cached, written = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    own = usage["prompt_tokens"] - cached - written
    parts = (own, "input"), (cached, "cachedInput"), (written, "cacheWrite"), (usage["completion_tokens"], "output")
    return sum((tokens * Decimal(rates.get(kind, rates["input"])) for tokens, kind in parts), Decimal(0)) / MILLION


def scripted(chance: random.Random) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A tier, what its answer will be, and the fields of the request. Nothing costs more than its estimate."""
    tier = chance.choice(["timed", "timed-too", "metered", "dear", "dear"])
    prompt = chance.randrange(10, 40)
    cached = chance.randrange(0, prompt)
    details = {"cached_tokens": cached, "cache_write_tokens": chance.randrange(0, prompt - cached)}
    usage = {"prompt_tokens": prompt, "completion_tokens": chance.randrange(100, 400), "prompt_tokens_details": details}
    said: dict[str, Any] = {"usage": usage, "wait": 0.05 * chance.random()}
    fields: dict[str, Any] = {"stream": chance.random() < 0.4, "max_tokens": 400}
    what = chance.random()
    if what < 0.03:
        fields["leave"], said["left"] = True, True
    elif what < 0.05:
        said["cut"], fields["stream"] = 1, True
    elif what < 0.07:
        said["status"] = 500
    elif what < 0.3 and tier == "dear":
        said["service_tier"] = chance.choice(["flex", "batch"])
        fields["service_tier"] = said["service_tier"]
    return tier, said, fields


def billed(seen: Seen) -> Decimal:
    """What the provider asks for: every request that reached it, whoever got the answer, but for those that the client
    or the connection broke off: of these nobody but the provider knows where it stopped."""
    total = Decimal(0)
    for values, _ in seen:
        if values["model"] in ("metered", "dear"):
            said = json.loads(values["messages"][-1]["content"])
            if not said.keys() & {"status", "left", "cut"}:
                rates = RATES[said.get("service_tier", values["model"])]
                total += cost_of(said["usage"], rates)
    return total


async def test_four_routers_stay_within_a_dollar_though_one_is_killed_and_one_replaced(tmp_path: Path) -> None:
    chance, load = random.Random(11), EngineLoad()
    seen: Seen = []
    sent = iter(range(REQUESTS))
    events = {REQUESTS // 4: "kill", REQUESTS // 2: "replace"}
    lost: set[str] = set()
    earlier: dict[str, int] = {}
    async with scripted_engine(seen, load) as url, routers(url, tmp_path) as fleet:

        async def operate() -> None:
            while True:
                await fleet.renew()
                await asyncio.sleep(0.2)

        async def work() -> None:
            clients: dict[RouterProcess, Caller] = {}
            for number in sent:
                if number in events:
                    tasks.append(asyncio.create_task(fault(events[number])))
                process = chance.choice(list(fleet.running.values()))
                caller = clients.setdefault(process, Caller(process.url))
                tier, said, fields = scripted(chance)
                with contextlib.suppress(OSError):
                    await caller.chat(tier, said, **fields)
            for caller in clients.values():
                await caller.close()

        async def fault(what: str) -> None:
            uid = "pod-a" if what == "kill" else "pod-b"
            lost.add(uid)
            killed = fleet.running.pop(uid)
            killed.kill()
            earlier[uid] = len(killed.log())
            if what == "replace":  # the pod is gone; another one takes its place
                fleet.pods.discard(uid)
                uid = "pod-e"
            await fleet.start(uid)

        tasks: list[asyncio.Task[None]] = []
        await fleet.renew()
        operator = asyncio.create_task(operate())
        await asyncio.gather(*(work() for _ in range(24)))
        await asyncio.gather(*tasks)
        ended = {uid: await all_settled(process, earlier.get(uid, 0)) for uid, process in fleet.running.items()}
        operator.cancel()
        await fleet.renew()
    assert lost == {"pod-a", "pod-b"}
    spent = billed(seen)
    assert Decimal("0.7") < spent <= 1, spent
    status = fleet.written
    assert status is not None
    assert spent <= Decimal(status.spent) + Decimal("0.001")
    assert Decimal(status.spent) <= Decimal("1.000001")
    refused = 0
    for uid, (lines, metrics) in ended.items():
        assert len({line["id"] for line in lines}) == len(lines)
        refused += sum(str(line["status"]).encode() == b"429" for line in lines)
        cost: dict[str, Decimal] = {}
        for line in lines:
            for charge in line["charges"]:
                tier, paid = charge["tier"], Decimal(charge["costUSD"])
                cost[tier] = cost.get(tier, Decimal(0)) + paid
                if tier in RATES:
                    tariffs = ["dear", "flex", "batch"] if tier == "dear" else ["metered"]
                    assert paid in [expected(charge, RATES[name]) for name in tariffs]
        assert metrics["tierwise_router_streams"] == 0
        assert metrics['tierwise_router_budget_usd{part="reserved"}'] == 0
        if uid != "pod-a":  # the log of that one is of two processes
            for tier, amount in cost.items():
                found = metrics[f'tierwise_router_cost_usd_total{{tier="{tier}"}}']
                assert found == pytest.approx(float(amount), rel=1e-12)
    assert refused > 0


def expected(charge: dict[str, Any], rates: dict[str, str]) -> Decimal:
    """The formula of docs/routing.md on a line of the access log."""
    parts = [int(charge[field]) * Decimal(rates.get(kind, rates["input"])) for kind, field in KINDS.items()]
    return (sum(parts, Decimal(0)) + int(charge["outputTokens"]) * Decimal(rates["output"])) / MILLION


def knows_of_others(process: RouterProcess) -> bool:
    """Whether it has charged a request less than a router could that is alone with two at a time: a half."""
    return any(float(line["costUSD"]) < 0.3 * DOLLARS_PER_SECOND * line["ms"] / 1000 for line in process.log())


async def test_a_replica_that_four_routers_share_is_paid_once(tmp_path: Path) -> None:
    chance, load = random.Random(2), EngineLoad()
    seen: Seen = []
    async with scripted_engine(seen, load) as url, routers(url, tmp_path) as fleet:
        fair, ends = 0.0, float("inf")
        counted: dict[RouterProcess, list[str]] = {process: [] for process in fleet.running.values()}

        async def work(process: RouterProcess) -> None:
            nonlocal fair
            caller = Caller(process.url)
            while time.monotonic() < ends:
                counts, before = ends < float("inf"), load.share_now()
                said = {"usage": {"prompt_tokens": 5, "completion_tokens": 5}, "wait": 0.5 + chance.random()}
                _, headers, _ = await caller.chat("timed", said)
                if counts:
                    fair += load.share_now() - before
                    counted[process].append(headers["x-tierwise-request-id"])
            await caller.close()

        working = [asyncio.create_task(work(process)) for process in counted for _ in range(2)]
        # Until the engine tells a router of the others, which it is asked each second, it believes to be alone.
        deadline = time.monotonic() + COMES_SECONDS
        while not all(map(knows_of_others, counted)):
            assert time.monotonic() < deadline, "a router does not hear of the others"
            await asyncio.sleep(0.1)
        ends = time.monotonic() + 8
        await asyncio.gather(*working)
        lines = [line for process, requests in counted.items() for line in process.log_of(*requests)]
    assert all(counted.values())
    paid = sum(float(line["costUSD"]) for line in lines)
    # Each alone would pay for all of it: four times as much.
    assert paid == pytest.approx(fair * DOLLARS_PER_SECOND, rel=0.3)


def test_the_period_of_the_run_is_the_present_month() -> None:
    assert renew(None, BUDGET, {}, 1, time.time()).period == datetime.now(UTC).strftime("%Y-%m-01T00:00:00Z")
