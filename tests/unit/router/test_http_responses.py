"""/v1/responses through several routers that do not talk: whoever is asked finds the replica that keeps a response."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.unit.router.running_router import Answered, Router, post, route, running, tier
from tests.unit.router.scripted_upstream import Do, Script, Seen, Upstream, answer, stream, upstream
from tierwise.routing.route import Budget, Clients, Tariff, WhenSpent
from tierwise_router import response_ids

RESPONSES = "/v1/responses"
BLUE, RED = "key-of-blue", "key-of-red"
CLIENTS = Clients({hashlib.sha256(key.encode()).hexdigest(): tenant for key, tenant in ((BLUE, "blue"), (RED, "red"))})
ONE_TENANT = Clients(dict.fromkeys(CLIENTS.tenant_by_key_hash, "blue"))
NOT_FOUND = b'{"error":{"message":"not found","type":"invalid_request_error","param":"response_id","code":404}}'


@dataclass
class Engine:
    """Keeps responses as vLLM does: named by the request's `request_id`, in its own memory."""

    name: str
    kept: dict[str, bytes] = field(default_factory=dict)
    names_itself: bool = False

    def __call__(self, seen: Seen) -> Script:
        path, _, query = seen.target.partition("?")
        if seen.method == "POST" and path == RESPONSES:
            return self._create(orjson.loads(seen.body))
        said = path.removeprefix(RESPONSES + "/").removesuffix("/cancel")
        if said not in self.kept:
            return [answer(NOT_FOUND, 404)]
        if seen.method == "DELETE":
            del self.kept[said]
            return [answer(orjson.dumps({"id": said, "object": "response", "deleted": True}))]
        return self._events(said) if query == "stream=true" else [answer(self.kept[said])]

    def _create(self, body: dict[str, Any]) -> Script:
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self.kept:
            return [answer(NOT_FOUND, 404)]
        made = f"resp_{self.name}{len(self.kept)}" if self.names_itself else body["request_id"]
        said = {"id": made, "object": "response", "model": body["model"], "output": [], "by": self.name}
        self.kept[made] = orjson.dumps(said | {"usage": {"input_tokens": 5, "output_tokens": 2}})
        return self._events(made) if body.get("stream") else [answer(self.kept[made])]

    def _events(self, made: str) -> Script:
        return stream(*events(made, self.kept[made]))


def events(made: str, whole: bytes) -> list[bytes]:
    """As vLLM streams a response."""
    return [
        b'event: response.created\ndata: {"type":"response.created","response":{"id":"%b"}}\n\n' % made.encode(),
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed","response":%b}\n\n' % whole,
    ]


@dataclass
class Scene:
    """Routers over the same servers."""

    routers: list[Router]
    ups: list[Upstream]
    engines: list[Engine]

    async def create(self, router: int, key: str = BLUE, **more: Any) -> Answered:
        """Ask for a response."""
        body = {"model": "auto", "input": "hi"} | more
        return await self.routers[router].ask(post(body, RESPONSES, f"Authorization: Bearer {key}\r\n"))

    async def ask(self, router: int, method: str, rest: str, key: str = BLUE, more: bytes = b"") -> Answered:
        """Ask for one that there is."""
        return await self.routers[router].ask(
            b"%b %b/%b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (method.encode(), RESPONSES.encode(), rest.encode(), key.encode(), len(more), more)
        )


@contextlib.asynccontextmanager
async def scene(
    engines: int = 4, routers: int = 2, provider: bool = False, clients: Clients = CLIENTS
) -> AsyncIterator[Scene]:
    """Some routers over one tier of engines, and perhaps a provider."""
    async with contextlib.AsyncExitStack() as stack:
        players = [Engine(f"e{number}") for number in range(engines)]
        ups = [await stack.enter_async_context(upstream()) for _ in players]
        for up, player in zip(ups, players, strict=True):
            up.choose = player
        tiers = [tier("a", *ups)]
        if provider:
            players.append(Engine("p", names_itself=True))
            ups.append(await stack.enter_async_context(upstream()))
            ups[-1].choose = players[-1]
            tiers.append(tier("p", ups[-1], provider=True))
        served = route(*tiers, clients=clients)
        yield Scene([await stack.enter_async_context(running(served)) for _ in range(routers)], ups, players)


