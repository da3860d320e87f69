"""Checks `tierwise train` as people run it: what it prints and writes, its exit code, and that it tells no prompt."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.training.known import WORDS, labels
from tierwise.routing.classifier import Classifier
from tierwise.routing.text_features import TextFacts, features_of
from tierwise_cli import main as cli
from tierwise_training import labels as label_file

MADE = labels(300)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    label_file.write(path, MADE)
    return path


def config_map(path: Path) -> dict[str, Any]:
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


def test_labels_become_a_config_map_that_a_router_can_read(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "classifier.yaml"
    assert cli.main(["train", str(written), "--out", str(out), "-n", "models"]) == 0
    found = config_map(out)
    assert (found["kind"], found["metadata"]["name"], found["metadata"]["namespace"]) == (
        "ConfigMap",
        "chat-classifier",
        "models",
    )
    classifier = Classifier.read(base64.b64decode(found["binaryData"]["classifier.bin"]))
    header = classifier.header
    assert (header.route, header.from_tier, header.reference_tier, header.refusal) == ("chat", "small", "large", "")
    said = capsys.readouterr().out
    assert re.search(r"With \d+ % of requests to large, 95 % of large's right answers", " ".join(said.split()))
    assert "kubectl apply --server-side -f" in said
    assert found["metadata"]["annotations"]["tierwise.io/large-share-percent"] in said


def test_json_holds_all_that_was_found(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(written), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == 300
    assert [step["share_percent"] for step in found["curve"]] == list(range(100, -1, -2))
    assert found["share"] in {step["share_percent"] for step in found["curve"] if step["kept"]}


def test_a_classifier_that_must_not_be_used_is_written_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = tmp_path / "few.jsonl", tmp_path / "classifier.yaml"
    label_file.write(few, MADE[:60])
    assert cli.main(["train", str(few), "--out", str(out), "--report", str(tmp_path / "r.html")]) == 1
    assert "Not to be used: learned from 60 labels" in " ".join(capsys.readouterr().out.split())
    assert out.read_text(encoding="utf-8").startswith("# MUST NOT BE USED: learned from 60 labels")
    assert "60 labels" in config_map(out)["metadata"]["annotations"]["tierwise.io/refusal"]
    packed = config_map(out)["binaryData"]["classifier.bin"]
    assert "60 labels" in Classifier.read(base64.b64decode(packed)).header.refusal
    assert "Not to be used" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--quality", "40"], "--quality is 40"),
        (["--route", "search"], "there are labels of: chat"),
        (["--salt-file", "/nowhere"], "salt file"),
    ],
)
def test_what_was_asked_for_wrongly_is_told_in_one_line(
    written: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert cli.main(["train", str(written), *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_hashed_features_without_their_salt_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A router would hash requests without it, and every score would be nonsense."""
    salt, path = tmp_path / "salt", tmp_path / "labels.jsonl"
    salt.write_text("grains of chance")
    features = features_of(b"what is hard", TextFacts(), b"grains of chance").to_json()
    label_file.write(path, [one.model_copy(update={"prompt": None, "features": features}) for one in MADE[:60]])
    assert cli.main(["train", str(path)]) == 2
    assert "--salt-file" in capsys.readouterr().err
    assert cli.main(["train", str(path), "--salt-file", str(salt)]) == 1


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_without_scikit_learn_the_command_says_what_to_install(written: Path) -> None:
    blocked = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from tierwise_cli import main as cli\n"
        f"sys.exit(cli.main(['train', {str(written)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "pip install '.[training]' in Tierwise's source" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_other_commands_do_not_import_what_only_training_needs() -> None:
    script = (
        "import sys; from tierwise_cli import main as cli; cli.main(['version'])\n"
        "print([name for name in ('sklearn', 'scipy', 'tierwise_training.model') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


class _Page(HTMLParser):
    """The tags that are open, what the page would load, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_is_one_page_that_loads_nothing(written: Path, tmp_path: Path) -> None:
    prices, report = tmp_path / "prices.yaml", tmp_path / "report.html"
    prices.write_text('small: {input: "0.2", output: "0.6"}\nlarge: {input: "2", output: "8"}\n')
    assert cli.main(["train", str(written), "--report", str(report), "--prices", str(prices), "-o", "json"]) == 0
    page = _Page()
    text = report.read_text(encoding="utf-8")
    page.feed(text)
    assert page.open == []
    assert page.loads == []
    assert "<script" not in text
    assert "url(" not in text
    for expected in ("Quality by share", "Who answers right", "What decides", "After so many labels", "integral"):
        assert any(expected in each for each in page.texts), expected
    assert "nan" not in re.findall(r'points="([^"]*)"', text)[0]


def test_no_prompt_and_no_salt_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canary, salt = "canary7f3a what is the integral of canary7f3b", b"canary-salt-9d1c0b5e"
    some = [
        each.model_copy(update={"prompt": f"{canary} {number}"}) if number % 60 == 0 else each
        for number, each in enumerate(MADE)
    ]
    path, out, report = tmp_path / "labels.jsonl", tmp_path / "c.yaml", tmp_path / "r.html"
    label_file.write(path, some)
    (tmp_path / "salt").write_bytes(salt)
    salted = ["--salt-file", str(tmp_path / "salt")]
    cli.main(["train", str(path), "--out", str(out), "--report", str(report), *salted])
    everything = capsys.readouterr().out + out.read_text() + report.read_text()
    everything += str(base64.b64decode(config_map(out)["binaryData"]["classifier.bin"]))
    assert canary not in everything
    assert salt.decode() not in everything


def test_the_file_alone_and_unlabelled_prompts(written: Path, tmp_path: Path) -> None:
    unlabelled, out = tmp_path / "prompts.jsonl", tmp_path / "classifier.bin"
    unlabelled.write_text(
        "".join(json.dumps({"prompt": " ".join([*WORDS[n : n + 6], "theorem"])}) + "\n" for n in range(30))
    )
    assert cli.main(["train", str(written), "--out", str(out), "--unlabelled", str(unlabelled), "-o", "json"]) == 0
    shifted = Classifier.read(out.read_bytes())
    assert cli.main(["train", str(written), "--out", str(out), "-o", "json"]) == 0
    assert shifted.threshold(50) > Classifier.read(out.read_bytes()).threshold(50)
