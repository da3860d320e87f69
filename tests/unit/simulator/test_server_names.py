"""The simulated engine takes names as vLLM does: adapters are models, a template is a file, others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.simulator.processes import vllm
from tests.vllm.rows import FAILS, Row
from tierwise_sim.server import main

# What the engine looks up in a list of its own. The other rows are refused by what is in the model's files.
BY_NAME = [row for row in FAILS if row.spec.keys() and row.spec.keys() <= {"extraArgs", "env"}]


def test_adapters_are_models_and_answer_in_both_forms(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages }}")
    written = json.dumps({"name": "medical", "path": "/mnt/adapters/1"})
    adapters = ("--enable-lora", "--lora-modules", "legal:2=/mnt/adapters/0", written)
    with vllm(f"--chat-template={template}", *adapters) as server:
        models = json.loads(server.get("/v1/models")[1])["data"]
        assert [each["id"] for each in models] == ["chat", "legal:2", "medical"]
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        for model, status in (("legal:2", 200), ("medical", 200), ("poetry", 404)):
            assert server.get("/v1/chat/completions", {**body, "model": model})[0] == status


def test_a_template_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "missing.jinja"
    with vllm(f"--chat-template={missing}") as server:
        assert server.process.wait(20) == 1
        assert server.process.stderr is not None
        last = server.process.stderr.read().strip().splitlines()[-1]
    assert last == f"ValueError: The supplied chat template string ({missing}) appears path-like, but doesn't exist!"


@pytest.mark.parametrize("row", BY_NAME, ids=[row.title for row in BY_NAME])
def test_a_name_of_no_release_is_refused_in_the_words_of_the_real_engine(
    row: Row, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words are those that tests/vllm/test_startable.py finds in the real engine's log."""
    monkeypatch.setenv("TIERWISE_SIM_VERSION", f"{row.release}.0")
    for variable in row.spec.get("env", []):
        monkeypatch.setenv(variable["name"], variable["value"])
    try:
        ended = main(["serve", "Qwen/Qwen3-8B-FP8", *row.spec.get("extraArgs", [])])
    except SystemExit as error:
        ended = int(str(error.code))
    assert ended != 0
    assert row.error in capsys.readouterr().err.splitlines()[-1]
