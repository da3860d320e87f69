"""An adapter of a tier is a model of the route: it is listed, and asked of the engine by its own name."""

from __future__ import annotations

import orjson

from tests.unit.router.running_router import chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, Upstream, answer, upstream

MODELS = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"


def asked(up: Upstream) -> list[str]:
    return [orjson.loads(each.body)["model"] for each in up.seen]


async def test_adapters_are_models_of_the_route_and_reach_the_tier_that_has_them() -> None:
    async with upstream(default=[COMPLETION]) as plain, upstream(default=[COMPLETION]) as tuned:
        tiers = tier("plain", plain), tier("tuned", tuned, adapters=("legal", "medical:2"))
        async with running(route(*tiers)) as router:
            listed = (await router.ask(MODELS)).json["data"]
            assert [each["id"] for each in listed] == ["auto", "plain", "tuned", "legal", "medical:2"]
            for model, status in (("auto", 200), ("legal", 200), ("medical:2", 200), ("poetry", 404)):
                assert (await router.ask(post(chat(model=model)))).status == status
        assert asked(plain) == ["plain-model"]
        assert asked(tuned) == ["legal", "medical:2"]


async def test_another_tier_with_the_adapter_answers_where_the_first_cannot() -> None:
    async with upstream(default=[answer(b"{}", 503)]) as broken, upstream(default=[COMPLETION]) as whole:
        tiers = tier("a", broken, adapters=("legal",)), tier("b", whole, adapters=("legal",))
        async with running(route(*tiers)) as router:
            assert (await router.ask(post(chat(model="legal")))).status == 200
        assert asked(whole) == ["legal"]
