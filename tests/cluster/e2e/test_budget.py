"""Checks a budget on a cluster: four routers, a router that is killed, an operator that starts again, one dollar."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import openai
import pytest

from playground.demo.scenario import provider
from playground.handle import Playground
from playground.release import Release
from tests.cluster.kubectl import Kubectl, Object, columns, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
NAMESPACE, START = "budget", 120.0
INPUT, OUTPUT = Decimal(100), Decimal(1000)  # US dollars per million tokens: some hundred requests are a dollar
TOKENS = 8


def _bought() -> dict[str, Any]:
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": "bought"},
        "spec": {
            "external": {
                "apiKeySecretRef": {"name": "provider", "key": "token"},
                "baseURL": f"http://provider.{NAMESPACE}.svc.cluster.local/v1",
                "model": "frontier",
                "prices": {"input": f"{INPUT}", "output": f"{OUTPUT}"},
            }
        },
    }


def _route() -> dict[str, Any]:
    spec = {"tiers": [{"name": "bought"}], "budget": {"amount": "1"}, "replicas": 4, "drainSeconds": 5}
    return {"apiVersion": "tierwise.io/v1alpha1", "kind": "ModelRoute", "metadata": {"name": "chat"}, "spec": spec}


def _seen(kubectl: Kubectl) -> Object:
    found = kubectl.get("modelroute", "chat")
    assert found is not None
    status: Object = found.get("status", {})
    return status


class _Clients:
    """Threads that ask until the budget is said to be spent for good, or the time is up."""

    def __init__(self, url: str, proxy: str, count: int) -> None:
        self.paid: list[Decimal] = []
        self.refusals = self.failures = 0
        self._url, self._proxy = url, proxy
        self._until = time.monotonic() + 150
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        http = openai.DefaultHttpxClient(proxy=self._proxy)
        with openai.OpenAI(base_url=self._url, api_key="none", max_retries=0, http_client=http, timeout=30) as client:
            final = 0
            while time.monotonic() < self._until and final < 40:
                try:
                    answer = client.chat.completions.create(
                        model="chat", messages=[{"role": "user", "content": "hello"}], max_tokens=TOKENS
                    )
                except openai.RateLimitError as error:
                    self.refusals += 1
                    final = final + 1 if error.response.headers.get("x-should-retry") == "false" else 0
                    time.sleep(0.25)
                except openai.OpenAIError:
                    self.failures += 1  # of the router that is killed
                    time.sleep(0.25)
                else:
                    assert answer.usage is not None
                    used = answer.usage.prompt_tokens * INPUT + answer.usage.completion_tokens * OUTPUT
                    self.paid.append(used / 1_000_000)

    @property
    def spent(self) -> Decimal:
        return sum(self.paid, Decimal(0))

    def end(self) -> None:
        for thread in self._threads:
            thread.join(200)


def test_four_routers_spend_a_dollar_and_not_more(
    playground: Playground, release: Release, operator: Kubectl, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace(NAMESPACE)
    stub = [{**each, "metadata": {**each["metadata"], "namespace": NAMESPACE}} for each in provider()]
    kubectl.apply(*stub, _bought(), _route())
    ready = eventually(
        lambda: _seen(kubectl), lambda seen: seen.get("ready") == "4/4", START, "the route has four routers"
    )
    kubectl("rollout", "status", "deployment", "provider", "--timeout=180s", timeout=210)
    assert len(ready["budget"]["leases"]) == 4
    clients = _Clients(ready["url"], playground.proxy_url, 6)
    eventually(lambda: clients.spent, lambda spent: spent > Decimal("0.15"), 60, "something is spent")
    eventually(lambda: _seen(kubectl), lambda seen: seen.get("share") == "100", 60, "the traffic is measured")
    measured = [each["reason"] for each in _seen(kubectl)["conditions"] if each["type"] == "MetricsAvailable"]
    assert measured == ["MetricsFound"]
    head, row = kubectl("get", "mr", "chat").splitlines()
    shown = columns(head, row)
    gone = kubectl.find("pods", "tierwise.io/route=chat")[0]["metadata"]["name"]
    kubectl("delete", "pod", gone, "--grace-period=0", "--force", "--wait=false")
    eventually(lambda: _seen(kubectl)["budget"], lambda seen: Decimal(seen["vanished"]) > 0, 60, "its lease is spent")
    operator("rollout", "restart", "deployment", "tierwise")
    operator("rollout", "status", "deployment", "tierwise", "--timeout=180s", timeout=210)
    clients.end()
    status = eventually(
        lambda: _seen(kubectl), lambda seen: Decimal(seen["budget"]["spent"]) >= clients.spent, 60, "all is told"
    )
    print(f"paid {clients.spent}, status {status['budget']}, refusals {clients.refusals}, failures {clients.failures}")
    assert Decimal("0.5") < clients.spent <= 1
    assert Decimal(status["budget"]["spent"]) <= Decimal("1.000001")
    assert status["spent"].endswith("/1")
    assert shown["SHARE"] == "100", (head, row)
    assert float(shown["REQ/S"]) > 0, (head, row)
    assert shown["SPENT"].endswith("/1"), (head, row)
