"""Does speculation by schedule stop in the real engine where the batch is large, and come back, without a restart?

Drafts are copied from the answer's own beginning (n-gram), which repeats itself, so nearly all of them are accepted.
Everything runs at temperature 0: at any other the CPU's rejection sampler gives wrong text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from playground.handle import Playground
from tests.cluster.e2e.prometheus import instant
from tests.cluster.kubectl import Kubectl, eventually, ready
from tests.vllm.conftest import SCRAPE_SECONDS, told
from tests.vllm.tiers import ANSWER_SECONDS, READY_SECONDS, client, cycle, tier

pytestmark = pytest.mark.vllm
DRAFTED_UNTIL = 2
ABOVE = 5
RATE_SECONDS = 4 * SCRAPE_SECONDS
TIER = tier(
    "drafting",
    "slow",
    speculation={
        "mode": "Auto",
        "method": "ngram",
        "schedule": [{"fromBatch": 1, "tokens": 3}, {"fromBatch": DRAFTED_UNTIL + 1, "tokens": 0}],
    },
)


@pytest.fixture(scope="module")
def drafting(new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """kubectl in the namespace of a tier that drafts."""
    kubectl = new_namespace("speculation")
    kubectl.apply(TIER)
    with told("waiting for tier drafting"):
        ready(kubectl, "drafting", 1, READY_SECONDS)
    return kubectl


def _value(playground: Playground, query: str) -> float:
    """The value of a query that has one series, 0 while it has none."""
    return sum(value for _, value in instant(playground.prometheus_url, query))


def _metric(name: str) -> str:
    return f'vllm:{name}{{namespace="speculation",model_name="drafting"}}'


DRAFTS, ACCEPTED = _metric("spec_decode_num_drafts_total"), _metric("spec_decode_num_accepted_tokens_total")
DRAFTED = _metric("spec_decode_num_draft_tokens_total")
RUNNING = _metric("num_requests_running")


def _asked(playground: Playground, kubectl: Kubectl, requests: int, tokens: int) -> list[threading.Thread]:
    """So many requests at once, in threads that fail loudly by leaving their answer out of `answers`."""

    def ask() -> None:
        with client(playground, kubectl, "drafting") as asking:
            answer = asking.chat.completions.create(
                model="drafting", messages=[{"role": "user", "content": "Go on."}], max_tokens=tokens, temperature=0
            )
            assert answer.choices[0].message.content == cycle(tokens)

    threads = [threading.Thread(target=ask) for _ in range(requests)]
    for thread in threads:
        thread.start()
    return threads


def _joined(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(ANSWER_SECONDS)
        assert not thread.is_alive()


def test_drafts_stop_above_the_scheduled_batch_and_return_below_it(playground: Playground, drafting: Kubectl) -> None:
    before = [pod["metadata"]["uid"] for pod in drafting.pods("drafting")]

    with told("one request: drafts"):
        _joined(_asked(playground, drafting, 1, 400))
        eventually(lambda: _value(playground, DRAFTS), lambda drafts: drafts > 20, 60, "drafts are counted")
        drafted, accepted = _value(playground, DRAFTED), _value(playground, ACCEPTED)
        assert accepted > 0.8 * drafted > 0

    rate = f"rate({DRAFTS}[{RATE_SECONDS}s])"
    with told(f"{ABOVE} requests: no drafts"):
        many = _asked(playground, drafting, ABOVE, 1500)
        eventually(
            lambda: (_value(playground, f"min_over_time({RUNNING}[{RATE_SECONDS}s])"), _value(playground, rate)),
            lambda seen: seen == (float(ABOVE), 0.0),
            ANSWER_SECONDS,
            "no draft while the batch is above the schedule",
        )
        _joined(many)

    with told("one request: drafts again"):
        eventually(lambda: _value(playground, RUNNING), lambda running: running == 0, 60, "the batch is empty")
        drafts = _value(playground, DRAFTS)
        one = _asked(playground, drafting, 1, 1500)
        eventually(lambda: _value(playground, rate), lambda per_second: per_second > 1, 60, "drafts again")
        _joined(one)
        assert _value(playground, DRAFTS) > drafts + 20

    after = drafting.pods("drafting")
    assert [pod["metadata"]["uid"] for pod in after] == before
    assert [status["restartCount"] for pod in after for status in pod["status"]["containerStatuses"]] == [0]
