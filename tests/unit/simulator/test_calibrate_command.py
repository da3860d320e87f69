"""Checks `tierwise calibrate` on the simulated engine, whose step times are known."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.simulator.processes import vllm
from tierwise_cli.main import main
from tierwise_sim.calibrated import Calibrated, Calibration, Rates, read, to_json
from tierwise_sim.step_time import Batch, Overheads

TRUTH = Calibrated(Rates(8e-3, 6e-5, 1e-7, 1e-9), Overheads(1e-3, 1e-4, 2e-3, 2e-2))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "truth.json"
    path.write_text(to_json(Calibration("chat", 2048, TRUTH.rates, TRUTH.overheads, ())))
    return path


@pytest.fixture(scope="module")
def engine(known: Path) -> Iterator[str]:
    with vllm("--max-num-batched-tokens=2048", SPEED="1", TICK_SECONDS="0.001", CALIBRATION=str(known)) as running:
        yield running.url


def test_an_engine_with_known_step_times_is_found_again(engine: str, tmp_path: Path) -> None:
    """Seconds on a clock: a machine that starves the engine or the client is measured, too. A wrong fit is wrong each
    time, a disturbed one is measured again."""
    tried = [_measured(engine, tmp_path / "first.json")]
    while not _right(tried[-1]) and len(tried) < 4:
        tried.append(_measured(engine, tmp_path / f"again-{len(tried)}.json"))
    assert _right(tried[-1]), tried


def _measured(engine: str, out: Path) -> Calibration:
    loads = ["--users", "1", "4", "12", "--prompt-tokens", "100", "1500", "--output-tokens", "24", "48", "--waves", "3"]
    assert main(["calibrate", "--url", engine, "--out", str(out), *loads]) in (0, 1)  # 1: its own judgement is bad
    found = read(out)
    assert found.model == "chat"
    return found


def _right(found: Calibration) -> bool:
    step = found.step_time()
    batches = (
        Batch(1, 500),
        Batch(8, 8 * 800),
        Batch(prefill=1500, prefill_context=1500, prefill_pairs=1500 * 750, prefills=1),
    )
    near = all(step.seconds(batch) == pytest.approx(TRUTH.seconds(batch), rel=0.25) for batch in batches)
    return near and found.inter_token_error is not None and found.inter_token_error < 0.2


def test_a_calibration_is_shown(known: Path, engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--read", str(known)]) == 1
    assert "nothing was measured that was not fitted to" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "http://127.0.0.1:1"], "needs --url and --out"),
        (["--url", "http://127.0.0.1:1", "--out", "x", "--users", "3"], "two numbers of users"),
        (["--url", "http://127.0.0.1:1", "--out", "x", "--waves", "1"], "--waves and --output-tokens are 2 at least"),
        (["--url", "http://127.0.0.1:1", "--out", "x", "--key-file", "/none"], "--key-file /none: No such file"),
        (["--read", "/none"], "/none: No such file"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_nobody_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--url", "http://127.0.0.1:1", "--out", str(tmp_path / "x")]) == 1
    assert "http://127.0.0.1:1 cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_model_that_is_not_served_is_told_in_the_engines_words(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--url", engine, "--model", "other", "--out", str(tmp_path / "x")]) == 2
    assert "the engine answers 404: The model `other` does not exist." in capsys.readouterr().err


async def test_an_engine_that_ends_answers_early_is_told(tmp_path: Path) -> None:
    from tierwise.errors import Invalid
    from tierwise_sim.calibrate_measure import Client

    async def short(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
        await answer.write(b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n")
        return answer

    application = web.Application()
    application.router.add_post("/v1/completions", short)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        async with Client(f"http://{host}:{port}", "m", None, 5.0) as client:
            with pytest.raises(Invalid, match="does not know vLLM's ignore_eos"):
                await client.warm_up(4)
    finally:
        await runner.cleanup()
