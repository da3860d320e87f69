"""Checks the command: what it reads, what it prints for people and programs, and how it says what is wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from tests.render.goldens import REPO
from tests.unit.simulator.replay.make import route, tier
from tierwise.ports import History
from tierwise.prom.client import Access
from tierwise_cli.main import main
from tierwise_sim import simulate_trace

TRACE = ["--trace", "constant:rate=1,seconds=120,seed=3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tier.yaml").write_text(yaml.safe_dump(tier()))
    (tmp_path / "route.yml").write_text(yaml.safe_dump_all([route("small"), None]))
    return tmp_path


def simulate(folder: Path, *options: str) -> int:
    return main(["simulate", "-f", str(folder), *TRACE, *options])


def test_a_table_says_what_it_cost_and_whether_it_was_good_enough(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(folder) == 0
    said = capsys.readouterr()
    assert "small" in said.out
    assert "met both targets" in said.out
    assert "GPU-hours" in said.out
    assert said.err == "", "no progress bar where nobody looks"


def test_json_holds_the_whole_result_and_the_same_bytes_every_time(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []
    for _ in range(2):
        assert simulate(folder, "-o", "json") == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert found["format"] == 1
    assert found["setup"]["autoscaler"] == "tierwise"
    assert found["tiers"][0]["timeline"][0]["at"] == 0.0
    assert found["total"]["requests"]["arrived"] == found["setup"]["arrivals"]
    assert isinstance(found["total"]["dollars"], str)


def test_variants_are_a_row_each_and_a_list_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(folder, "--what-if", "small.replicas=1,2") == 0
    assert "small.replicas=2" in capsys.readouterr().out
    assert simulate(folder, "--what-if", "small.replicas=1,2", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["setup"]["what_if"] for each in found] == [["small.replicas=1"], ["small.replicas=2"]]
    assert found[0]["tiers"][0]["replicas_peak"] == 1
    assert found[1]["tiers"][0]["replicas_peak"] == 2


def test_options_are_varied_as_fields_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--what-if", "startup=10,100", "--what-if", "autoscaler=static:replicas=2,tierwise", "-o", "json"]
    assert simulate(folder, *options) == 0
    found = [each["setup"] for each in json.loads(capsys.readouterr().out)]
    assert [each["startup_seconds"] for each in found] == [10.0, 10.0, 100.0, 100.0]
    assert [each["autoscaler"] for each in found] == ["static:replicas=2", "tierwise"] * 2
    assert found[3]["what_if"] == ["startup=100", "autoscaler=tierwise"]


def test_a_report_is_written_beside_the_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.html"
    assert simulate(folder, "--what-if", "small.replicas=1,2", "-o", "json", "--report", str(file)) == 0
    found = json.loads(capsys.readouterr().out)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    for each in found:
        assert each["setup"]["what_if"][0] in text
        assert f"<td>{Decimal(each['total']['dollars']):.4f}</td>" in text, "below a dollar: four digits"


def test_another_autoscaler_decides_where_it_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(folder, "--autoscaler", "static:replicas=3", "--initial", "2", "--startup", "10", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["setup"]["autoscaler"] == "static:replicas=3"
    assert found["tiers"][0]["timeline"][0]["ready"] == 2
    assert found["tiers"][0]["timeline"][-1]["ready"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--autoscaler", "nobody"], "'nobody' is not known; there are tierwise, static"),
        (["--autoscaler", "tierwise:x=1"], "takes its settings from the manifests"),
        (["--fault", "nan"], "is not understood"),
        (["--what-if", "x"], "is not understood"),
        (["--what-if", "ttft=soon"], "'soon' is no number"),
        (["--what-if", "ttft=0"], "--ttft is 0; it must be from 0.001"),
        (["--what-if", "small.scaling.maxReplicas=many"], "maxReplicas"),
        (["--startup=-1"], "--startup '-1' is not understood; expected SECONDS or TIER=SECONDS"),
        (["--startup", "small=soon"], "expected SECONDS or TIER=SECONDS"),
        (["--ttft", "0"], "--ttft is 0"),
        (["--route", "nobody"], "there is no ModelRoute nobody"),
        (
            ["--from-prometheus", "http://127.0.0.1:1"],
            "either --trace with a file or a generator",
        ),
        (["--gpus", "H100=2"], "expected N or PRODUCT=N, PRODUCT one of NVIDIA-L4"),
        (["--initial", "small=many"], "expected N or TIER=N"),
        (["--priority", "small=0"], "--priority 'small=0' is not understood"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_exit_code_two(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert simulate(folder, *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_trace_that_does_not_parse_says_line_and_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = folder / "log.csv"
    log.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,10,20\n2023-11-16 18:15:47,ten,3\n")
    assert main(["simulate", "-f", str(folder / "tier.yaml"), "--trace", str(log)]) == 2
    assert f"{log}:3" in capsys.readouterr().err


def test_what_a_prometheus_remembers_is_simulated_and_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of it is the traces' own test; here: the range, the labels, and what becomes of the answer."""
    asked: list[tuple[str, float, float, float]] = []

    class Remembers:
        def __init__(self, access: Access) -> None:
            self.access = access

        async def query_range(self, promql: str, start: float, end: float, step: float) -> list[History]:
            asked.append((promql, start, end, step))
            value = {"request_success": 30.0, "prompt_tokens_total": 3000.0}.get(
                next((name for name in ("request_success", "prompt_tokens_total") if name in promql), ""), 600.0
            )
            if "bucket" in promql:
                return []
            return [History({"model_name": "m"}, ((start, value), (start + step, value)))]

        def close(self) -> None:
            return None

    monkeypatch.setattr(simulate_trace, "PrometheusMetrics", Remembers)
    kept = folder / "kept.jsonl"
    options = ["--last", "10m", "--step", "300", "--match", "namespace=models", "--save-trace", str(kept)]
    base = ["simulate", "-f", str(folder), "-o", "json"]
    assert main([*base, "--from-prometheus", "http://127.0.0.1:1", *options]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["setup"]["arrivals"] == 60
    assert first["setup"]["seconds"] == 600.0
    assert all('namespace="models"' in promql for promql, *_ in asked)
    assert main([*base, "--trace", str(kept)]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == first["total"]


@pytest.mark.parametrize("last", ["7", "d", "0h", "7w", "-1d"])
def test_a_time_that_is_not_understood_is_said(folder: Path, capsys: pytest.CaptureFixture[str], last: str) -> None:
    base = ["simulate", "-f", str(folder), "--from-prometheus", "http://127.0.0.1:1"]
    assert main([*base, f"--last={last}"]) == 2
    assert "such as 90m, 12h or 7d" in capsys.readouterr().err


def test_a_folder_without_manifests_and_yaml_that_is_none_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "-f", str(tmp_path), *TRACE]) == 2
    assert "there is no YAML file" in capsys.readouterr().err
    (tmp_path / "a.yaml").write_text("[1, 2")
    assert main(["simulate", "-f", str(tmp_path), *TRACE]) == 2
    assert "is not YAML" in capsys.readouterr().err


