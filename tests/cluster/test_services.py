"""Checks that Services of the playground forward, take turns, refuse and have names as on a cluster."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from playground.handle import Playground
from tests.cluster.kubectl import eventually
from tests.cluster.pods import Room, echo, new_room, pod, service

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def room(playground: Playground) -> Iterator[Room]:
    with new_room(playground, "services") as made:
        items = [pod(name, echo(args=["--host", "0.0.0.0", "--port", "8000"])) for name in ("one", "two")]
        for item in items:
            item["metadata"]["labels"] = {"app": "pair"}
            item["spec"]["containers"][0]["ports"][0]["containerPort"] = 8000
        made.ready(*items, pod("asker", echo()))
        made.kubectl.apply(service("pair"), service("asker"), service("nobody"))
        for name in ("pair", "asker"):
            eventually(lambda name=name: made.fetch(name)[0], lambda code: code == 200, 60, name)  # type: ignore[misc]
        eventually(lambda: endpoints(made), lambda n: n == 2, 60, "two endpoints")
        # What forwards hears of endpoints by a watch of its own.
        eventually(lambda: hosts(made, 6), lambda seen: seen == {"one": 3, "two": 3}, 60, "both take connections")
        yield made


def endpoints(room: Room) -> int:
    slices = room.kubectl.find("endpointslices", "kubernetes.io/service-name=pair")
    return sum(bool(e["conditions"]["ready"]) for part in slices for e in part["endpoints"])


def hosts(room: Room, count: int) -> Counter[str]:
    """Who answers so many requests to the pair; what is no answer of a pod counts as its status."""
    answers = [room.fetch("pair") for _ in range(count)]
    return Counter(json.loads(body)["host"] if code == 200 else f"status {code}" for code, body in answers)


def test_two_pods_on_the_same_port_take_turns(room: Room) -> None:
    assert hosts(room, 20) == {"one": 10, "two": 10}


def test_every_form_of_the_name_leads_to_the_service(room: Room) -> None:
    namespace = room.kubectl.namespace
    for name in ("pair", f"pair.{namespace}", f"pair.{namespace}.svc", f"pair.{namespace}.svc.cluster.local"):
        code, body = room.from_pod("asker", f"http://{name}/")
        assert (code, json.loads(body)["host"] in ("one", "two")) == (200, True), name
    code, body = room.from_pod("asker", "http://pair.default/")
    assert code == 502
    assert "not known" in body
    code, body = room.from_pod("asker", "http://example.com/")
    assert code == 502


def test_a_headless_name_is_the_pods_themselves(room: Room) -> None:
    room.kubectl.apply({**service("bare", clusterIP="None"), "metadata": {"name": "bare"}})
    room.kubectl("patch", "service", "bare", "-p", '{"spec":{"selector":{"app":"pair"}}}')
    found = set()
    for _ in range(10):
        answer = eventually(
            lambda: room.from_pod("asker", "http://bare:8000/"), lambda a: a[0] == 200, 60, "bare answers"
        )
        found.add(json.loads(answer[1])["host"])
    assert found <= {"one", "two"}


def test_a_service_without_endpoints_refuses(room: Room) -> None:
    code, body = room.from_pod("asker", "http://nobody/")
    assert code == 502
    assert "refused" in body


def test_streams_pass_as_they_come(room: Room) -> None:
    code, body = room.from_pod("asker", "http://pair/stream")
    assert (code, body.count("chunk")) == (200, 10)


def test_a_pod_that_leaves_gets_no_more_connections(room: Room) -> None:
    room.kubectl("delete", "pod", "two", "--wait=false")
    eventually(lambda: endpoints(room), lambda n: n == 1, 60, "one endpoint")
    eventually(lambda: hosts(room, 6), lambda seen: seen == {"one": 6}, 60, "only the other one is asked")
    assert hosts(room, 6) == {"one": 6}, "and it stays so"
