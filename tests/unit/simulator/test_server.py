"""Checks the process at its edges against vLLM: the official client, the counters, refusals, the end."""

import asyncio
import json
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.unit.simulator.processes import Vllm, vllm
from tierwise_sim.load import LoadClient, Result, closed_loop, open_loop, summarise
from tierwise_sim.server import main
from tierwise_sim.workloads import Arrival

COUNTERS = 'vllm:{}_tokens_total{{model_name="chat",engine="0"}}'


@pytest.fixture(scope="module")
def server() -> Iterator[Vllm]:
    with vllm("--enable-prompt-tokens-details", "--max-model-len=4096") as started:
        yield started


@pytest.fixture
def client(server: Vllm) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_official_client_gets_an_answer_and_its_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "hello"}], max_tokens=20, extra_body={"ignore_eos": True}
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (4, 20, 24)
    assert [model.id for model in client.models.list()] == ["chat"]
    assert client.completions.create(model="chat", prompt="one two", max_tokens=5).choices[0].text


def test_a_streamed_answer_is_the_same_text_and_ends_with_usage(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "tell"}], max_tokens=50)
    chunks = list(
        client.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "tell"}],
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == plain.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == plain.choices[0].finish_reason
    assert chunks[-1].usage == plain.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_errors_reach_the_official_client_as_its_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="The model `gpt` does not exist"):
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])
    with pytest.raises(openai.BadRequestError, match="maximum context length is 4096"):
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "word " * 5000}])


def test_a_repeated_prompt_is_billed_as_cached(client: openai.OpenAI) -> None:
    text = "the same long prompt again and again " * 20
    cached = []
    for _ in range(2):
        answer = client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": text}], max_tokens=3
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens or 0)
    assert cached[0] == 0
    assert cached[1] >= 112
    assert cached[1] % 16 == 0


def test_small_endpoints(server: Vllm) -> None:
    assert server.get("/health") == (200, "")
    assert server.get("/ping") == (200, "")
    assert json.loads(server.get("/version")[1]) == {"version": "0.33.0"}
    assert json.loads(server.get("/tokenize", {"prompt": "one two three"})[1])["count"] == 4
    assert server.get("/nowhere")[0] == 404
    assert server.get("/v1/chat/completions", {"messages": "x"})[0] == 400


def test_the_metrics_page_hangs_lies_fails_and_recovers(server: Vllm) -> None:
    assert server.get("/sim/metrics", {"mode": "hang"})[0] == 200
    with pytest.raises(TimeoutError):
        server.get("/metrics", timeout=0.3)
    assert server.get("/health")[0] == 200
    server.get("/sim/metrics", {"mode": "nan"})
    assert "vllm:kv_cache_usage_perc" in server.get("/metrics")[1]
    assert server.metric("vllm:kv_cache_usage_perc") != server.metric("vllm:kv_cache_usage_perc")
    server.get("/sim/metrics", {"mode": "inf"})
    assert server.metric("vllm:kv_cache_usage_perc") == float("inf")
    server.get("/sim/metrics", {"mode": "error"})
    assert server.get("/metrics")[0] == 500
    assert server.get("/sim/metrics", {"mode": "sulk"})[0] == 400
    server.get("/sim/metrics", {"mode": "ok"})
    assert server.metric("vllm:kv_cache_usage_perc") == 0.0


