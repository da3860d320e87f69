"""The route of a ModelRoute, over a source that stands in for the API server."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.observe.test_route_object import body
from tests.unit.router.test_endpoints import endpoint, part
from tierwise.errors import Invalid, Transient
from tierwise.observe.route_object import route_object
from tierwise.ports import ObjectRef
from tierwise.routing.budget import Lease
from tierwise.routing.route import Use
from tierwise_router import kubernetes_source
from tierwise_router.kubernetes_source import KubernetesSource, Place, lease_of, load
from tierwise_router.purse import Purse
from tierwise_router.router_state import Clocks, RouterState
from tierwise_router.source import TLSFiles

SERVED = {
    "name": "small",
    "use": "Always",
    "model": "tierwise",
    "service": "small-predictor",
    "concurrency": 16,
    "keepAliveSeconds": 4,
    "replicaHour": "4.98",
}
BOUGHT = {
    "name": "bought",
    "use": "Always",
    "model": "big-1",
    "provider": {"baseURL": "https://api.example.com/v1", "secretName": "provider", "secretKey": "token"},
    "concurrency": 256,
    "keepAliveSeconds": 4,
    "prices": {"input": "2", "output": "10"},
}


def model_route(*ladder: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    tiers = spec.pop("tiers", [{"name": each["name"]} for each in ladder])
    return body({"tiers": tiers, **spec}, {"ladder": list(ladder)})


def put_key(folder: Path, text: str = "sk-1") -> None:
    path = folder / "providers" / "bought" / "token"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_ladder_becomes_the_tiers(tmp_path: Path) -> None:
    put_key(tmp_path)
    tiers = [{"name": "small"}, {"name": "bought", "use": "Overflow"}]
    loaded = load(route_object(model_route(SERVED, BOUGHT, tiers=tiers)), tmp_path)
    small, bought = loaded.route.tiers
    assert (small.service, small.model, small.concurrency, small.keep_alive_seconds) == (
        "small-predictor",
        "tierwise",
        16,
        4.0,
    )
    assert small.tariff.replica_hour == Decimal("4.98")
    assert bought.provider is not None
    assert (bought.provider.base_url, bought.use) == ("https://api.example.com/v1", Use.OVERFLOW)
    assert bought.tariff.rates is not None
    assert bought.tariff.rates.cached_input == Decimal(2)
    assert loaded.keys == {"providers/bought/token": "sk-1"}
    assert loaded.route.model_names == ("chat",)


def test_the_routers_share_the_cap_of_spilling_and_not_the_budget(tmp_path: Path) -> None:
    money = {"budget": {"amount": "10"}, "overflow": {"maxCostPerHour": "2"}, "replicas": 4}
    made = load(route_object(model_route(SERVED, **money)), tmp_path).route
    assert made.budget is not None
    assert (made.budget.amount, made.overflow.max_cost_per_hour) == (Decimal(10), Decimal("0.5"))
    assert [tier.routers for tier in made.tiers] == [4]


def test_client_keys_come_from_the_mounted_secret(tmp_path: Path) -> None:
    clients = {"secretName": "keys", "tenantHeader": "X-Team"}
    given = route_object(model_route(SERVED, clients=clients))
    with pytest.raises(Invalid, match="cannot be read"):
        load(given, tmp_path)
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "blue").write_text("a" * 64)
    made = load(given, tmp_path).route
    assert made.clients.tenant_by_key_hash == {"a" * 64: "blue"}
    assert made.clients.tenant_header == "x-team"


def test_the_certificate_is_in_the_mounted_secret(tmp_path: Path) -> None:
    assert load(route_object(model_route(SERVED)), tmp_path).tls is None
    given = route_object(model_route(SERVED, tls={"secretName": "chat-tls"}))
    assert load(given, tmp_path).tls == TLSFiles(tmp_path / "tls" / "tls.crt", tmp_path / "tls" / "tls.key")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (model_route(SERVED, tiers=[{"name": "small"}, {"name": "new"}]), "resolved the tier new"),
        (body({"tiers": []}), "cannot be used"),
        (model_route(BOUGHT), "key file"),
        (model_route(SERVED, budget={"amount": "1", "timeZone": "Nowhere/At-All"}), "time zone"),
    ],
    ids=["not resolved", "not understood", "no key", "no such zone"],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=said):
        load(route_object(given), tmp_path)


class Api:
    """Lists what was put there, and tells of it when it is put again."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {"modelroutes": [], "endpointslices": []}
        self.away = False
        self._changed = asyncio.Event()

    def put(self, plural: str, *objects: dict[str, Any]) -> None:
        self.objects[plural] = [copy.deepcopy(each) for each in objects]
        self._changed.set()
        self._changed = asyncio.Event()

    async def pages(
        self, ref: ObjectRef, *, selector: str = ""
    ) -> AsyncIterator[tuple[tuple[Mapping[str, Any], ...], str]]:
        if self.away:
            raise Transient("the API server is away")
        service = selector.partition("=")[2]
        yield tuple(each for each in self.objects[ref.plural] if each.get("service", service) == service), "1"

    async def watch(self, ref: ObjectRef, *, since: str, selector: str = "") -> AsyncIterator[Mapping[str, Any]]:
        await self._changed.wait()
        if ref.plural:
            raise Transient("listed again")
        yield {}


