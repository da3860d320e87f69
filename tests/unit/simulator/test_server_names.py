"""The simulated engine serves adapters as models, and wants the file of its chat template, as vLLM does."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.simulator.processes import vllm


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
