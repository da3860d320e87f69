"""Sends the demo's requests to a simulated engine and reads what was reported: who is right is seen by the client."""

from __future__ import annotations

from pathlib import Path

from playground.demo import drive, questions
from tests.unit.simulator.processes import vllm
from tierwise_sim.arithmetic import asked, difficulty
from tierwise_sim.workloads import Arrival

REQUESTS = 30


def test_a_report_says_which_answers_are_right(tmp_path: Path) -> None:
    arrivals = [Arrival(0.02 * number, 100 + number, 20 + number) for number in range(REQUESTS)]
    orders, report = tmp_path / "orders.json", tmp_path / "report.jsonl"
    skill = str(questions.SMALL.level)
    with vllm("--max-num-seqs=16", wait_seconds=120, SPEED="50", ANSWERS_SKILL=skill) as engine:
        drive.write_orders(orders, report, engine.url, "chat", arrivals)
        drive.main(orders)
    answers = drive.read_report(report)
    assert len(answers) == REQUESTS
    assert all(answer.ok for answer in answers)
    asked_for = [asked(questions.question(str(number))) or "" for number in range(REQUESTS)]
    within = sum(difficulty(expression) <= questions.SMALL.level for expression in asked_for)
    assert 0 < within < REQUESTS
    assert sum(answer.right for answer in answers) == within
    lengths = sorted((answer.prompt_tokens, answer.completion_tokens) for answer in answers)
    assert lengths == [(100 + number, 20 + number) for number in range(REQUESTS)]