def test_models_that_the_route_does_not_have_are_asked_of_the_route(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = folder / "log.jsonl"
    rows = [{"time": 1.0 + each, "model": "gpt-9", "prompt_tokens": 20, "completion_tokens": 5} for each in range(20)]
    log.write_text("\n".join(map(json.dumps, rows)))
    assert main(["simulate", "-f", str(folder), "--trace", str(log), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["requests"]["refused"] == {}
    assert any("gpt-9" in note for note in found["notes"])


def test_a_classifier_needs_a_share(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = {"type": "Classifier", "classifier": {"configMapName": "c"}}
    (folder / "route.yml").write_text(yaml.safe_dump_all([tier("large"), route("small", "large", policy=policy)]))
    assert simulate(folder) == 2
    assert "--share" in capsys.readouterr().err
    assert simulate(folder, "--share", "40") == 0


def test_the_example_answers_its_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten minutes of its first hour: a week takes minutes."""
    example = REPO / "examples/10-what-would-it-cost"
    hour = tmp_path / "usage.csv"
    hour.write_text("".join((example / "usage.csv").read_text().splitlines(keepends=True)[:4]))
    usage = ["--trace", str(hour), "--until", "600"]
    assert main(["simulate", "-f", str(example), *usage, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["tiers"]] == ["small", "large", "provider"]
    assert found["setup"]["arrivals"] > 100
    assert found["tiers"][0]["requests"]["answered"] > 0, "mini-model is answered by small"
    assert found["savings"]["reference"] == "provider"
    assert any("spread" in note for note in found["notes"])
