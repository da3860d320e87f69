"""Checks what clients see while an external API fails in each of the ways in which such APIs fail.

A route whose first tier is a provider and whose second is an engine of ours, without Kubernetes. Some clients ask the
route, others the provider by its name: the first must be answered by the other tier, the others be told. Nobody may get
an answer that no engine gave.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults import verdict
from tests.faults.asking import Told
from tests.faults.clients import Clients, asking, count, median, wrong
from tests.faults.provider import Fault
from tests.faults.results import Sheet
from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import free_port, vllm

OURS, THEIRS = 3, 4
SEEDS = {"bought": [THEIRS], "spare": [OURS]}
TOKENS, USERS = 10, 4
FIRST_TOKEN_SECONDS, FAULT_SECONDS, BACK_SECONDS = 5, 12.0, 60.0
START_SECONDS = 90.0
PRICES = {"input": "2.50", "output": "10.00"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A router before a provider and an engine."""

    router: RouterProcess
    stub: str
    folder: Path

    def be(self, fault: Fault) -> None:
        """From now on this is wrong with the provider."""
        request = urllib.request.Request(f"{self.stub}/stub", json.dumps(asdict(fault)).encode())
        request.add_header("content-type", "application/json")
        urllib.request.urlopen(request, timeout=5).close()

    def clients(self, model: str) -> AbstractContextManager[Clients]:
        """Users who ask for this model."""
        return asking(
            self.folder,
            name=model,
            url=self.router.url,
            model=model,
            seeds=SEEDS,
            tokens=TOKENS,
            users=USERS,
            whole_share=0.3,
            pause_seconds=0.1,
            silence_seconds=30.0,
        )