@pytest.mark.parametrize("streamed", [False, True])
async def test_any_router_continues_a_response_where_it_is_kept(streamed: bool) -> None:
    async with scene() as here:
        more: dict[str, Any] = {"stream": True} if streamed else {}
        for turn in range(6):
            first = await here.create(turn % 2, input=f"conversation {turn}", **more)
            (owner,) = [one for one in here.engines if len(one.kept)]
            (made,) = owner.kept
            sent = b"".join(events(made, owner.kept[made])) if streamed else owner.kept[made]
            assert first.body == sent, "the answer passes byte for byte"
            assert response_ids.mark_of(made) is not None
            second = await here.create((turn + 1) % 2, previous_response_id=made, input="something else", **more)
            assert second.status == 200
            assert second.headers["x-tierwise-reason"] == "PreviousResponse"
            assert len(owner.kept) == 2
            owner.kept.clear()
        assert all(not router.state._owners for router in here.routers), "nothing has to be remembered"


async def test_all_but_the_name_of_the_response_goes_upstream_as_it_came() -> None:
    async with scene(engines=1) as here:
        raw = b'{ "input" : "hi", "model":"auto","seed":18446744073709551616,"x":[1.0 ] }'
        await here.routers[0].ask(post(raw, RESPONSES, f"Authorization: Bearer {BLUE}\r\n"))
        (made,) = here.engines[0].kept
        assert here.ups[0].seen[0].body == raw.replace(b"{", b'{"request_id":"%b",' % made.encode(), 1).replace(
            b'"auto"', b'"a-model"'
        )


async def test_a_client_may_choose_the_name_itself_and_the_router_that_saw_it_remembers() -> None:
    async with scene() as here:
        await here.create(0, request_id="resp_mine")
        assert (await here.create(0, previous_response_id="resp_mine")).status == 200
        assert (await here.ask(0, "GET", "resp_mine")).status == 200
        assert (await here.ask(1, "GET", "resp_mine")).code == "response_not_found"
        assert (await here.ask(0, "GET", "resp_mine", RED)).code == "response_not_found"


async def test_any_router_shows_streams_cancels_and_deletes_a_response() -> None:
    async with scene() as here:
        await here.create(0)
        (owner,) = [one for one in here.engines if one.kept]
        (made,) = owner.kept
        for router in (0, 1):
            shown = await here.ask(router, "GET", made)
            assert (shown.status, shown.body) == (200, owner.kept[made])
            assert shown.headers["x-tierwise-tier"] == "a"
            streamed = await here.ask(router, "GET", made + "?stream=true")
            assert streamed.body == b"".join(events(made, owner.kept[made]))
            cancelled = await here.ask(router, "POST", made + "/cancel", more=b"{}")
            assert (cancelled.status, cancelled.body) == (200, owner.kept[made])
        up = here.ups[here.engines.index(owner)]
        assert {seen.method for seen in up.seen[1:]} == {"GET", "POST"}
        assert not any("authorization" in seen.headers for seen in up.seen)
        whole = owner.kept[made]
        assert (await here.ask(1, "DELETE", made)).json["deleted"] is True
        gone = await here.ask(0, "GET", made)
        assert (gone.status, gone.body) == (404, NOT_FOUND), "what the engine says of it"
        assert whole not in gone.body
        records = here.routers[1].records
        assert {record.path for record in records} == {"/v1/responses/ID"}
        assert {(record.status, record.outcome) for record in records} == {(200, "ok")}


async def test_a_response_of_another_tenant_is_not_there() -> None:
    async with scene() as here:
        await here.create(0)
        (owner,) = [one for one in here.engines if one.kept]
        (made,) = owner.kept
        for method, rest in (("GET", made), ("DELETE", made), ("POST", made + "/cancel")):
            assert (await here.ask(1, method, rest, RED)).code == "response_not_found"
        stolen = await here.create(0, RED, previous_response_id=made)
        assert (stolen.status, stolen.code) == (404, "previous_response_not_found")
        assert made in owner.kept
        assert (await here.ask(0, "GET", made, "no-key")).status == 401