def slice_of(service: str, *found: dict[str, Any]) -> dict[str, Any]:
    return {**part(*found), "metadata": {"uid": f"slice-{service}"}, "service": service}


async def _run(part: Callable[[], Awaitable[None]]) -> None:
    await part()


@asynccontextmanager
async def followed(api: Api, folder: Path) -> AsyncIterator[RouterState]:
    """A router's state that follows the source."""
    source = KubernetesSource(api, Place("team", "chat", folder, "pod-1"))
    tasks = [asyncio.create_task(_run(part)) for part in source.parts.values()]
    try:
        loaded = await asyncio.wait_for(source.first(), 5)
        clocks = Clocks(time.monotonic, lambda: datetime.now(UTC), lambda: "req")
        purse = Purse(loaded.route.budget, loaded.route.overflow, clocks.now, clocks.monotonic, leased=True)
        state = RouterState.of(loaded.route, clocks, purse, dict(loaded.keys))
        tasks.append(asyncio.create_task(source.follow(state)))
        yield state
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(done: Any, seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_source, "RELOAD_SECONDS", 0.05)


def keys_of(state: RouterState, tier: str = "small") -> dict[str, bool]:
    return {replica.key: replica.draining for replica in state.tiers[tier].replicas}


async def test_replicas_come_and_drain_and_go(tmp_path: Path) -> None:
    api = Api()
    api.put("modelroutes", model_route(SERVED))
    api.put("endpointslices", slice_of("small-predictor", endpoint("a"), endpoint("b", "10.0.0.2")))
    async with followed(api, tmp_path) as state:
        await until(lambda: keys_of(state) == {"a": False, "b": False})
        api.put(
            "endpointslices", slice_of("small-predictor", endpoint("a", terminating=True), endpoint("b", "10.0.0.2"))
        )
        await until(lambda: keys_of(state) == {"a": True, "b": False})
        api.put("endpointslices", slice_of("small-predictor", endpoint("b", "10.0.0.2")))
        await until(lambda: keys_of(state) == {"b": False})
        assert [replica.key for replica in state.tiers["small"].replicas] == ["b"]


async def test_the_replicas_of_a_tier_are_those_of_all_its_services(tmp_path: Path) -> None:
    api = Api()
    two = {**SERVED, "moreServices": ["small-l4-predictor"]}
    first, second = endpoint("a"), endpoint("b", "10.0.0.2")
    api.put("modelroutes", model_route(SERVED))
    api.put("endpointslices", slice_of("small-predictor", first), slice_of("small-l4-predictor", second))
    async with followed(api, tmp_path) as state:
        await until(lambda: keys_of(state) == {"a": False})
        (before,) = state.tiers["small"].replicas
        api.put("modelroutes", model_route(two))
        await until(lambda: keys_of(state) == {"a": False, "b": False})
        assert before in state.tiers["small"].replicas
        ending = endpoint("a", terminating=True)
        api.put("endpointslices", slice_of("small-predictor", ending), slice_of("small-l4-predictor", second))
        await until(lambda: keys_of(state) == {"a": True, "b": False})
        api.put("modelroutes", model_route({**SERVED, "service": "small-l4-predictor"}))
        await until(lambda: keys_of(state) == {"b": False})
        api.put("modelroutes", model_route({**SERVED, "service": None}))
        await until(lambda: keys_of(state) == {})


