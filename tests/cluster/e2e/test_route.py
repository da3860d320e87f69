"""Checks a ModelRoute from one end to the other: the official client, two tiers, and what goes wrong meanwhile."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from playground.handle import Playground
from tests.cluster.e2e.streams import Streams, faults
from tests.cluster.e2e.tiers import cheap, external, route
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has, ready

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
START, AWAY_SECONDS = 180.0, 15.0
TOOLS = {"name": "tools", "match": {"tools": True}, "tier": "large"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CHILDREN = (
    ("deployment", "chat-router"),
    ("service", "chat"),
    ("serviceaccount", "chat-router"),
    ("rolebinding", "chat-router.tierwise-router"),
    ("poddisruptionbudget", "chat-router"),
)


@pytest.fixture(scope="module")
def kubectl(new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """A namespace with a route over two served tiers, all of it ready."""
    made = new_namespace("route")
    made.apply(
        cheap("small", replicas=2),
        cheap("large", replicas=1),
        route("chat", "small", "large", policy={"rules": [TOOLS]}),
    )
    ready(made, "small", 2, START)
    ready(made, "large", 1, START)
    served(made)
    return made


def served(kubectl: Kubectl, name: str = "chat", routers: int = 2) -> Object:
    """The route once all of its routers and tiers answer."""
    return eventually(
        lambda: _route(kubectl, name),
        lambda seen: has(seen, "Ready", "True", "RouteReady") and seen["status"]["ready"] == f"{routers}/{routers}",
        START,
        f"the route {name} is ready with {routers} routers",
    )


def _route(kubectl: Kubectl, name: str) -> Object:
    found = kubectl.get("modelroute", name)
    assert found is not None
    return found


@pytest.fixture
def client(playground: Playground, kubectl: Kubectl) -> Iterator[openai.OpenAI]:
    """The official client, with the address that the status shows. It tries nothing twice."""
    url = _route(kubectl, "chat")["status"]["url"]
    http = openai.DefaultHttpxClient(proxy=playground.proxy_url)
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, http_client=http, timeout=60) as made:
        yield made


def _ask(client: openai.OpenAI, model: str, **fields: Any) -> tuple[str, str]:
    """The tier that answered, and the model that the answer names."""
    answer = client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=8,
        **fields,
    )
    parsed = answer.parse()
    assert parsed.usage is not None
    assert parsed.usage.completion_tokens == 8
    return answer.headers["x-tierwise-tier"], parsed.model


def test_the_official_client_reaches_both_tiers_by_name_and_by_rule(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["chat", "small", "large"]
    assert _ask(client, "small") == ("small", "small")
    assert _ask(client, "large") == ("large", "large")
    assert _ask(client, "chat") == ("small", "small")
    assert _ask(client, "chat", tools=[TOOL]) == ("large", "large")
    with client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "hello"}], max_tokens=8, stream=True
    ) as stream:
        assert [chunk.model for chunk in stream][-1] == "small"


def test_the_columns_show_what_a_user_asks_first(kubectl: Kubectl) -> None:
    head, row = kubectl("get", "mr", "chat").splitlines()
    assert " ".join(head.split()) == "NAME URL TIERS REQ/S SHARE SAVED QUALITY $/H SPENT STATUS AGE"
    assert row.split()[:3] == ["chat", "http://chat.route.svc/v1", "2/2"]
    assert row.split()[-2] == "Ready"
    head, _ = kubectl("get", "mr", "chat", "-o", "wide").splitlines()
    wide = "MODEL NAMES WAITING SPILLED FALLBACKS P95 TTFT SAVED AT LEAST PRESSED ROUTERS REASON AGE"
    assert " ".join(head.split()).endswith(wide)


def test_a_replica_is_killed_and_no_request_that_had_no_byte_fails(
    playground: Playground, kubectl: Kubectl, tmp_path: Path
) -> None:
    order = {"model": "small", "streams": [], "users": 6, "new_tokens": 4}
    clients = Streams(playground, kubectl, tmp_path, order)
    eventually(clients.seen, bool, START, "the users are answered")
    kubectl(
        "delete", "pod", kubectl.pods("small")[0]["metadata"]["name"], "--grace-period=0", "--force", "--wait=false"
    )
    time.sleep(5)
    seen = clients.end(60)
    assert len(seen) > 20
    # What had a byte may be cut by the kill, and is told so; what had none is answered by the other replica.
    early = [each for each in seen if not each.whole and each.tokens == 0 and each.fault not in ("error chunk",)]
    assert faults(early) == Counter()
    ready(kubectl, "small", 2, START)


def test_a_tier_shrinks_under_open_streams_and_none_is_cut(
    playground: Playground, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl("patch", "modeltier", "small", "--type=merge", "-p", '{"spec": {"drainSeconds": 120}}')
    eventually(lambda: _settled(kubectl, "small", 2), bool, START, "both replicas have the new drain")
    served(kubectl)
    order = {"model": "small", "streams": [600] * 8, "users": 2}
    clients = Streams(playground, kubectl, tmp_path, order)
    clients.all_open()
    kubectl("scale", "modeltier", "small", "--replicas=1")
    eventually(lambda: len(_alive(kubectl, "small")), lambda count: count == 1, 60, "one replica ends")
    seen = clients.end(180)
    assert faults(seen) == Counter()
    assert Counter(each.kind for each in seen)["stream"] == 8


def test_routers_are_replaced_under_open_streams_and_none_is_cut(
    playground: Playground, kubectl: Kubectl, tmp_path: Path
) -> None:
    before = {pod["metadata"]["name"] for pod in kubectl.find("pods", "tierwise.io/route=chat")}
    clients = Streams(playground, kubectl, tmp_path, {"model": "large", "streams": [500] * 6, "users": 2})
    clients.all_open()
    kubectl("rollout", "restart", "deployment", "chat-router")
    kubectl("rollout", "status", "deployment", "chat-router", "--timeout=180s", timeout=210)
    seen = clients.end(120)
    assert faults(seen) == Counter()
    assert Counter(each.kind for each in seen)["stream"] == 6
    served(kubectl)
    # A router that drains is still there, and ready, while its last answers end.
    stay = [pod for pod in kubectl.find("pods", "tierwise.io/route=chat") if "deletionTimestamp" not in pod["metadata"]]
    assert not before & {pod["metadata"]["name"] for pod in stay}


def test_while_the_api_server_is_away_everybody_is_answered(
    playground: Playground, kubectl: Kubectl, tmp_path: Path
) -> None:
    clients = Streams(playground, kubectl, tmp_path, {"model": "small", "streams": [400] * 2, "users": 4})
    clients.all_open()
    playground.control("stop", "kube-apiserver")
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        playground.control("start", "kube-apiserver")
    seen = clients.end(90)
    assert faults(seen) == Counter()
    assert len(seen) > 20
    served(kubectl)
    kubectl("delete", "pod", _alive(kubectl, "small")[0]["metadata"]["name"], "--wait=false")
    ready(kubectl, "small", 1, START)
    served(kubectl)


def _alive(kubectl: Kubectl, tier: str) -> list[Object]:
    return [pod for pod in kubectl.pods(tier) if "deletionTimestamp" not in pod["metadata"]]


def _settled(kubectl: Kubectl, tier: str, replicas: int) -> bool:
    pods = kubectl.pods(tier)
    graces = {pod["spec"]["terminationGracePeriodSeconds"] for pod in pods}
    return len(pods) == replicas and graces == {160} and has(kubectl.tier(tier), "Ready", "True")


@pytest.mark.parametrize("number", range(len(CHILDREN)), ids=[kind for kind, _ in CHILDREN])
def test_what_is_deleted_is_made_again(kubectl: Kubectl, number: int) -> None:
    kind, name = CHILDREN[number]
    before = kubectl.get(kind, name)
    assert before is not None
    kubectl("delete", kind, name, "--wait=false")
    again = eventually(
        lambda: kubectl.get(kind, name),
        lambda found: found is not None and found["metadata"]["uid"] != before["metadata"]["uid"],
        60,
        f"the {kind} is made again",
    )
    assert again is not None
    assert again["metadata"]["ownerReferences"][0]["kind"] == "ModelRoute"


def test_what_is_edited_is_put_back(kubectl: Kubectl) -> None:
    served(kubectl)
    kubectl("patch", "service", "chat", "--type=merge", "-p", '{"spec": {"selector": {"tierwise.io/route": "nobody"}}}')
    kubectl("scale", "deployment", "chat-router", "--replicas=1")
    healed = eventually(
        lambda: [kubectl.get("service", "chat"), kubectl.get("deployment", "chat-router")],
        lambda seen: (
            [each["spec"].get("replicas", each["spec"]["selector"].get("tierwise.io/route")) for each in seen if each]
            == ["chat", 2]
        ),
        60,
        "both are as rendered",
    )
    assert all(each is not None and each["metadata"]["ownerReferences"][0]["name"] == "chat" for each in healed)


def test_the_routers_ask_for_nothing_that_they_may_not(playground: Playground, kubectl: Kubectl) -> None:
    del playground
    role = kubectl.get("clusterrole", "tierwise-router")
    assert role is not None
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["modelroutes"], ["list", "watch"]),
        (["endpointslices"], ["list", "watch"]),
    ]


def test_with_client_keys_only_those_who_have_one_are_answered(kubectl: Kubectl, client: openai.OpenAI) -> None:
    key = "client-key-1"
    digest = hashlib.sha256(key.encode()).hexdigest()
    kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"blue": digest}})
    kubectl.apply(route("locked", "large", clients={"secretName": "keys"}, replicas=1))
    url = served(kubectl, "locked", 1)["status"]["url"]
    with pytest.raises(openai.AuthenticationError):
        _ask(client.with_options(base_url=url), "locked")
    assert _ask(client.with_options(base_url=url, api_key=key), "locked") == ("large", "large")
    kubectl("delete", "modelroute", "locked")


def test_a_secret_that_is_missing_keeps_new_routers_from_starting_and_old_ones_serve(
    kubectl: Kubectl, client: openai.OpenAI
) -> None:
    served(kubectl)
    kubectl.apply(external("bought"), route("chat", "small", "large", "bought", policy={"rules": [TOOLS]}))
    eventually(
        lambda: _staying(kubectl),
        lambda pods: len(pods) == 3 and sum(not _answers(pod) for pod in pods) == 1,
        60,
        "a third router waits for the Secret",
    )
    said = eventually(
        lambda: _route(kubectl, "chat"),
        lambda seen: has(seen, "Provisioned", "False", "ConfigMissing"),
        90,
        "the condition says that a Secret may be missing",
    )
    assert "Secret api-key (key token)" in conditions(said)["Provisioned"]["message"]
    assert (said["status"]["state"], has(said, "Ready", "True")) == ("Degraded", True)
    assert _ask(client, "chat") == ("small", "small")
    kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-key"}, "stringData": {"token": "k"}})
    eventually(
        lambda: [model.id for model in client.models.list()],
        lambda models: models == ["chat", "small", "large", "bought"],
        120,
        "the routers with the Secret serve the third tier",
    )
    served(kubectl)
    kubectl.apply(route("chat", "small", "large", policy={"rules": [TOOLS]}))


def _staying(kubectl: Kubectl) -> list[Object]:
    """The routers that are not on their way out: those of the test before may still drain."""
    return [pod for pod in kubectl.find("pods", "tierwise.io/route=chat") if "deletionTimestamp" not in pod["metadata"]]


def _answers(pod: Object) -> bool:
    found = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


def test_a_route_says_what_is_wrong_and_serves_the_rest(kubectl: Kubectl, client: openai.OpenAI) -> None:
    served(kubectl)
    kubectl.apply(route("chat", "small", "large", "absent", policy={"rules": [TOOLS]}), route("twin", "large"))
    missing = eventually(
        lambda: _route(kubectl, "chat"), lambda seen: has(seen, "Accepted", "False", "TierNotFound"), 30, "it says so"
    )
    assert "absent" in conditions(missing)["Accepted"]["message"]
    assert missing["status"]["state"] == "Degraded"
    assert _ask(client, "small")[0] == "small"
    kubectl("patch", "modelroute", "twin", "--type=merge", "-p", '{"spec": {"modelNames": ["chat"]}}')
    eventually(
        lambda: _route(kubectl, "twin"), lambda seen: has(seen, "Accepted", "False", "ModelNameTaken"), 30, "it says so"
    )
    assert not has(_route(kubectl, "chat"), "Accepted", "False", "ModelNameTaken")
    kubectl("delete", "modelroute", "twin")


def test_a_deleted_route_takes_everything_with_it(kubectl: Kubectl) -> None:
    kubectl("delete", "modelroute", "chat")
    for kind, name in CHILDREN:
        eventually(lambda: kubectl.get(kind, name), lambda found: found is None, 60, f"the {kind} is gone")  # noqa: B023
    assert kubectl.get("modeltier", "small") is not None
