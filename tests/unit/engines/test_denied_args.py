"""What runs code, opens files or endpoints, or shows secrets stays closed, however it is written."""

from __future__ import annotations

import pytest

from tests.unit.engines.test_arguments import spec
from tierwise import reasons
from tierwise.engines import check, profiles
from tierwise.engines.denied_args import CLOSED
from tierwise.engines.extra_args import ALLOWED, REFUSED, TYPED, check_extra

DANGEROUS = (
    "--additional-config",
    "--allowed-local-media-path",
    "--api-key",
    "--chat-template",
    "--code-revision",
    "--compilation-config",
    "--config",
    "--download-dir",
    "--enable-log-requests",
    "--enable-prompt-embeds",
    "--enable-sleep-mode",
    "--hf-config-path",
    "--hf-overrides",
    "--hf-token",
    "--host",
    "--io-processor-plugin",
    "--kv-transfer-config",
    "--log-config-file",
    "--logits-processors",
    "--middleware",
    "--model-class-overrides",
    "--model-loader-extra-config",
    "--otlp-traces-endpoint",
    "--port",
    "--profiler-config",
    "--reasoning-parser-plugin",
    "--scheduler-cls",
    "--ssl-ca-certs",
    "--ssl-certfile",
    "--ssl-keyfile",
    "--tokenizer",
    "--tool-parser-plugin",
    "--tool-server",
    "--trust-remote-code",
    "--trust-request-chat-template",
    "--uds",
    "--worker-cls",
    "--worker-extension-cls",
)


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_dangerous_argument_is_refused_with_its_reason_in_every_release(name: str) -> None:
    assert name in {**REFUSED, **CLOSED, **TYPED}
    for release in profiles():
        for written in (name, f"{name}=x", f"{name}="):
            (problem,) = check_extra((written,), release)
            assert problem.fatal
            assert problem.reason == reasons.ARGUMENT_NOT_ALLOWED
            assert problem.message.startswith(f"extraArgs: {name} is not allowed: ")


@pytest.mark.parametrize(
    "written",
    [
        "--trust_remote_code",
        "--trust-remote",
        "--no-trust-remote-code",
        "--api_key=x",
        "--speculative-config.model=x",
        "--additional-config.x=1",
        "--hf-overrides.architectures+=x",
        "--tok=x",
        "-cc=1",
        "--",
        "--=x",
        "serve",
        "--port 9000",
        "--seed\t--port",
    ],
)
def test_no_other_spelling_gets_in(written: str) -> None:
    for release in profiles():
        (problem,) = check_extra((written,), release)
        assert problem.fatal


@pytest.mark.parametrize(
    "option", ["--block-size", "--max-num-active-seqs", "--max-num-scheduled-tokens", "--stream-interval"]
)
def test_nothing_is_no_size_where_the_engine_ends_at_it(option: str) -> None:
    (problem,) = check(spec(extraArgs=[f"{option}=0"]))
    assert (problem.fatal, problem.message) == (True, f"extraArgs: {option}: '0' is not an accepted value")
    assert check(spec(extraArgs=[f"{option}=10", "--max-num-queued-tokens=0"])) == ()


@pytest.mark.parametrize(
    "unpickled", ["pt", "npcache", "sharded_state", "tensorizer", "gguf", "bitsandbytes", "my.plugin"]
)
def test_weights_are_not_loaded_in_a_format_that_runs_code_or_reads_plugins(unpickled: str) -> None:
    (problem,) = check(spec(extraArgs=[f"--load-format={unpickled}"]))
    assert problem.fatal


def test_every_option_stands_in_one_table_with_a_reason() -> None:
    tables = [set(ALLOWED), set(TYPED), set(REFUSED), set(CLOSED)]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert all(reason for table in (TYPED, REFUSED, CLOSED) for reason in table.values())