async def test_a_service_that_is_not_listed_yet_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    class Deaf(Api):
        async def pages(
            self, ref: ObjectRef, *, selector: str = ""
        ) -> AsyncIterator[tuple[tuple[Mapping[str, Any], ...], str]]:
            if selector.endswith("small-l4-predictor"):
                raise Transient("not answered")
            async for page in super().pages(ref, selector=selector):
                yield page

    api = Deaf()
    api.put("modelroutes", model_route({**SERVED, "moreServices": ["small-l4-predictor"]}))
    api.put("endpointslices", slice_of("small-predictor", endpoint("a")))
    async with followed(api, tmp_path) as state:
        await until(lambda: keys_of(state) == {"a": False})
        assert keys_of(state) == {"a": False}, "the one that is known serves, and is not ending"


async def test_a_router_is_there_before_any_replica_is(tmp_path: Path) -> None:
    api = Api()
    api.put("modelroutes", model_route(SERVED))
    async with followed(api, tmp_path) as state:
        assert not state.tiers["small"].ready
        assert state.model_names() == ["chat", "small"]


async def test_the_first_route_is_waited_for_while_the_server_is_away_or_nothing_is_resolved(tmp_path: Path) -> None:
    api = Api()
    api.away = True
    source = KubernetesSource(api, Place("team", "chat", tmp_path))
    reading = asyncio.create_task(_run(source.parts["the ModelRoute"]))
    first = asyncio.create_task(source.first())
    await asyncio.sleep(0.2)
    assert not first.done()
    api.away = False
    api.put("modelroutes", model_route(tiers=[{"name": "small"}]))
    await asyncio.sleep(0.2)
    assert not first.done()
    api.put("modelroutes", model_route(SERVED))
    assert (await asyncio.wait_for(first, 10)).route.name == "chat"
    reading.cancel()


async def test_a_change_of_the_route_is_served_and_what_stays_keeps_its_replicas(tmp_path: Path) -> None:
    api = Api()
    large = {**SERVED, "name": "large", "service": "large-predictor"}
    api.put("modelroutes", model_route(SERVED))
    api.put(
        "endpointslices",
        slice_of("small-predictor", endpoint("a")),
        slice_of("large-predictor", endpoint("c", "10.0.0.3")),
    )
    async with followed(api, tmp_path) as state:
        await until(lambda: keys_of(state) == {"a": False})
        (before,) = state.tiers["small"].replicas
        api.put("modelroutes", model_route(SERVED, large, modelNames=["x"]))
        await until(lambda: "large" in state.tiers and keys_of(state, "large") == {"c": False})
        assert state.tiers["small"].replicas == [before]
        assert state.model_names() == ["x", "small", "large"]
        api.put("modelroutes", model_route(large))
        await until(lambda: set(state.tiers) == {"large"})


async def test_what_is_known_is_served_on_while_the_server_is_away_or_the_route_is_bad_or_gone(tmp_path: Path) -> None:
    api = Api()
    api.put("modelroutes", model_route(SERVED))
    api.put("endpointslices", slice_of("small-predictor", endpoint("a")))
    async with followed(api, tmp_path) as state:
        await until(lambda: keys_of(state) == {"a": False})
        route = state.route
        for found in ([body({"tiers": []})], [], [model_route(SERVED, tiers=[{"name": "new"}])]):
            api.put("modelroutes", *found)
            await asyncio.sleep(0.2)
        api.away = True
        api.put("endpointslices")
        await asyncio.sleep(0.2)
        assert state.route is route
        assert keys_of(state) == {"a": False}


async def test_keys_are_read_again_when_they_change(tmp_path: Path) -> None:
    put_key(tmp_path)
    api = Api()
    api.put("modelroutes", model_route(BOUGHT))
    async with followed(api, tmp_path) as state:
        assert state.key_of(state.route.tiers[0]) == "sk-1"
        put_key(tmp_path, "sk-2")
        await until(lambda: state.key_of(state.route.tiers[0]) == "sk-2")
        put_key(tmp_path, "two words")
        await asyncio.sleep(0.2)
        assert state.key_of(state.route.tiers[0]) == "sk-2"


