"""Checks that the real engine starts what we call valid, and refuses what we refuse.

Outside the playground, one engine per row of startable.yaml, two at a time: the image's launcher with the argument
list that is rendered for the row's spec. A method that serves must show itself in the log or the metrics and answer
what the model is known to say; one that fails must fail by the engine's own words.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.vllm.conftest import say
from tests.vllm.environment import Installed, installed
from tests.vllm.rows import BREAKS, FAILS, SERVES, Row, rows
from tests.vllm.tiers import ANSWER_SECONDS, cycle
from tierwise.api.modeltier import ModelTierSpec, Resources
from tierwise.engines import arguments, check
from tierwise.engines.shape import model_shape
from tierwise.types.capabilities import GPU, Facts, ModelShape

pytestmark = pytest.mark.vllm
TITLE = attrgetter("title")
START_SECONDS = 600.0
END_SECONDS = 120.0
AT_A_TIME = 2
TOKENS = 40  # five times the cycle: n-gram drafts begin with the second


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `served`: it came up; `text`: its answer, and `metrics` after that, "" without; `code`: its exit
    code, after SIGTERM if it had to be ended."""

    served: bool
    text: str
    metrics: str
    code: int
    log: str
    seconds: float


def _start(row: Row, engine: Installed, folder: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    command = [str(Path(engine.path[0]) / "vllm"), "serve", *arguments(row.tier), "--host=127.0.0.1", f"--port={port}"]
    given = {each.name: each.value or "" for each in row.tier.env}
    environment = {**engine.surroundings(home), **given, "TIERWISE_CPU_KV_CACHE": row.kv_cache, "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
    return process, f"http://127.0.0.1:{port}"


def _served(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the engine came up rather than ended."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/health", timeout=5).status_code == 200:
                return True
        except requests.RequestException:
            pass
        time.sleep(0.5)
    return False


def _ask(url: str) -> str:
    """The answer; "" when the engine ends over the question. Raises requests.RequestException."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": TOKENS, "temperature": 0}
    answer = requests.post(f"{url}/v1/chat/completions", json=body, timeout=ANSWER_SECONDS)
    if answer.status_code == 500:
        return ""
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


def _try(row: Row, folder: Path, log: Path) -> Outcome:
    began = time.monotonic()
    process, url = _start(row, installed(row.release), folder, log)
    try:
        served = _served(url, process)
        text = _ask(url) if served else ""
        metrics = requests.get(f"{url}/metrics", timeout=ANSWER_SECONDS).text if text else ""
        if process.poll() is None:
            process.terminate()
        code = process.wait(END_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a server that ends while it starts leaves its engine behind
        process.wait()
    said, seconds = log.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began
    say(f"{row.title}: {'answered' if text else 'came up' if served else 'refused'}, {seconds:.0f} s")
    return Outcome(served, text, metrics, code, said, seconds)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """The outcome of every selected row, as they come."""
    folder = tmp_path_factory.mktemp("started")
    (folder / "tiny").symlink_to(models)
    selected = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = [parameters["row"] for parameters in selected if "row" in parameters]  # other files have their own
    rows = {row.title: row for row in wanted if isinstance(row, Row)}
    logs = tmp_path_factory.mktemp("logs")
    say(f"starting {len(rows)} engines, {AT_A_TIME} at a time")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {
            title: pool.submit(_try, row, folder, logs / f"{number}.log")
            for number, (title, row) in enumerate(rows.items())
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("row", SERVES, ids=TITLE)
def test_the_engine_serves_it(outcomes: Mapping[str, Future[Outcome]], row: Row) -> None:
    outcome = outcomes[row.title].result()
    assert outcome.served, outcome.log[-4000:]
    assert outcome.text == cycle(TOKENS), outcome.log[-4000:]
    assert row.unproven(outcome.log, outcome.metrics) == []
    assert outcome.code == os.EX_OK


@pytest.mark.parametrize("row", BREAKS, ids=TITLE)
def test_the_engine_comes_up_and_breaks_over_the_first_request(
    outcomes: Mapping[str, Future[Outcome]], row: Row
) -> None:
    outcome = outcomes[row.title].result()
    assert outcome.served, f"it refuses to start by now: move the row\n{outcome.log[-4000:]}"
    assert outcome.text == "", "it serves by now: move the row"
    assert row.error in outcome.log, outcome.log[-4000:]


@pytest.mark.parametrize("row", FAILS, ids=TITLE)
def test_the_engine_refuses_it_by_its_own_words(outcomes: Mapping[str, Future[Outcome]], row: Row) -> None:
    outcome = outcomes[row.title].result()
    assert not outcome.served, "it starts: our refusal would be wrong"
    assert outcome.code not in (os.EX_OK, -9), outcome.log[-4000:]
    assert row.error in outcome.log, outcome.log[-4000:]


def _facts(row: Row, models: Path) -> Facts:
    """What the operator would know: the models' own files, and an H100 with so much memory."""

    def shape(folder: str) -> ModelShape:
        return model_shape(json.loads((models / folder / "config.json").read_text(encoding="utf-8")))

    draft = row.tier.speculation.draft_model
    gpu = GPU("NVIDIA-H100-80GB-HBM3", capability=(9, 0), memory_mib=row.gpu_mib, driver_major=580)
    return Facts((gpu,), shape(row.model), shape(draft.removeprefix("tiny/")) if draft else None)


def _on_a_gpu(row: Row) -> ModelTierSpec:
    resources = {"gpus": row.tier.parallelism.tensor, "cpu": "1", "memory": "4Gi"}
    return row.tier.model_copy(update={"resources": Resources.model_validate(resources)})


@pytest.mark.parametrize("row", SERVES, ids=TITLE)
def test_what_the_engine_serves_is_not_refused_here(models: Path, row: Row) -> None:
    assert [problem for problem in check(_on_a_gpu(row), _facts(row, models)) if problem.fatal] == []


@pytest.mark.parametrize("row", FAILS, ids=TITLE)
def test_what_the_engine_refuses_is_refused_here(models: Path, row: Row) -> None:
    asked = _on_a_gpu(row)  # by the release's own image: what another one knows by name is not ours to refuse
    asked = asked.model_copy(update={"engine": asked.engine.model_copy(update={"image": None})})
    assert any(problem.fatal for problem in check(asked, _facts(row, models)))


ENTRY = {"name": "a", "releases": ["0.32"], "model": "plain"}


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("serves", {}),
        ("serves", {"log": [], "metrics": {}}),
        ("serves", {"log": [""]}),
        ("serves", {"log": "a line"}),
        ("breaks", {"log": ["a line"]}),
        ("fails", {"error": ""}),
    ],
)
def test_a_row_that_could_not_fail_is_refused(kind: str, entry: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a, 0\.32: "):
        rows({kind: [{**ENTRY, **entry}]}, kind)


def test_what_the_engine_does_not_show_is_told() -> None:
    info = {"cache_config_info": {"block_size": "32", "cache_dtype": "fp8"}, "drafts_total": {}}
    row = Row("a", "0.32", "plain", log=["drafting", "quantized"], metrics=info)
    text = (
        '# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size="16",cache_dtype="fp8"} 1.0\n'
        '# TYPE vllm:drafts counter\nvllm:drafts_total{engine="0"} 0.0\n'
    )
    assert row.unproven("is quantized", text) == [
        "log: drafting",
        "metrics: cache_config_info {'block_size': '32', 'cache_dtype': 'fp8'} above zero",
        "metrics: drafts_total {} above zero",
    ]
    right = text.replace('"16"', '"32"').replace(" 0.0", " 3.0")
    assert row.unproven("drafting, quantized", right) == []