@contextmanager
def provider() -> Iterator[str]:
    """A stub provider; its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.faults.provider", "127.0.0.1", str(port), str(THEIRS)])
    url = f"http://127.0.0.1:{port}"
    try:
        _until_answers(f"{url}/stub")
        yield url
    finally:
        process.kill()
        process.wait()


def _until_answers(url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < until, f"{url} does not answer"
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    (tmp_path / "key").write_text("sk-stub")
    with (
        vllm("--max-num-seqs=16", wait_seconds=START_SECONDS, SEED=str(OURS), TICK_SECONDS="0.05", SPEED="3") as engine,
        provider() as stub,
    ):
        bought = {"name": "bought", "model": "frontier", "prices": PRICES}
        bought |= {"provider": {"baseURL": f"{stub}/v1", "apiKeyFile": str(tmp_path / "key")}}
        spare = {"name": "spare", "model": "chat", "servers": [engine.url], "concurrency": 16}
        deadlines = {"requestSeconds": 60, "firstTokenSeconds": FIRST_TOKEN_SECONDS, "tokenGapSeconds": 5}
        route = {"name": "chat", "tiers": [bought, spare], "deadlines": deadlines}
        with router(route, tmp_path, wait_seconds=START_SECONDS) as running:
            yield Scene(running, stub, tmp_path)


def limited(seconds: str = "", **error: Any) -> Fault:
    """The provider says 429."""
    return Fault(429, {"type": "rate_limit_error", **error}, {"retry-after": seconds} if seconds else {})


@dataclass(frozen=True, slots=True)
class Case:
    """`text`: the row of the table. `rests`: seconds for which the provider is left alone at least, once it is well;
    longer than a test waits for: it must still be left alone then. `breaks`: whether streams have begun before it
    fails."""

    text: str
    fault: Fault
    rests: float = 0.0
    breaks: bool = False


CASES = {
    "401": Case("401: our key is refused", Fault(401, {"code": "invalid_api_key"})),
    "429": Case("429 without Retry-After", limited(code="rate_limit_exceeded")),
    "429-soon": Case("429 with Retry-After: 1", limited("1", code="rate_limit_exceeded")),
    "429-later": Case("429 with Retry-After: 20", limited("20", code="rate_limit_exceeded"), rests=3.0),
    "quota": Case(
        "429 insufficient_quota",
        limited(code="insufficient_quota", type="insufficient_quota"),
        rests=300.0,
    ),
    "500": Case("500", Fault(500, {"type": "server_error"})),
    "503": Case("503 with Retry-After: 3", Fault(503, {"type": "server_error"}, {"retry-after": "3"})),
    "slow": Case("the first token comes after 20 s", Fault(first_seconds=20.0)),
    "before": Case("streams are reset before their first content", Fault(cut=0, way="reset")),
    "reset": Case("streams are reset within", Fault(cut=4, way="reset"), breaks=True),
    "close": Case("streams are closed within", Fault(cut=4, way="close"), breaks=True),
    "end": Case("streams end well-formed, without their end", Fault(cut=4, way="end"), breaks=True),
    "error": Case("streams end with an error event", Fault(cut=4, way="error"), breaks=True),
}


def by_provider(told: list[Told], since: float = 0.0) -> list[Told]:
    """Those asked since then that the provider answered."""
    return [each for each in told if each.tier == "bought" and each.verdict == verdict.WHOLE and each.opened >= since]


@pytest.mark.parametrize("name", CASES)
def test_a_provider_fails_and_everybody_is_answered_or_told(scene: Scene, faults: Sheet, name: str) -> None:
    case = CASES[name]
    with scene.clients("chat") as routed, scene.clients("bought") as direct:
        _until(lambda: len(by_provider(routed.told())) > 8, START_SECONDS)
        scene.be(case.fault)
        failed = time.time()
        time.sleep(FAULT_SECONDS)
        scene.be(Fault())
        well = time.time()
        back = _back(routed, case, well)
        through, named = routed.end(), direct.end()
    noticed = min(each.ended for each in [*through, *named] if each.ended > failed and not _as_before(each)) - failed
    faults.record(
        row="route provider",
        fault=f"An external API: {case.text}",
        detect_seconds=noticed,
        recover_seconds=back,
        wrong=[],
        note=_note(through, named, case, failed, well),
    )
    assert wrong([*through, *named]) == []
    during = [each for each in through if failed + 0.5 < each.opened < well]
    assert len(during) > 5, "clients asked all the while"
    if not case.breaks:
        assert [each for each in during if each.verdict != verdict.WHOLE] == [], count(during)
    else:
        assert any(each.verdict == verdict.BROKEN for each in through), "it was seen"
    assert not [each for each in by_provider(named, failed + 0.5) if each.ended < well and not _excused(case)]


def _excused(case: Case) -> bool:
    """Whether the provider answers some requests all the same: those that are not streamed, and slow ones at last."""
    return case.fault.cut is not None or bool(case.fault.first_seconds)


def _as_before(told: Told) -> bool:
    return told.tier == "bought" and told.verdict == verdict.WHOLE


def _back(clients: Clients, case: Case, well: float) -> float | None:
    """Seconds until the provider answers what the route is asked; None where it rests for longer than we wait."""
    if case.rests > BACK_SECONDS:
        time.sleep(FAULT_SECONDS)
        assert not by_provider(clients.told(), well), "it rests"
        return None
    _until(lambda: bool(by_provider(clients.told(), well)), BACK_SECONDS)
    back = by_provider(clients.told(), well)[0].ended - well
    assert back > case.rests
    return back


def _note(through: list[Told], named: list[Told], case: Case, failed: float, well: float) -> str:
    during = [[each for each in found if failed < each.ended < well] for found in (through, named)]
    first = median([each.first - each.opened for each in during[0] if each.first])
    text = f"meanwhile the route: {count(during[0])}, first content after {first:.2f} s; the provider by its name: "
    rests = f"; it rests for {case.rests:.0f} s" if case.rests > BACK_SECONDS else ""
    return text + count(during[1]) + rests


def _until(true: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.2)