async def test_a_replica_that_is_gone_takes_its_responses_along() -> None:
    async with scene() as here:
        await here.create(0)
        (owner,) = [one for one in here.engines if one.kept]
        (made,) = owner.kept
        url = here.ups[here.engines.index(owner)].url
        tier_a = here.routers[1].state.tiers["a"]
        urls = {one.key: one.url for one in tier_a.replicas}
        tier_a.set_replicas(urls, draining=[url])
        assert (await here.ask(1, "GET", made)).status == 200, "one that drains still shows them"
        assert (await here.create(1, previous_response_id=made)).code == "previous_response_not_found"
        tier_a.set_replicas({key: where for key, where in urls.items() if key != url})
        gone = await here.ask(1, "GET", made)
        assert (gone.status, gone.code) == (404, "response_not_found")
        assert gone.json["error"]["type"] == "invalid_request_error"
        continued = await here.create(1, previous_response_id=made)
        assert (continued.status, continued.json["error"]["param"]) == (404, "previous_response_id")


@pytest.mark.parametrize("clients", [ONE_TENANT, Clients()], ids=["keys of one tenant", "open"])
async def test_a_response_of_a_provider_is_continued_and_shown_by_any_router_where_all_are_one_tenant(
    clients: Clients,
) -> None:
    async with scene(provider=True, clients=clients) as here:
        made = (await here.create(0, model="p")).json["id"]
        assert response_ids.mark_of(made) is None
        assert b"request_id" not in here.ups[-1].seen[0].body
        for router in (0, 1):
            continued = await here.create(router, previous_response_id=made)
            assert (continued.status, continued.json["by"]) == (200, "p")
            assert (await here.ask(router, "GET", made)).status == 200
        assert all(seen.headers["authorization"] == "Bearer sk-ours" for seen in here.ups[-1].seen)


async def test_with_several_tenants_only_the_router_that_passed_it_on_asks_a_provider_for_a_response() -> None:
    """The provider knows one key for all of them: what another router does not know could be anybody's."""
    async with scene(provider=True) as here:
        made = (await here.create(0, model="p")).json["id"]
        assert (await here.create(0, previous_response_id=made)).json["by"] == "p"
        assert (await here.ask(0, "GET", made)).status == 200
        asked = len(here.ups[-1].seen)
        for router, key in ((0, RED), (1, RED), (1, BLUE)):
            for method, rest in (("GET", made), ("DELETE", made), ("POST", made + "/cancel")):
                assert (await here.ask(router, method, rest, key)).code == "response_not_found"
            continued = await here.create(router, key, previous_response_id=made)
            assert (continued.status, continued.code) == (404, "previous_response_not_found")
        assert len(here.ups[-1].seen) == asked, "the provider hears nothing of it"


async def test_a_response_of_a_provider_is_continued_by_no_cheaper_tier_when_the_budget_is_spent() -> None:
    async with upstream() as engine, upstream() as provider:
        engine.choose, provider.choose = Engine("e"), Engine("p", names_itself=True)
        tiers = tier("a", engine, tariff=Tariff()), tier("p", provider, provider=True)
        budget = Budget(Decimal("0.000001"), when_spent=WhenSpent.CHEAPER_TIER)
        async with running(route(*tiers, budget=budget)) as router:
            body = {"model": "auto", "input": "hi", "previous_response_id": "resp_p0"}
            got = await router.ask(post(body, RESPONSES))
            assert (got.status, got.code) == (429, "budget_spent")
            assert (engine.seen, provider.seen) == ([], [])


async def test_a_tier_asked_for_by_its_name_is_no_cheaper_one_when_the_budget_is_spent() -> None:
    async with upstream() as engine, upstream() as provider:
        engine.choose, provider.choose = Engine("e"), Engine("p", names_itself=True)
        tiers = tier("a", engine, tariff=Tariff()), tier("p", provider, provider=True)
        budget = Budget(Decimal("0.000001"), when_spent=WhenSpent.CHEAPER_TIER)
        async with running(route(*tiers, budget=budget)) as router:
            got = await router.ask(post({"model": "p", "input": "hi"}, RESPONSES))
            assert (got.status, got.code) == (429, "budget_spent")
            assert (engine.seen, provider.seen) == ([], [])


