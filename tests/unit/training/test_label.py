"""`tierwise label` as people run it: the real command, a real router, engines that answer rightly by a known rule."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.training.judge_server import PART, Judge, judging
from tests.unit.training.label_stage import Stage, questions, stage, write
from tierwise_sim.arithmetic import asked, difficulty, value
from tierwise_training import labels, prompts
from tierwise_training.estimate import pilot_size
from tierwise_training.questions import sampled

COUNT = 80
SMALL = {"ANSWERS_SKILL": "2"}
LARGE = {"ANSWERS_SKILL": "3", "SEED": "1"}


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with judging(Judge(first_share=0.3)) as running:
        yield running


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, judge: Judge) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("label"), SMALL, LARGE, judge.url) as running:
        yield running


@pytest.fixture
def fresh(engines: Stage, tmp_path: Path) -> Stage:
    """The same servers, an empty folder for what a command writes."""
    (tmp_path / "route.yaml").write_bytes((engines.folder / "route.yaml").read_bytes())
    return Stage(engines.router, tmp_path)


def hardness(line: dict[str, object]) -> int:
    expression = asked(str(line["prompt"]))
    assert expression is not None
    return difficulty(expression)


def costs(log: list[dict[str, object]]) -> Decimal:
    return sum((Decimal(str(line["costUSD"])) for line in log), Decimal(0))


def wait_for_answers(file: Path, count: int) -> None:
    """Until a run that goes on has so many."""
    until = time.monotonic() + 180
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until, f"{file.name} does not have {count} answers after 180 s"
        time.sleep(0.02)


def test_labels_are_what_the_rule_says_and_cost_what_the_router_counted(fresh: Stage) -> None:
    lines = questions(COUNT, seed=1)
    golden = [{**line, "gold": value(asked(line["prompt"]) or "")} for line in lines]
    before = len(fresh.router.log())
    done = fresh.label("--prompts", str(write(fresh.folder / "p", golden)), "--judge", "number", "--yes")
    made = {label["id"]: label for label in fresh.labels()}
    assert made.keys() == {line["id"] for line in lines}
    for line in lines:
        label = made[line["id"]]
        assert label["small"]["right"] is (hardness(line) <= 2)
        assert label["reference"]["right"] is (hardness(line) <= 3)
        assert (label["from"], label["referenceTier"], label["route"]) == ("small", "large", "chat")
        assert label["prompt"] == [{"role": "user", "content": line["prompt"]}]
    found = prompts.parse("".join(json.dumps(line) + "\n" for line in golden), "p")
    extra = sum(sampled(one, "again", 10) + sampled(one, "ceiling", 10) for one in found)
    log = fresh.router.log_until(before + 2 * COUNT + extra, 60)[before:]
    asked_for = [line for line in log if line["path"] == "/v1/chat/completions"]
    assert len(asked_for) == 2 * COUNT + extra
    said = sum((Decimal(label["judge"]["costUSD"]) for label in made.values()), Decimal(0))
    assert said == costs(asked_for)
    match = re.search(r"estimated \$([\d.]+), spent \$([\d.]+)", done.stderr)
    assert match is not None, done.stderr
    assert float(match[2]) == pytest.approx(float(said), abs=1e-4)
    assert float(match[1]) == pytest.approx(float(match[2]), rel=0.15)
    assert "80 usable of 80" in done.stdout
    assert "plain text" in done.stderr.replace("\n", " ")


def test_a_killed_run_goes_on_and_nothing_that_was_answered_is_asked_again(fresh: Stage) -> None:
    path = str(write(fresh.folder / "p", questions(COUNT, seed=2)))
    options = ("--prompts", path, "--judge", "number", "--yes", "--concurrency", "4")
    before = fresh.asked()
    command = fresh.command(*options)
    command[command.index("--rate") + 1] = "10"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    answers = fresh.folder / "labels.jsonl.answers"
    wait_for_answers(answers, 30)
    process.kill()
    process.communicate()
    kept = answers.read_bytes().count(b"\n")
    assert 30 <= kept < 2 * COUNT
    fresh.label(*options)
    keys = [json.loads(line)["key"] for line in answers.read_text().splitlines()]
    assert len(keys) == len(set(keys))
    requests = fresh.asked() - before
    assert len(keys) <= sum(requests.values()) <= len(keys) + 4
    assert len(fresh.labels()) == COUNT
    fresh.label(*options)
    assert fresh.asked() - before == requests


def test_a_signal_ends_a_run_with_the_labels_that_there_are(fresh: Stage) -> None:
    path = str(write(fresh.folder / "p", questions(COUNT, seed=3)))
    command = fresh.command("--prompts", path, "--judge", "number", "--yes")
    command[command.index("--rate") + 1] = "10"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    answers = fresh.folder / "labels.jsonl.answers"
    wait_for_answers(answers, 30)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert 0 < len(fresh.labels()) < COUNT
    assert "told to stop" in said


@pytest.mark.parametrize(("word", "asked_for"), [("n", False), ("y", True)])
def test_a_person_at_a_terminal_sees_the_cost_and_decides(fresh: Stage, word: str, asked_for: bool) -> None:
    path = str(write(fresh.folder / "p", questions(COUNT, seed=10 + asked_for)))
    ours, theirs = pty.openpty()
    command = fresh.command("--prompts", path, "--judge", "number")
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        guard = threading.Timer(200, process.kill)
        guard.start()
        said = b""
        with contextlib.suppress(OSError):  # the terminal ends with the process
            while more := os.read(ours, 4096):
                if b"Go on?" not in said and b"Go on?" in said + more:
                    os.write(ours, word.encode() + b"\n")
                said += more
        guard.cancel()
    os.close(ours)
    assert process.returncode == 0, said
    assert b"prompts cost about $" in said
    assert (len(fresh.labels()) == COUNT) is asked_for


def test_a_judge_tier_finds_the_same_and_its_preference_for_the_first_is_reported(fresh: Stage, judge: Judge) -> None:
    lines = questions(60, seed=4, most=3)
    path = str(write(fresh.folder / "p", lines))
    fresh.label("--prompts", path, "--judge", "tier:judge", "--yes")
    for label in fresh.labels():
        hard = hardness(next(line for line in lines if line["id"] == label["id"])) == 3
        record = label["judge"]
        if record["orders"][0] == record["orders"][1]:
            assert label["small"]["right"] is not hard
        else:
            assert record["verdict"] == "tie"
            assert label["small"]["right"] is True
        assert label["reference"]["right"] is True
    said = json.loads(fresh.label("--report", str(fresh.folder / "labels.jsonl"), "-o", "json").stdout)
    assert said["flips"]["low"] <= 0.3 <= said["flips"]["high"]
    assert said["firstShown"]["value"] > 0.5
    around = [PART.sub("", seen) for seen in judge.seen]
    assert judge.seen
    assert not [text for text in around if text.strip()]


def test_a_person_audits_in_the_terminal_and_the_report_says_how_good_the_judge_is(fresh: Stage) -> None:
    path = str(write(fresh.folder / "p", questions(60, seed=5, most=3)))
    options = ("--prompts", path, "--judge", "tier:judge")
    fresh.label(*options, "--yes")
    asked_before = fresh.asked()
    done = fresh.label(*options, "--audit", "10", answers="a\nb\nt\ns\nt\nq\n")
    assert "judge against people  4 pairs" in done.stdout.replace("   ", "  ")
    assert sum("audit" in label["judge"] for label in fresh.labels()) == 4
    assert fresh.asked() == asked_before
    done = fresh.label(*options, "--audit", "10", answers="t\n" * 20, code=0)
    assert sum("audit" in label["judge"] for label in fresh.labels()) == 10
    fresh.label(*options, "--yes")
    assert sum("audit" in label["judge"] for label in fresh.labels()) == 10


def test_features_only_keeps_no_prompt_and_no_output_names_one_or_the_key(fresh: Stage) -> None:
    (fresh.folder / "salt").write_text("0123456789abcdef-canary-salt")
    (fresh.folder / "key").write_text("sk-canary-key")
    lines = [{**line, "prompt": f"canary-prompt {line['prompt']}"} for line in questions(12, seed=6)]
    options = ["--prompts", str(write(fresh.folder / "p", lines)), "--judge", "number", "--yes"]
    options += [
        "--features-only",
        "--salt-file",
        str(fresh.folder / "salt"),
        "--api-key-file",
        str(fresh.folder / "key"),
    ]
    done = fresh.label(*options)
    kept = (fresh.folder / "labels.jsonl").read_text()
    assert len(labels.read(fresh.folder / "labels.jsonl")) == 12
    assert all(label["features"] for label in fresh.labels())
    assert "canary" not in kept + done.stdout + done.stderr
    assert "canary" not in (fresh.folder / "labels.jsonl.answers").read_text()


def test_a_budget_ends_a_run_before_it_is_passed_and_a_larger_one_goes_on(fresh: Stage) -> None:
    path = str(write(fresh.folder / "p", questions(COUNT, seed=7)))
    options = ("--prompts", path, "--judge", "number", "--yes", "--request", '{"max_tokens": 200}')
    done = fresh.label(*options, "--budget-usd", "0.01", code=1)
    assert "the budget is used up" in done.stderr.replace("\n", " ")
    spent = sum(Decimal(label["judge"]["costUSD"]) for label in fresh.labels())
    assert 0 < spent <= Decimal("0.01")
    assert len(fresh.labels()) < COUNT
    fresh.label(*options)
    assert len(fresh.labels()) == COUNT


def test_an_estimate_alone_asks_the_pilot_and_no_more(fresh: Stage) -> None:
    path = str(write(fresh.folder / "p", questions(COUNT, seed=8)))
    before = fresh.asked()
    done = fresh.label("--prompts", path, "--judge", "number", "--estimate-only")
    assert "All 80 prompts cost about $" in done.stderr.replace("\n", " ")
    assert (fresh.asked() - before)["small"] <= pilot_size(COUNT) * 1.3
    assert len(fresh.labels()) <= pilot_size(COUNT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--judge", "number"], "say --yes"),
        (["--judge", "number", "--yes", "--from", "tiny"], "and not tiny"),
        (["--judge", "words", "--yes"], "none of exact, number, choice, json and tier:NAME"),
        (["--judge", "number", "--yes", "--features-only"], "belong together"),
        (["--judge", "number", "--yes", "--budget-usd", "nan"], "no amount above 0"),
        (["--judge", "number", "--yes", "--request", '{"model": "x"}'], "none of"),
        (["--judge", "number", "--yes", "--reference", "small"], "the same tier"),
        (["--yes"], "give --judge"),
        (["--judge", "number", "--yes", "--route", ""], "serves chat, judge as well"),
        (["--judge", "number", "--audit", "5"], "cannot be read"),
    ],
)
def test_mistakes_are_said_before_anything_is_asked(fresh: Stage, options: list[str], words: str) -> None:
    before = fresh.asked()
    done = fresh.label("--prompts", str(write(fresh.folder / "p", questions(3, seed=9))), *options, code=2)
    assert words in done.stderr
    assert done.stderr.startswith("tierwise: ")
    assert fresh.asked() == before


def test_gold_that_cannot_be_read_is_a_mistake(fresh: Stage) -> None:
    path = write(fresh.folder / "p", [{"prompt": "What?", "id": "q", "gold": "nothing"}])
    done = fresh.label("--prompts", str(path), "--judge", "number", "--yes", code=2)
    assert "the first is of id 'q'" in done.stderr
