"""Checks what clients of a route see while its replicas and routers fail: killed, hung, slow, all of them full.

Two routers over two served tiers and a provider. Every client knows what each engine would answer and judges every
request: answered whole, refused by an OpenAI error, or ended by an error after its first byte; nothing else may happen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from playground.release import Release
from tests.cluster.kubectl import Object, ready
from tests.faults import verdict
from tests.faults.asking import Told
from tests.faults.clients import count, median, quantile, recovered, whole, wrong
from tests.faults.provider import Fault
from tests.faults.results import Sheet
from tests.faults.routes import START, Routes, kill, restarted, routed, since, told_until, wait

pytestmark = pytest.mark.cluster
FIRST_TOKEN_SECONDS, GAP_SECONDS, REQUEST_SECONDS = 10, 10, 60
HANG_SECONDS, SLOW_SECONDS, FULL_SECONDS = 75.0, 45.0, 30.0
QUEUE = 12  # in each router; all users fit into one when a replica is lost
FAILURES = "tierwise_router_attempt_failures_total{"
USERS, FULL_USERS = 16, 150  # all replicas and queues of both routers hold 36


@pytest.fixture(scope="module")
def module_routes(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    """Three replicas of the first tier, that decode four answers at a time each."""
    small = {"replicas": 3, "batching": {"maxSequences": 4}, "drainSeconds": 30}
    deadlines = {
        "requestSeconds": REQUEST_SECONDS,
        "firstTokenSeconds": FIRST_TOKEN_SECONDS,
        "tokenGapSeconds": GAP_SECONDS,
    }
    spec = {"deadlines": deadlines, "queue": {"maxRequests": QUEUE, "timeoutSeconds": 30}}
    with routed(release, "route-replicas", tmp_path_factory.mktemp("replicas"), small, spec) as made:
        yield made


@pytest.fixture
def routes(module_routes: Routes) -> Routes:
    """The route, all of it well, and its own wrong writes."""
    ready(module_routes.kubectl, "small", 3, START)
    module_routes.served()
    module_routes.ledger.restart()
    return module_routes


def warm(told: list[Told]) -> bool:
    """Whether all of the clients have been answered some times."""
    return len(whole(told)) > 2 * USERS


def test_a_replica_is_killed_before_and_after_the_first_byte(routes: Routes, faults: Sheet) -> None:
    """Who had a byte is told; who had none is answered by another replica. What is not streamed has none to the end."""
    with routes.clients(model="small", users=USERS, tokens=60, whole_share=0.5) as clients:
        told_until(clients, warm, START, "clients are answered")
        pod = routes.busiest("small")
        at = time.time()
        before = routes.metric(FAILURES)
        routes.tell(pod, "/sim/die", {"exit_code": 1})
        restarted(routes, pod)
        again = time.time() - at
        wait(5.0)
        told = clients.end()
    failures = routes.metric(FAILURES) - before
    broken = [each for each in told if each.verdict == verdict.BROKEN]
    faults.record(
        row="route replica",
        fault="A replica is killed under a route, before and after first bytes",
        detect_seconds=min([each.ended for each in broken], default=at) - at,
        recover_seconds=recovered(told, at),
        wrong=routes.wrong(),
        note=f"{count(told)}; broken: only what had its first byte; {failures - len(broken):.0f} attempts without "
        f"one were made again elsewhere; the replica was back after {again:.0f} s",
    )
    assert wrong(told) == []
    assert broken, "streams were open on it"
    assert failures > len(broken), "and what had no byte yet"
    assert all(0 < each.first < at + 5 for each in broken)
    assert [each for each in told if each.verdict not in (verdict.WHOLE, verdict.BROKEN)] == []


def test_a_replica_hangs_while_its_server_is_well(routes: Routes, faults: Sheet) -> None:
    """Its probes are answered and its engine computes nothing, for longer than a request may last."""
    patience: dict[str, Any] = {"silence_seconds": REQUEST_SECONDS + 20.0}  # what is not streamed may take so long
    with routes.clients(model="small", users=USERS, tokens=30, whole_share=0.25, **patience) as clients:
        told_until(clients, warm, START, "clients are answered")
        at = time.time()
        with routes.slow(routes.busiest("small"), 1e9):
            over = wait(HANG_SECONDS)
        wait(10.0)
        told = clients.end()
    bad = [each for each in told if each.verdict != verdict.WHOLE]
    late = [each for each in since(told, at + 2 * FIRST_TOKEN_SECONDS) if each.opened < over]
    faults.record(
        row="route replica",
        fault=f"One of three replicas hangs for {HANG_SECONDS:.0f} s while its probes are answered",
        detect_seconds=min([each.ended for each in bad], default=at) - at,
        recover_seconds=recovered(told, over),
        wrong=routes.wrong(),
        note=f"{count(told)}; asked after {2 * FIRST_TOKEN_SECONDS} s: {count(late)}; no first token for "
        f"{FIRST_TOKEN_SECONDS} s, no token for {GAP_SECONDS} s, no answer for {REQUEST_SECONDS} s count as failures",
    )
    assert wrong(told) == []
    assert bad, "it held requests"
    assert all(each.status in (200, 504) for each in bad), count(bad)
    assert len(whole(late)) > 0.9 * len(late)


def test_a_replica_becomes_ten_times_as_slow(routes: Routes, faults: Sheet) -> None:
    """It is given less, and nobody is refused."""
    with routes.clients(model="small", users=USERS, tokens=20, whole_share=0.25) as clients:
        before = told_until(clients, lambda told: len(whole(told)) > 6 * USERS, START, "clients are answered")
        pod = routes.busiest("small")
        share_before = _share(routes, pod, 5.0)
        at = time.time()
        with routes.slow(pod, 10.0):
            wait(SLOW_SECONDS / 2)
            share = _share(routes, pod, SLOW_SECONDS / 2)
            over = time.time()
        wait(5.0)
        told = clients.end()
    during = [each for each in since(told, at) if each.ended < over]
    faults.record(
        row="route replica",
        fault="One of three replicas becomes 10 x as slow",
        detect_seconds=None,
        recover_seconds=recovered(told, over),
        wrong=routes.wrong(),
        note=f"{count(during)}; its share of the answers {share_before:.0%} before, {share:.0%} then; seconds of an "
        f"answer p50 {median(each.seconds for each in before):.1f} and p95 {_slow(before):.1f} before, "
        f"{median(each.seconds for each in during):.1f} and {_slow(during):.1f} then",
    )
    assert wrong(told) == []
    assert len(whole(during)) == len(during), count(during)
    assert share < 0.25


def _slow(told: list[Told]) -> float:
    return quantile((each.seconds for each in told), 0.95)


def _share(routes: Routes, pod: Object, seconds: float) -> float:
    """Which share of the prompts of its tier this replica has computed in so many seconds."""

    def prompts() -> dict[str, int]:
        pods = routes.replicas("small")
        return {str(each["metadata"]["name"]): int(routes.state(each)["prompt_tokens"]) for each in pods}

    first = prompts()
    time.sleep(seconds)
    grown = {name: after - first[name] for name, after in prompts().items()}
    return grown[str(pod["metadata"]["name"])] / max(1, sum(grown.values()))


def test_every_tier_is_full(routes: Routes, faults: Sheet) -> None:
    """More users than all replicas and queues hold, and the provider refuses: who is not answered is told when to come
    again, and the first who asks afterwards is answered as if nothing had been."""
    routes.provider(Fault(429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}, {"retry-after": "30"}))
    try:
        at = time.time()
        with routes.clients(users=FULL_USERS, tokens=60, whole_share=0.25, pause_seconds=0.5) as clients:
            told_until(clients, lambda told: any(each.status == 429 for each in told), START, "somebody is refused")
            wait(FULL_SECONDS)
            over = time.time()
            told = clients.end()
        with routes.clients(users=2, tokens=20) as clients:
            after = told_until(clients, lambda told: len(told) > 4, START, "clients are answered")
    finally:
        routes.provider(Fault())
    refused = [each for each in told if each.status in (429, 503)]
    faults.record(
        row="route replica",
        fault="Every tier is full and the provider refuses",
        detect_seconds=min(each.ended for each in refused) - at,
        recover_seconds=max(0.0, whole(after)[0].ended - over),
        wrong=routes.wrong(),
        note=f"{FULL_USERS} users: {count(told)}; by tier: {_tiers(told)}; refused: {_codes(refused)}",
    )
    assert wrong([*told, *after]) == []
    assert {each.verdict for each in told} == {verdict.WHOLE, verdict.REFUSED}, count(told)
    assert len(whole(after)) == len(after)
    assert {each.tier for each in whole(told)} >= {"small", "large"}


def _tiers(told: list[Told]) -> str:
    tiers = sorted({each.tier for each in whole(told)})
    return ", ".join(f"{tier} {len([each for each in whole(told) if each.tier == tier])}" for tier in tiers)


def _codes(told: list[Told]) -> str:
    codes = sorted({each.code for each in told})
    return ", ".join(f"{code} {len([each for each in told if each.code == code])}" for code in codes)


def test_one_of_two_routers_is_killed(routes: Routes, faults: Sheet) -> None:
    """Its own clients lose their connection, which says so at once; nobody waits, and the other router serves on."""
    with routes.clients(users=USERS, tokens=40, whole_share=0.25) as clients:
        told_until(clients, warm, START, "clients are answered")
        pod = routes.routers()[0]
        at = time.time()
        kill(pod, "--route=")
        restarted(routes, pod)
        again = time.time() - at
        wait(5.0)
        told = clients.end()
    lost = [each for each in told if each.verdict in (verdict.RESET, verdict.CUT)]
    faults.record(
        row="route router",
        fault="One of two routers is killed",
        detect_seconds=min([each.ended for each in lost], default=at) - at,
        recover_seconds=recovered(told, at),
        wrong=routes.wrong(),
        note=f"{count(told)}: connections that it held, or that were made before its endpoint was gone, ended; it was "
        f"back after {again:.0f} s",
    )
    assert wrong(told, [verdict.RESET, verdict.CUT]) == []
    assert lost, "it held requests"
    assert all(at < each.ended < at + again for each in lost)
    assert [each for each in told if each.verdict == verdict.REFUSED] == []
