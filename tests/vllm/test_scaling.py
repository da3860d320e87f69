"""Checks that the real engine's own metrics move replicas, and that a removed engine finishes what it began.

U users in a closed loop keep U requests in the tier, so n = ceil(U / (C + q)) is known beforehand: C requests run at
once in one replica, q may wait. The model has 64 layers, so that a request lasts long enough to queue behind.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable

import pytest
import requests

from playground.handle import Playground
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.record import recorded
from tests.cluster.kubectl import Kubectl, eventually, has, ready
from tests.vllm.conftest import say, told
from tests.vllm.tiers import ANSWER_SECONDS, READY_SECONDS, base_url, cycle, tier
from tierwise.act.render.pod import PRE_STOP_SECONDS

pytestmark = pytest.mark.vllm
USERS, SEQUENCES, WAITING, WINDOW = 9, 4, 1, 15
EXPECTED = math.ceil(USERS / (SEQUENCES + WAITING))
TIER = tier(
    "deep",
    "slow",
    batching={"maxSequences": SEQUENCES, "maxBatchedTokens": 2048},
    scaling={"minReplicas": 1, "maxReplicas": 2, "waitingPerReplica": WAITING, "scaleDownWindowSeconds": WINDOW},
)


@pytest.fixture(scope="module")
def deep(serve: Callable[..., Kubectl]) -> Kubectl:
    """kubectl in the namespace of a tier whose one engine serves."""
    return serve("scaling", TIER)


def test_an_engine_that_goes_away_sends_an_open_stream_to_its_end(playground: Playground, deep: Kubectl) -> None:
    tokens = 1000
    stream = _Stream(playground, f"{base_url(deep, 'deep')}/v1/chat/completions", tokens)
    stream.start()
    eventually(lambda: stream.text, lambda text: len(text) > 5, ANSWER_SECONDS, "the stream has begun")
    (pod,) = deep.pods("deep")
    deleted = time.monotonic()
    deep("delete", "pod", pod["metadata"]["name"], "--wait=false")
    with told(f"reading {tokens} tokens from a pod that was deleted"):
        stream.join(ANSWER_SECONDS)
    assert stream.ended > deleted + PRE_STOP_SECONDS + 1, "it has to last longer than the pod's preStop hook"
    assert (stream.failure, stream.text) == ("", cycle(tokens))
    assert stream.reasons == ["length"]
    assert stream.last == "data: [DONE]"
    ready(deep, "deep", 1, READY_SECONDS)


def test_load_moves_the_replicas_of_the_real_engine_from_one_to_two_and_back(
    playground: Playground, deep: Kubectl
) -> None:
    ready(deep, "deep", 1, READY_SECONDS)
    with recorded(deep, "deployment", "deep-predictor", ".spec.replicas") as replicas:
        eventually(lambda: replicas.last, lambda value: value == 1, 60, "one replica without load")
        with closed_loop(playground, deep.namespace, {"deep": USERS}), told(f"{USERS} users ask one engine"):
            eventually(lambda: replicas.last, lambda value: value == EXPECTED, 120, f"{EXPECTED} replicas")
            say(f"the operator asked for {EXPECTED} replicas")
            seen = eventually(
                lambda: deep.tier("deep"),
                lambda tier: tier["status"].get("readyReplicas") == EXPECTED,
                READY_SECONDS,
                f"{EXPECTED} engines that serve",
            )
            assert seen["status"]["scaling"]["decisions"][0]["to"] == EXPECTED
            eventually(
                lambda: deep.tier("deep"), lambda tier: has(tier, "MetricsAvailable", "True"), 60, "both are measured"
            )
        with told("without load again"):
            eventually(lambda: replicas.last, lambda value: value == 1, WINDOW + 180, "back to one replica")
    assert replicas.values == [1, EXPECTED, 1]


class _Stream(threading.Thread):
    """One streamed answer, line by line as it came over the wire: clients hide the last one."""

    def __init__(self, playground: Playground, url: str, tokens: int) -> None:
        super().__init__(daemon=True)
        self._proxy, self._url, self._tokens = playground.proxy_url, url, tokens
        self.text, self.last, self.failure, self.ended = "", "", "", 0.0
        self.reasons: list[str] = []

    def run(self) -> None:
        body = {
            "model": "deep",
            "messages": [{"role": "user", "content": "Say it at length."}],
            "max_tokens": self._tokens,
            "temperature": 0,
            "stream": True,
        }
        try:
            with requests.post(
                self._url, json=body, stream=True, proxies={"http": self._proxy}, timeout=ANSWER_SECONDS
            ) as answer:
                for line in answer.iter_lines(chunk_size=None, decode_unicode=True):
                    self._take(line)
        except requests.RequestException as error:
            self.failure = repr(error)
        self.ended = time.monotonic()

    def _take(self, line: str) -> None:
        if not line:
            return
        self.last = line
        if line == "data: [DONE]":
            return
        for choice in json.loads(line.removeprefix("data: "))["choices"]:
            self.text += choice["delta"].get("content") or ""
            if choice["finish_reason"]:
                self.reasons.append(choice["finish_reason"])