def test_a_load_is_answered_and_the_clients_sums_are_the_engines_counters() -> None:
    heard: list[Result] = []

    async def run(url: str) -> list[Result]:
        async with LoadClient(url, "chat") as client:
            arrivals = [Arrival(i * 0.01, 100 + i, 20 + i, (1,)) for i in range(40)]
            results, deadline = await open_loop(client, arrivals, heard.append), time.monotonic() + 60
            while len(results) <= 44:  # on a slow machine a user has time for one request, or for none
                assert time.monotonic() < deadline, f"{len(results)} requests in 60 s"
                results += await closed_loop(client, 4, Arrival(0, 50, 10), client.now() + 0.3, heard.append)
            return results

    with vllm("--enable-prompt-tokens-details", "--max-num-seqs=8") as server:
        results = asyncio.run(run(server.url))
        summary = summarise(results)
        assert summary.outcomes == {"ok": len(results)}
        assert len(heard) == summary.requests > 44
        assert server.metric(COUNTERS.format("prompt")) == summary.prompt_tokens
        assert server.metric(COUNTERS.format("generation")) == summary.output_tokens
        assert server.metric(COUNTERS.format("prompt").replace("tokens", "tokens_cached")) == summary.cached_tokens > 0
        assert sorted(r.prompt_tokens for r in results if r.prompt_tokens >= 100) == list(range(100, 140))
        assert summary.ttft_p50 is not None
        assert summary.latency_p95 is not None
        assert 0 < summary.ttft_p50 <= summary.latency_p95


def test_too_many_requests_are_refused_and_counted() -> None:
    async def run(server: Vllm) -> list[Result]:
        refused: list[Result] = []
        async with LoadClient(server.url, "chat") as client:
            loading = asyncio.create_task(open_loop(client, [Arrival(0, 50, 100)] * 6, refused.append))
            deadline = time.monotonic() + 60
            while len(refused) < 4:  # only then those that were taken may end, which makes room
                assert time.monotonic() < deadline, f"{len(refused)} requests are refused after 60 s"
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.get, "/sim/slow", {"times": 1})
            return await loading

    with vllm("--max-num-queued-reqs=2", SPEED="5") as server:
        assert server.get("/sim/slow", {"times": 1e9})[0] == 200
        summary = summarise(asyncio.run(run(server)))
        assert summary.outcomes == {"http 503": 4, "ok": 2}
        assert server.metric('vllm:admission_rejections_total{model_name="chat",reason="max_num_queued_reqs"}') == 4


def test_a_client_that_leaves_aborts_its_request() -> None:
    with vllm(SPEED="1") as server:
        body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5000, "ignore_eos": True}
        with pytest.raises(TimeoutError):
            server.get("/v1/chat/completions", body, timeout=2)
        streamed = json.dumps({**body, "stream": True}).encode()
        with urllib.request.urlopen(f"{server.url}/v1/chat/completions", streamed, 30) as response:
            assert response.read(6) == b"data: "
        deadline = time.monotonic() + 30
        while server.metric("vllm:num_requests_running") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.metric('vllm:request_success_total{model_name="chat",engine="0",finished_reason="abort"}') == 2
        assert server.metric("vllm:kv_cache_usage_perc") == 0