@pytest.mark.parametrize(
    ("method", "rest", "status"),
    [
        ("PUT", "resp_1", 405),
        ("GET", "resp_1/cancel", 405),
        ("POST", "resp_1", 405),
        ("GET", "resp_1/other", 404),
        ("GET", "", 404),
        ("GET", "..%2f..%2fmetrics", 404),
        ("GET", "a/../b", 404),
        ("GET", response_ids.name("a", "x", "blue", "0" * 32), 404),
        ("GET", "resp_unknown", 404),
    ],
)
async def test_nothing_else_below_the_path_reaches_an_engine(method: str, rest: str, status: int) -> None:
    async with scene(engines=1) as here:
        answered = await here.ask(0, method, rest)
        assert answered.status == status
        assert here.ups[0].seen == []


@pytest.mark.parametrize(
    ("method", "rest"),
    [("GET", ".."), ("DELETE", ".."), ("GET", "."), ("POST", "../cancel"), ("GET", "../input_items"), ("GET", "...")],
)
async def test_no_path_that_leads_elsewhere_reaches_a_provider(method: str, rest: str) -> None:
    async with scene(engines=1, provider=True) as here:
        answered = await here.ask(0, method, rest)
        assert answered.status == 404
        assert here.ups[-1].seen == []


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ([Do.RESET], 502, "upstream_reset"),
        ([answer(b'{"error":{"message":"canary"}}', 500)], 502, "upstream_error"),
        ([answer(b"{}", 503, extra="retry-after: 7\r\n")], 503, "upstream_limited"),
        ([answer(b"{}", 302)], 502, "upstream_protocol"),
        ([answer(b"{}", 403)], 502, "upstream_error"),
    ],
)
async def test_a_replica_that_fails_is_told_of_as_for_any_other_request(script: Script, status: int, code: str) -> None:
    async with scene(engines=1) as here:
        made = (await here.create(0)).json["id"]
        here.ups[0].choose = None
        here.ups[0].default = script
        answered = await here.ask(1, "GET", made)
        assert (answered.status, answered.code) == (status, code)
        assert b"canary" not in answered.body


async def test_a_client_that_goes_while_it_waits_is_not_waited_for() -> None:
    async with scene(engines=1) as here:
        made = (await here.create(0)).json["id"]
        here.ups[0].choose = None
        here.ups[0].default = [Do.HOLD]
        here.ups[0].asked.clear()
        async with here.routers[1].client() as client:
            client.say(f"GET {RESPONSES}/{made} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {BLUE}\r\n\r\n".encode())
            await here.ups[0].asked.wait()
            client.vanish()
            await here.routers[1].until_quiet()
        assert here.routers[1].records[0].outcome == "client_gone"


def test_a_mark_tells_tier_replica_and_tenant_apart_and_nothing_of_them() -> None:
    parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d"), ("", "ab", "c")]
    assert len({response_ids.mark(*one) for one in parts}) == len(parts)
    made = response_ids.name("tier", "6f2c", "blue", "0" * 32)
    assert made.startswith("resp_")
    assert "tier" not in made
    there = [("a", "1"), ("tier", "6f2c"), ("tier", "2")]
    assert response_ids.find(response_ids.mark_of(made) or "", "blue", there) == ("tier", "6f2c")
    assert response_ids.find(response_ids.mark_of(made) or "", "red", there) is None
    for foreign in ("resp_abc", "resp_tw1", "resp_tw1" + "g" * 48, made + "\n", "x" + made, made.upper()):
        assert response_ids.mark_of(foreign) is None


@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_an_answer_that_is_made_in_the_background_costs_what_was_set_aside_for_it(status: str) -> None:
    """A thousand tokens of output at two millionths of a dollar, and one of the prompt."""
    begun = answer(orjson.dumps({"id": "r", "object": "response", "status": status, "output": [], "usage": None}))
    asked = {"model": "auto", "input": "hi", "background": True, "max_output_tokens": 1000}
    async with upstream(default=[begun]) as up:
        served = route(tier("p", up, provider=True), budget=Budget(Decimal("0.003")))
        async with running(served) as router:
            assert (await router.ask(post(asked, RESPONSES))).status == 200
            assert router.records[0].cost == Decimal("0.002001")
            assert (await router.ask(post(asked, RESPONSES))).code == "budget_spent"
