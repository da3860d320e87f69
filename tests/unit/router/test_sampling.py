"""Measures quality end to end: real engines that know arithmetic, a real router, a judge, and the operator's decision.

The cheap engine is right by a known rule, so what the router counts is compared with the truth, and the fall that is
noticed with the one that was planted.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm
from tests.unit.training.judge_server import Judge, judging
from tests.unit.training.label_stage import question
from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute_status import QualityStatus, QualityWatch
from tierwise.decide.route_quality import Aim, measure
from tierwise.types import COUNTS, VerdictCounts
from tierwise_sim.arithmetic import asked, value

CANARY = "Zwiebelfisch-in-the-prompt"
MILLION = 1_000_000
DAY = 1_800_000_000.0
_SERIES = re.compile(r"tierwise_router_(verdicts|sampled)_total\{(.*)\}")


class Stage:
    """A route whose cheap tier answers everything, with every answer sampled."""

    def __init__(self, process: RouterProcess, small: Vllm, judge: Judge, folder: Path) -> None:
        self.process, self.small, self.judge, self.folder = process, small, judge, folder
        self._chance = Random(3)
        self._pool = ThreadPoolExecutor(8)

    def slips(self, share: float) -> None:
        """The cheap engine answers wrongly in this share from now on."""
        assert self.small.get("/sim/answers", {"skill": 9, "slip": share})[0] == 200

    def ask(self, count: int) -> list[bool]:
        """Ask that many questions; for each, whether the client got the right answer."""
        prompts = [f"{CANARY} {question(self._chance, 2)}" for _ in range(count)]
        return list(self._pool.map(self._one, prompts, range(count)))

    def _one(self, prompt: str, number: int) -> bool:
        stream = number % 2 == 0
        body = {"model": "chat", "messages": [{"role": "user", "content": prompt}], "stream": stream}
        request = urllib.request.Request(
            self.process.url + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["x-tierwise-tier"] == "small"
            text = _streamed(answer.read().decode()) if stream else _whole(json.load(answer))
        expression = asked(prompt)
        assert expression is not None
        return text.endswith(f"#### {value(expression)}")

    def counts(self) -> VerdictCounts:
        """What the router has counted, as the operator reads it."""
        found: dict[str, int] = {}
        for series, number in self.process.metrics().items():
            if (match := _SERIES.fullmatch(series)) is not None:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', match.group(2)))
                name = (
                    f"{labels['routed']}_{labels['verdict']}" if "verdict" in labels else f"sampled_{labels['routed']}"
                )
                if name in COUNTS:
                    found[name] = found.get(name, 0) + int(number)
        return VerdictCounts(**found)

    def judged(self, count: int, seconds: float = 120) -> VerdictCounts:
        """Wait until so many answers of the cheap tier have been judged."""
        until = monotonic() + seconds
        while (found := self.counts()).cheaper_good + found.cheaper_bad < count:
            assert monotonic() < until, (found, self.process.metrics())
            sleep(0.1)
        return found


def _streamed(text: str) -> str:
    events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(one)["choices"][0]["delta"].get("content") or "" for one in events)


def _whole(said: dict[str, Any]) -> str:
    return str(said["choices"][0]["message"]["content"])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        common = {"SPEED": "2000", "TICK_SECONDS": "0.002", "OUTPUT_TOKENS": "12", "ANSWERS_SKILL": "9"}
        small, large = (
            stack.enter_context(vllm("--max-num-seqs=32", wait_seconds=120, **common, **more))
            for more in ({"ANSWERS_SLIP": "0.04"}, {"ANSWERS_SLIP": "0"})
        )
        judge = stack.enter_context(judging(Judge()))
        salt = tmp_path / "salt"
        salt.write_text("grains-of-chance-0123456789")
        prices = {"input": "1", "output": "2"}
        tiers = [
            {"name": "small", "model": "chat", "servers": [small.url], "prices": prices},
            {"name": "large", "model": "chat", "servers": [large.url], "prices": prices},
            {"name": "judge", "model": "judge", "servers": [judge.url], "prices": prices, "use": "Overflow"},
        ]
        quality = {"samplePercent": 100, "judgeTier": "judge", "budgetUSDPerDay": "100"}
        route = {"name": "chat", "modelNames": ["chat"], "tiers": tiers, "quality": quality, "referenceTier": "large"}
        options = ("--verdicts-file", str(tmp_path / "verdicts.jsonl"), "--salt-file", str(salt))
        process = stack.enter_context(router(route, tmp_path, *options, wait_seconds=120))
        yield Stage(process, small, judge, tmp_path)


def test_what_is_counted_is_true_and_a_fall_is_noticed_and_answered(stage: Stage) -> None:
    right: list[bool] = []
    while len(right) < 60:  # fewer at a time than may wait
        right += stage.ask(30)
        found = stage.judged(len(right))
    assert found.cheaper_good == sum(right)
    assert found.cheaper_bad == len(right) - sum(right)
    assert found.sampled_cheaper == len(right)
    assert found.again_bad == 0, "a second answer of the reference tier is right as well"
    metrics = stage.process.metrics()
    assert metrics["tierwise_router_pairs_total"] == len(right)
    assert metrics['tierwise_router_pair_output_tokens_total{which="reference"}'] > 0

    # Before, months have shown 4 % bad verdicts; now the cheap tier becomes worse, and nobody is told.
    watch = QualityWatch(usual_good=1920, usual_bad=80)
    status = QualityStatus(since="2027-01-01T00:00:00Z", watch=watch, again_good=1000)
    spec = RouteQuality.model_validate({"judgeTier": "judge", "budgetUSDPerDay": "100"})
    aim = Aim(target=0.95, share=0.0)
    status = measure(status, spec, aim, {"router": found}, DAY)
    assert not answered_to(status)
    stage.slips(0.25)
    worse = 0
    while not answered_to(status):
        worse += 30
        assert worse <= 240, status
        right += stage.ask(30)
        found = stage.judged(len(right))
        status = measure(status, spec, aim, {"router": found}, DAY)
    assert found.cheaper_bad == len(right) - sum(right)
    assert status.moves[-1].points > 0

    nothing_of_a_prompt_is_kept(stage, len(right))


def answered_to(status: QualityStatus) -> bool:
    """Whether there is an alarm, and the share was raised."""
    return status.watch.alarm and status.added_share_percent > 0


def nothing_of_a_prompt_is_kept(stage: Stage, count: int) -> None:
    """The judge has seen every prompt that it was needed for; nothing that stays has one, nor the salt."""
    assert any(CANARY in seen for seen in stage.judge.seen)
    kept = [file.read_text() for file in stage.folder.iterdir() if file.name != "salt"]
    kept.append(str(stage.process.metrics()))
    assert not any(word in text for text in kept for word in (CANARY, "grains-of-chance"))
    lines = [json.loads(line) for line in (stage.folder / "verdicts.jsonl").read_text().splitlines()]
    assert len(lines) == count
    assert {line["from"] for line in lines} == {"small"}
    assert all(line["features"]["buckets"] for line in lines)


def test_samples_cost_what_is_shown_and_stop_with_the_money_of_the_day(stage: Stage) -> None:
    route = json.loads(json.dumps(_route(stage)))
    stage.ask(20)
    stage.judged(20)
    metrics = stage.process.metrics()
    spent = sum(amount for name, amount in metrics.items() if name.startswith("tierwise_router_shadow_cost_usd_total"))
    asked_tokens = sum(len(seen) // 4 for seen in stage.judge.seen)
    assert spent > (asked_tokens + 2 * 12 * len(stage.judge.seen)) / MILLION
    assert sum(line["charges"] != [] for line in stage.process.log()) == 20, "clients pay for their own requests only"
    route["quality"]["budgetUSDPerDay"] = f"{spent / 2:.9f}"
    stage.process.rewrite(route)
    sleep(3)
    before = stage.counts()
    stage.ask(60)
    sleep(3)
    after = stage.counts()
    judged = after.cheaper_good + after.cheaper_bad - before.cheaper_good - before.cheaper_bad
    assert after.sampled_cheaper - before.sampled_cheaper == 60, "what is chosen does not depend on the money"
    assert judged < 60, "the rest waits"


def _route(stage: Stage) -> dict[str, Any]:
    found = yaml.safe_load((stage.folder / "route.yaml").read_text())
    assert isinstance(found, dict)
    return found