async def test_a_tier_that_moves_from_a_provider_to_replicas_forgets_the_provider(tmp_path: Path) -> None:
    put_key(tmp_path)
    api = Api()
    api.put("modelroutes", model_route(BOUGHT))
    api.put("endpointslices", slice_of("bought-predictor", endpoint("a")))
    async with followed(api, tmp_path) as state:
        assert keys_of(state, "bought") == {"https://api.example.com/v1": False}
        api.put("modelroutes", model_route({**SERVED, "name": "bought", "service": "bought-predictor"}))
        await until(lambda: keys_of(state, "bought") == {"a": False})


async def test_other_routes_of_the_namespace_are_none_of_this_router(tmp_path: Path) -> None:
    api = Api()
    other = model_route(SERVED, modelNames=["other"])
    other["metadata"] |= {"name": "other", "uid": "uid-other"}
    api.put("modelroutes", other, model_route(SERVED))
    async with followed(api, tmp_path) as state:
        assert state.route.name == "chat"


def leased(
    amount: str, *, router: str = "pod-1", left: str = "0", expires: str = "2126-11-29T12:15:00Z"
) -> dict[str, Any]:
    lease = {"router": router, "amount": amount, "expires": expires}
    return {"period": "2026-11-29T00:00:00Z", "left": left, "leases": [lease]}


async def test_a_router_spends_within_its_lease_and_none_without_one(tmp_path: Path) -> None:
    api = Api()
    route = model_route(SERVED, budget={"amount": "10"})
    api.put("modelroutes", route)
    async with followed(api, tmp_path) as state:
        purse = state.purse
        assert purse.hold(Decimal("0.01"), spilled=False) is None
        assert purse.refusal() == (15.0, False)
        route["status"]["budget"] = leased("0.05")
        api.put("modelroutes", route)
        await until(lambda: purse.account is not None and purse.account.allowance)
        assert purse.hold(Decimal("0.04"), spilled=False) is not None
        assert purse.hold(Decimal("0.02"), spilled=False) is None
        seconds, final = purse.refusal()
        assert (0 < seconds <= 120, final) == (True, True)
        route["status"]["budget"] = leased("0.07", left="1")
        api.put("modelroutes", route)
        await until(lambda: purse.account is not None and purse.account.allowance > Decimal("0.05"))
        assert purse.hold(Decimal("0.03"), spilled=False) is not None
        assert purse.refusal() == (15.0, False)
        assert purse.largest == Decimal("0.04")


def test_only_a_lease_of_its_own_that_can_be_read_is_one() -> None:
    def read(given: dict[str, Any] | None, router: str = "pod-1") -> Any:
        status = route_object({**model_route(SERVED), "status": {"budget": given} if given else {}}).status
        return lease_of(status.budget, router)

    assert read(leased("1.5", left="2")) == Lease(
        datetime(2026, 11, 29, tzinfo=UTC), Decimal("1.5"), datetime(2126, 11, 29, 12, 15, tzinfo=UTC), Decimal(2)
    )
    for given in (
        None,
        leased("1", router="pod-2"),
        leased("x"),
        leased("NaN"),
        leased("1", expires="2126-11-29T00:00"),
    ):
        assert read(given) is None
    assert read(leased("1"), "") is None


def test_what_is_spent_is_known_though_the_rest_of_a_status_cannot_be_read() -> None:
    given = {**model_route(SERVED), "status": {"conditions": "none", "budget": leased("1.5")}}
    status = route_object(given).status
    assert status.ladder == []
    assert status.budget is not None
    assert status.budget.leases[0].amount == "1.5"


def test_answers_that_a_provider_bills_otherwise_have_their_own_prices(tmp_path: Path) -> None:
    put_key(tmp_path)
    more = {"serviceTierPrices": {"flex": {"input": "1", "output": "5"}, "batch": {"input": "0.5", "output": "2"}}}
    (tier,) = load(route_object(model_route({**BOUGHT, **more})), tmp_path).route.tiers
    found = {name: (rates.input, rates.output) for name, rates in tier.tariff.by_service_tier.items()}
    assert found == {"flex": (Decimal(1), Decimal(5)), "batch": (Decimal("0.5"), Decimal(2))}