class Background(threading.Thread):
    """One request in another thread."""

    def __init__(self, server: Vllm, tokens: int, stream: bool = True) -> None:
        super().__init__()
        self._server = server
        self._body = {
            "messages": [{"role": "user", "content": "a"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": stream,
        }
        self.answer = (0, "")
        self.start()
        deadline = time.monotonic() + 60
        while not self._open():
            assert time.monotonic() < deadline, "the engine does not have the request after 60 s"
            time.sleep(0.01)

    def _open(self) -> int:
        """Requests that the engine has: in one that hangs they wait for ever to run."""
        state = json.loads(self._server.get("/sim/state")[1])
        return int(state["running"]) + int(state["waiting"])

    def run(self) -> None:
        self.answer = self._server.get("/v1/chat/completions", self._body, timeout=180)


@pytest.mark.parametrize(("version", "status"), [("0.33.0", 200), ("0.32.0", 500)])
def test_a_drain_finishes_open_requests_while_new_ones_are_turned_away(version: str, status: int) -> None:
    with vllm("--shutdown-timeout=120", SPEED="20", VERSION=version) as server:
        # The open request ends when the test lets it, however long the steps before that take here.
        assert server.get("/sim/slow", {"times": 1e9})[0] == 200
        open_request = Background(server, 200)
        server.stop()
        deadline = time.monotonic() + 60
        while not json.loads(server.get("/sim/state")[1])["draining"]:
            assert time.monotonic() < deadline, "it does not drain 60 s after SIGTERM"
            time.sleep(0.01)
        assert server.get("/health")[0] == 200
        code, text = server.get("/v1/chat/completions", {"messages": [{"role": "user", "content": "b"}]})
        assert code == status
        assert '"abort"' in text if status == 200 else "cannot schedule new futures after shutdown" in text
        assert open_request.answer == (0, ""), "it is still open"
        assert server.get("/sim/slow", {"times": 1})[0] == 200
        open_request.join()
        assert open_request.answer[0] == 200
        assert open_request.answer[1].endswith("data: [DONE]\n\n")
        assert '"error"' not in open_request.answer[1]
        assert server.process.wait(120) == 0


def test_a_drain_deadline_ends_streams_with_an_error_and_done() -> None:
    with vllm("--shutdown-timeout=1", SPEED="1") as server:
        open_request = Background(server, 4000)
        server.stop()
        open_request.join()
        assert open_request.answer[1].endswith("data: [DONE]\n\n")
        assert "EngineCore encountered an issue" in open_request.answer[1]
        assert server.process.wait(30) == 0


def test_a_killed_engine_may_leave_its_clients_without_a_word_and_waits_until_they_go() -> None:
    with vllm("--shutdown-timeout=0", SPEED="1", ABORT_MODE="hang") as server:
        body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 4000, "ignore_eos": True, "stream": True}
        with urllib.request.urlopen(f"{server.url}/v1/chat/completions", json.dumps(body).encode(), 5) as response:
            assert response.read(6) == b"data: "
            server.stop()
            with pytest.raises(TimeoutError):
                response.read()
            assert server.process.poll() is None, "neither a byte nor a close: the process waits"
            with pytest.raises(OSError, match="refused"):
                server.get("/health")
        assert server.process.wait(30) == 0


def test_without_a_shutdown_timeout_nothing_is_waited_for() -> None:
    with vllm(SPEED="1") as server:
        open_request = Background(server, 4000, stream=False)
        stopped = time.monotonic()
        server.stop()
        open_request.join()
        assert open_request.answer[0] == 500
        assert server.process.wait(30) == 0
        assert time.monotonic() - stopped < 30


def test_sudden_death_leaves_its_message_as_the_last_line() -> None:
    with vllm() as server:
        assert server.get("/sim/die", {"exit_code": 3, "message": "CUDA error: unspecified launch failure"})[0] == 202
        assert server.process.wait(30) == 3
        assert server.process.stderr is not None
        assert server.process.stderr.read().splitlines()[-1] == "CUDA error: unspecified launch failure"


def test_an_engine_that_hangs_keeps_its_server_well() -> None:
    with vllm() as server:
        assert server.get("/sim/slow", {"times": 1e9})[0] == 200
        hangs = Background(server, 5, stream=False)
        assert server.get("/health")[0] == 200
        assert server.get("/metrics")[0] == 200
        assert hangs.answer == (0, "")
        assert server.get("/sim/slow", {"times": 1})[0] == 200
        hangs.join()
        assert hangs.answer[0] == 200


def test_an_engine_cannot_be_slowed_by_nonsense() -> None:
    with vllm() as server:
        for times in (0, 0.5, 1e10, True, "2", None):
            assert server.get("/sim/slow", {"times": times})[0] == 400, times


def test_sigterm_during_the_load_ends_at_once() -> None:
    with vllm(LOAD_SECONDS="60", wait_seconds=0) as loading:
        assert loading.process.stdout is not None
        assert "loading Qwen/Qwen3-8B-FP8 on NVIDIA-L4: 60.0 s" in loading.process.stdout.readline()
        with pytest.raises(OSError, match="refused"):
            loading.get("/health")
        loading.stop()
        assert loading.process.wait(30) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("extra", "environment", "status", "last"),
    [
        ([], {"FAIL": "oom"}, 1, "torch.OutOfMemoryError: CUDA out of memory."),
        ([], {"FAIL": "RuntimeError: Engine core initialization failed.", "FAIL_EXIT_CODE": "9"}, 9, "RuntimeError"),
        (["--max-model-len=1000000"], {}, 1, "ValueError: To serve at least one request with the model's max seq"),
        (["--frob"], {}, 2, "vllm: error: unrecognized arguments: --frob"),
        (
            ["--enable-auto-tool-choice", "--tool-call-parser=qwen"],
            {},
            1,
            "KeyError: 'invalid tool call parser: qwen (chose from { apertus,beam,",
        ),
        (["--reasoning-parser=muse"], {"VERSION": "0.32.0"}, 1, "KeyError: \"Reasoning parser 'muse' not found. Avail"),
        (["--attention-backend=flash"], {}, 1, "Value error, Unknown attention backend: 'FLASH'. Valid options are: "),
        (["--moe-backend=Nope"], {}, 2, "vllm serve: error: argument --moe-backend: invalid choice: 'nope' (choose"),
        (["--tool-call-parser=qwen", "--max-model-len=1000000"], {}, 1, "ValueError: To serve at least one request"),
        ([], {"SPED": "1"}, 1, "unknown TIERWISE_SIM_ settings: sped"),
        ([], {"CONFIG": "/nowhere.json"}, 1, "[Errno 2] No such file"),
    ],
)
def test_a_start_that_fails_ends_with_vllms_last_line(
    extra: list[str],
    environment: dict[str, str],
    status: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TIERWISE_SIM_LOAD_SECONDS", "0.01")
    for name, value in environment.items():
        monkeypatch.setenv(f"TIERWISE_SIM_{name}", value)
    try:
        ended = main(["serve", "Qwen/Qwen3-8B-FP8", *extra])
    except SystemExit as error:
        ended = int(str(error.code))
    assert ended == status
    assert capsys.readouterr().err.splitlines()[-1].startswith(last)


def test_a_service_named_vllm_spoils_the_environment_as_it_does_for_vllm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLLM_PORT", "tcp://10.0.0.7:8000")
    assert main(["serve", "Qwen/Qwen3-8B-FP8"]) == 1
    assert "VLLM_PORT 'tcp://10.0.0.7:8000' appears to be a URI" in capsys.readouterr().err


def test_a_config_file_breaks_one_model_and_the_other_listens_after_its_load(tmp_path: Path) -> None:
    file = tmp_path / "sim.json"
    file.write_text(json.dumps({"models": {"broken/*": {"fail": "oom"}}}))
    with vllm(model="broken/model", CONFIG=str(file)) as broken:
        assert broken.process.wait(30) == 1
        assert broken.process.stderr is not None
        assert broken.process.stderr.read().startswith("torch.OutOfMemoryError")
    begun = time.monotonic()
    with vllm(CONFIG=str(file), LOAD_SECONDS="0.7") as fine:
        assert fine.get("/health")[0] == 200
        assert time.monotonic() - begun > 0.7


def test_keys_guard_v1_only() -> None:
    with vllm("--api-key=secret") as server:
        assert server.get("/v1/models")[0] == 401
        assert server.get("/metrics")[0] == 200
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret") as client:
            assert [model.id for model in client.models.list()] == ["chat"]


def test_on_ipv6_it_is_reached_by_both_families() -> None:
    """As `ipFamily: IPv6` of the chart renders it; by itself an engine listens on IPv4 alone."""
    with vllm("--host=::") as engine:
        port = int(engine.url.rpartition(":")[2])
        assert engine.get("/health")[0] == 200
        with urllib.request.urlopen(f"http://[::1]:{port}/v1/models", timeout=5) as answer:
            assert json.loads(answer.read())["data"][0]["id"] == "chat"
    with vllm() as engine, pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://[::1]:{engine.url.rpartition(':')[2]}/health", timeout=5)
