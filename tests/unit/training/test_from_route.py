"""From verdicts to a classifier: a router that samples both ways, its file of verdicts, `tierwise train --from-route`,
and the same router choosing by what was learned, with its salt.

All of it is real: engines that know arithmetic, a judge, a router as a process. Half of the requests are sent to the
large tier by a rule, so that the two ways have the different rates that they have in use.
"""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import pytest

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import vllm
from tests.unit.training.judge_server import Judge, judging
from tests.unit.training.known import labels
from tests.unit.training.label_stage import PRICES, question
from tierwise.errors import Invalid
from tierwise.routing.classifier import Classifier, salt_check
from tierwise_cli import main as cli
from tierwise_training import labels as label_file
from tierwise_training import route_verdicts

SALT = b"grains-of-chance-0123456789"
OTHER = b"other-grains-of-chance-0123"
CANARY = "Zwiebelfisch-in-the-prompt"
TO_LARGE = {"x-team": "legal"}
SMALL_ASKED, LARGE_ASKED, AT_ONCE = 480, 280, 40
"""About 70 of the second have a verdict, one in four; 480 + 70 labels count as 430 of one rate."""
COUNTED = ("tierwise_router_sampled_total", "tierwise_router_verdicts_total")


@dataclass
class Scene:
    """A router that samples every answer, and the questions of its clients."""

    process: RouterProcess
    folder: Path
    route: dict[str, Any]
    chance: Random

    def ask(self, prompt: str, headers: dict[str, str] | None = None) -> tuple[str, str]:
        """The tier that answered, and why."""
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": prompt}]}).encode()
        request = urllib.request.Request(
            f"{self.process.url}/v1/chat/completions", body, {"content-type": "application/json", **(headers or {})}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return answer.headers["x-tierwise-tier"], answer.headers["x-tierwise-reason"]

    def ask_many(self, count: int, headers: dict[str, str] | None = None) -> list[tuple[str, str]]:
        """The same of fresh questions, half of them too hard for the small tier."""
        prompts = [f"{CANARY} {question(self.chance, self.chance.choice((1, 4)))}" for _ in range(count)]
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda prompt: self.ask(prompt, headers), prompts))

    def wait_for(self, what: str, holds: Callable[[list[dict[str, Any]]], bool], seconds: float = 180) -> None:
        """Until this holds of the lines. Raises AssertionError after so many seconds."""
        until = time.monotonic() + seconds
        while not holds(lines := self.lines()):
            assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s; there are {len(lines)} verdicts"
            time.sleep(0.25)

    def wait_for_verdicts(self, asked: int) -> None:
        """Until all that was asked so far is sampled, every verdict has its line, and nothing is judged for a while:
        of three in four answers of the large tier nothing is judged, and nothing says so."""
        before: dict[str, float] = {}
        calm = 0

        def is_calm(lines: list[dict[str, Any]]) -> bool:
            nonlocal before, calm
            said = self.process.metrics()
            found = {name: value for name, value in said.items() if name.startswith(("tierwise_router_sh", *COUNTED))}
            sampled = sum(value for name, value in found.items() if name.startswith(COUNTED[0]))
            kept = sum(
                value for name, value in found.items() if name.startswith(COUNTED[1]) and 'routed="again"' not in name
            )
            calm = calm + 1 if found == before and (sampled, kept) == (asked, len(lines)) else 0
            before = found
            return calm >= 8

        self.wait_for(f"{asked} answers are sampled, and judged as they should be", is_calm)

    def lines(self) -> list[dict[str, Any]]:
        file = self.folder / "verdicts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("from-route")
    with ExitStack() as stack:
        common = {"SPEED": "2000", "TICK_SECONDS": "0.002", "OUTPUT_TOKENS": "12"}
        small, large = (
            stack.enter_context(vllm("--max-num-seqs=32", wait_seconds=120, **common, **more))
            for more in ({"ANSWERS_SKILL": "2", "ANSWERS_LUCK": "0.1"}, {"ANSWERS_SKILL": "4"})
        )
        judge = stack.enter_context(judging(Judge()))
        (folder / "salt").write_bytes(SALT + b"\n")
        route = {
            "name": "chat",
            "modelNames": ["chat"],
            "referenceTier": "large",
            "tiers": [
                {"name": "small", "model": "chat", "servers": [small.url], "prices": PRICES["small"]},
                {"name": "large", "model": "chat", "servers": [large.url], "prices": PRICES["large"]},
                {
                    "name": "judge",
                    "model": "judge",
                    "servers": [judge.url],
                    "prices": PRICES["judge"],
                    "use": "Overflow",
                },
            ],
            "quality": {"samplePercent": 100, "judgeTier": "judge", "budgetUSDPerDay": "100"},
            "policy": {
                "rules": [{"name": "legal", "match": {"header": {"name": "x-team", "value": "legal"}}, "tier": "large"}]
            },
        }
        options = ("--verdicts-file", str(folder / "verdicts.jsonl"), "--salt-file", str(folder / "salt"))
        process = stack.enter_context(router(route, folder, *options, wait_seconds=120))
        yield Scene(process, folder, route, Random(17))


