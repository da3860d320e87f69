"""Checks that in the real engine speculation by schedule stops at a large batch and resumes, without a restart.

Drafts are copied from the answer's own beginning (n-gram), which repeats itself, so nearly all of them are accepted.
Everything runs at temperature 0: at any other the CPU's rejection sampler gives wrong text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from playground.handle import Playground
from tests.cluster.e2e.prometheus import instant
from tests.cluster.kubectl import Kubectl, eventually
from tests.vllm.conftest import SCRAPE_SECONDS, told
from tests.vllm.tiers import ANSWER_SECONDS, client, cycle, tier

pytestmark = pytest.mark.vllm
DRAFTED_UNTIL = 2
ABOVE = 5
FEW, MANY = 400, 1500  # tokens
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
def drafting(serve: Callable[..., Kubectl]) -> Kubectl:
    """kubectl in the namespace of a tier that drafts."""
    return serve("speculation", TIER)


def _value(playground: Playground, query: str) -> float:
    """The value of a query that has one series, 0 while it has none."""
    return sum(value for _, value in instant(playground.prometheus_url, query))


def _metric(name: str) -> str:
    return f'vllm:{name}{{namespace="speculation",model_name="drafting"}}'


DRAFTS, ACCEPTED = _metric("spec_decode_num_drafts_total"), _metric("spec_decode_num_accepted_tokens_total")
DRAFTED = _metric("spec_decode_num_draft_tokens_total")
RUNNING = _metric("num_requests_running")


@dataclass(frozen=True, slots=True)
class Asking:
    """Requests to the tier, each in a thread of its own."""

    pool: ThreadPoolExecutor
    playground: Playground
    kubectl: Kubectl

    def begin(self, requests: int, tokens: int) -> list[Future[str]]:
        """So many requests at once; their answers, once there are any."""
        return [self.pool.submit(self._ask, tokens) for _ in range(requests)]

    def _ask(self, tokens: int) -> str:
        with client(self.playground, self.kubectl, "drafting") as asking:
            answer = asking.chat.completions.create(
                model="drafting", messages=[{"role": "user", "content": "Go on."}], max_tokens=tokens, temperature=0
            )
        return answer.choices[0].message.content or ""


@pytest.fixture
def asking(playground: Playground, drafting: Kubectl) -> Iterator[Asking]:
    """Requests to the tier that drafts; all are answered, or have failed, at the end of the test."""
    with ThreadPoolExecutor(ABOVE) as pool:
        yield Asking(pool, playground, drafting)


def _answers(begun: list[Future[str]]) -> list[str]:
    """The answers. Raises what went wrong with one."""
    return [each.result(ANSWER_SECONDS) for each in begun]


def test_drafts_stop_above_the_scheduled_batch_and_return_below_it(
    playground: Playground, drafting: Kubectl, asking: Asking
) -> None:
    before = [pod["metadata"]["uid"] for pod in drafting.pods("drafting")]

    with told("one request: drafts"):
        assert _answers(asking.begin(1, FEW)) == [cycle(FEW)]
        eventually(lambda: _value(playground, DRAFTS), lambda drafts: drafts > 20, 60, "drafts are counted")
        drafted, accepted = _value(playground, DRAFTED), _value(playground, ACCEPTED)
        assert accepted > 0.8 * drafted > 0

    rate = f"rate({DRAFTS}[{RATE_SECONDS}s])"
    with told(f"{ABOVE} requests: no drafts"):
        many = asking.begin(ABOVE, MANY)
        eventually(
            lambda: (_value(playground, f"min_over_time({RUNNING}[{RATE_SECONDS}s])"), _value(playground, rate)),
            lambda seen: seen == (float(ABOVE), 0.0),
            ANSWER_SECONDS,
            "no draft while the batch is above the schedule",
        )
        assert _answers(many) == [cycle(MANY)] * ABOVE

    with told("one request: drafts again"):
        eventually(lambda: _value(playground, RUNNING), lambda running: running == 0, 60, "the batch is empty")
        drafts = _value(playground, DRAFTS)
        one = asking.begin(1, MANY)
        eventually(lambda: _value(playground, rate), lambda per_second: per_second > 1, 60, "drafts again")
        assert _answers(one) == [cycle(MANY)]
        assert _value(playground, DRAFTS) > drafts + 20

    after = drafting.pods("drafting")
    assert [pod["metadata"]["uid"] for pod in after] == before
    assert [status["restartCount"] for pod in after for status in pod["status"]["containerStatuses"]] == [0]