def train(*options: str) -> int:
    return cli.main(["train", "--from-route", "chat", *options])


def test_a_router_learns_from_its_own_verdicts(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in range(AT_ONCE, SMALL_ASKED + 1, AT_ONCE):
        assert {tier for tier, _ in scene.ask_many(AT_ONCE)} == {"small"}
        scene.wait_for("a verdict on each answer", lambda lines, asked=asked: len(lines) == asked)  # type: ignore[misc]
    for asked in range(SMALL_ASKED + AT_ONCE, SMALL_ASKED + LARGE_ASKED + 1, AT_ONCE):
        assert {tier for tier, _ in scene.ask_many(AT_ONCE, TO_LARGE)} == {"large"}
        scene.wait_for_verdicts(asked)
    taken = scene.folder / "taken.jsonl"  # whatever comes later does not get into it
    taken.write_bytes((scene.folder / "verdicts.jsonl").read_bytes())
    lines = [json.loads(line) for line in taken.read_text().splitlines()]
    by_rate = {rate: [line for line in lines if line["samplingRate"] == rate] for rate in (1.0, 0.25)}
    assert len(by_rate[1.0]) == SMALL_ASKED
    assert LARGE_ASKED / 8 < len(by_rate[0.25]) < LARGE_ASKED / 2
    assert {line["judge"]["routed"] for line in by_rate[0.25]} == {"reference"}
    assert all(line[who]["tokens"]["input"] > 5 for line in lines for who in ("small", "reference"))

    classifier = scene.folder / "classifier.bin"
    verdicts, salt = str(taken), str(scene.folder / "salt")
    prices = str(scene.folder / "route.yaml")
    assert (
        train("--verdicts", verdicts, "--salt-file", salt, "--prices", prices, "--out", str(classifier), "-o", "json")
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == len(lines)
    assert 300 <= found["counts_as"] < len(lines)
    assert found["costs"]["100"] == pytest.approx(100)
    header = Classifier.read(classifier.read_bytes(), SALT).header
    assert header.salt_check == salt_check(SALT)
    assert 0 < header.large_share_percent < 100
    assert found["apgr"] > 0.7, "what is hard is known by its operators"

    scene.route["policy"] = {"type": "Classifier", "classifier": {"file": str(classifier), "qualityPercent": 95}}
    scene.process.rewrite(scene.route)
    until = time.monotonic() + 60
    while scene.ask("What is 1 + 1?")[1] != "Classified":
        assert time.monotonic() < until, (scene.folder / "errors.log").read_text()
        time.sleep(0.2)
    fresh = scene.ask_many(200)
    assert {reason for _, reason in fresh} == {"Classified"}
    assert fmean(tier == "large" for tier, _ in fresh) == pytest.approx(header.large_share_percent / 100, abs=0.12)

    # The Secret is another one from now on: what was learned with the old one is refused, and the route goes on.
    (scene.folder / "salt").write_bytes(OTHER)
    until = time.monotonic() + 60
    while scene.ask("What is 1 + 1?") != ("small", "Default"):
        assert time.monotonic() < until
        time.sleep(0.2)
    scene.wait_for("verdicts with the other salt", lambda found: found[-1]["saltCheck"] == salt_check(OTHER))
    read = route_verdicts.read([scene.folder / "verdicts.jsonl"], SALT)
    assert read.other_salt >= 1
    assert len(read.labels) >= len(lines)

    for file in scene.folder.iterdir():
        if file.name != "salt":
            data = file.read_bytes()
            assert not any(secret in data for secret in (CANARY.encode(), SALT, OTHER)), file.name
    said = str(scene.process.metrics())
    assert not any(secret in said for secret in (CANARY, SALT.decode(), OTHER.decode()))


# --- files, without a router -----------------------------------------------------------------------------------------


def verdicts(count: int, salt: bytes = SALT, seed: int = 1) -> list[label_file.Label]:
    check = salt_check(salt)
    return [
        one.model_copy(update={"id": f"{seed}-{one.id}", "salt_check": check, "sampling_rate": 0.05})
        for one in labels(count, seed=seed, salt=salt)
    ]


@pytest.fixture
def salt(tmp_path: Path) -> str:
    (tmp_path / "salt").write_bytes(SALT)
    return str(tmp_path / "salt")


def test_files_of_several_routers_are_one_and_lines_count_once(
    tmp_path: Path, salt: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    label_file.write(first, verdicts(200))
    label_file.write(second, verdicts(150, seed=2))
    second.write_text(second.read_text() + first.read_text() + '{"id": "cut o')
    monkeypatch.setattr("sys.stdin", io.StringIO(first.read_text()))
    assert train("--verdicts", str(second), "-", "--salt-file", salt, "-o", "json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["labels"] == 350
    assert "200 verdicts stand in several files" in said.err


def test_verdicts_of_another_salt_are_left_out_and_only_such_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    label_file.write(file, [*verdicts(20, OTHER), *verdicts(30, seed=2)])
    found = route_verdicts.read([file], SALT)
    assert (len(found.labels), found.other_salt) == (30, 20)
    assert list(found.sentences()) == [
        "20 verdicts were hashed with another salt than the given one, and are left out."
    ]
    with pytest.raises(Invalid, match="all 50 verdicts were hashed with another salt"):
        route_verdicts.read([file], b"a third salt of chance")
    with pytest.raises(Invalid, match="cannot be read"):
        route_verdicts.read([tmp_path / "nothing"], SALT)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--from-route", "chat"], "--from-route with --verdicts"),
        (["--verdicts", "FILE"], "--from-route with --verdicts"),
        (["FILE", "--from-route", "chat", "--verdicts", "FILE"], "--from-route with --verdicts"),
        ([], "give files of labels"),
        (["--from-route", "chat", "--verdicts", "FILE"], "--salt-file must hold the salt of the route"),
        (["--from-route", "other", "--verdicts", "FILE", "--salt-file", "SALT"], "no label is of route other"),
        (["--from-route", "chat", "--verdicts", "FILE", "--salt-file", "SALT", "--from", "x"], "no label is of cheap"),
    ],
)
def test_what_does_not_fit_together_is_said(
    tmp_path: Path, salt: str, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    file = tmp_path / "a.jsonl"
    label_file.write(file, verdicts(20))
    given = [str(file) if option == "FILE" else salt if option == "SALT" else option for option in options]
    assert cli.main(["train", *given]) == 2
    assert says in capsys.readouterr().err
