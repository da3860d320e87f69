"""Checks that a command line is understood, or refused, as by vLLM, and that the environment decides the hardware."""

import json
from pathlib import Path
from random import Random

import pytest

from tierwise_sim import flags
from tierwise_sim.config import ConfigError, SimConfig, build_settings, load_config
from tierwise_sim.engine import Engine
from tierwise_sim.settings import EngineSettings, StartupError

LATE_SCHEDULE = '"num_speculative_tokens_per_batch_size":[[2,4,3]]}'
RENDERED = [
    "serve",
    "Qwen/Qwen3-8B-FP8",
    "--host=0.0.0.0",
    "--port=8000",
    "--served-model-name=chat",
    "--max-model-len=8192",
    "--max-num-seqs=64",
    "--max-num-batched-tokens=4096",
    "--max-num-queued-reqs=128",
    "--max-num-queued-tokens=100000",
    "--gpu-memory-utilization=0.9",
    "--kv-cache-dtype=fp8",
    "--enable-prefix-caching",
    "--enable-prompt-tokens-details",
    '--speculative-config={"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":4}',
    "--kv-offloading-size=4",
    "--kv-offloading-backend=native",
    "--tensor-parallel-size=2",
    "--pipeline-parallel-size=1",
    "--revision=abc",
    "--shutdown-timeout=250",
    "--dtype=auto",
    "--block-size=32",
    "--download-dir=/cache",
]


def settings_of(arguments: list[str], config: SimConfig | None = None, version: str = "0.33.0") -> EngineSettings:
    return build_settings(flags.parse(arguments, version), config or SimConfig(version=version))


def test_everything_a_tier_renders_is_understood() -> None:
    settings = settings_of(RENDERED)
    assert settings.max_num_seqs == 64
    assert settings.max_num_queued_reqs == 128
    assert settings.kv_element_bytes == 1.0
    assert settings.block_size == 32
    assert settings.tensor_parallel == 2
    assert settings.kv_offload_gib == 4
    assert settings.prefix_caching
    assert settings.speculation is not None
    assert (settings.speculation.method, settings.speculation.tokens) == ("ngram", 3)
    assert flags.parse(RENDERED, "0.33.0").shutdown_timeout == 250


def test_the_older_release_lacks_no_option_that_a_tier_renders() -> None:
    for version in ("0.30.0", "0.32.0"):
        assert flags.parse(RENDERED, version).max_num_queued_reqs == 128


def test_values_may_follow_their_option_and_underscores_are_dashes() -> None:
    options = flags.parse(
        ["serve", "m/x", "--served-model-name", "first", "second", "--max_num_seqs", "4", "-tp", "2"], "0.33.0"
    )
    assert options.served_model_name == ["first", "second"]
    assert (options.max_num_seqs, options.tensor_parallel_size) == (4, 2)


def test_switches_have_two_opposites_from_0_33_on(capsys: pytest.CaptureFixture[str]) -> None:
    for argument in ("--disable-prefix-caching", "--no-enable-prefix-caching"):
        assert not settings_of(["serve", "Qwen/Qwen3-8B-FP8", argument]).prefix_caching
    assert settings_of(["serve", "Qwen/Qwen3-8B-FP8", "--enable-prefix-caching"]).prefix_caching
    assert not settings_of(
        ["serve", "Qwen/Qwen3-8B-FP8", "--no-enable-prefix-caching"], version="0.32.0"
    ).prefix_caching
    with pytest.raises(SystemExit):
        flags.parse(["serve", "m", "--disable-prefix-caching"], "0.32.0")
    assert "unrecognized arguments: --disable-prefix-caching" in capsys.readouterr().err


def test_histogram_buckets_may_be_replaced() -> None:
    argument = '--custom-histogram-buckets={"inter_token_latency":[0.01,0.03,0.1]}'
    settings = settings_of(["serve", "Qwen/Qwen3-8B-FP8", argument])
    stats = Engine(settings, Random(0)).stats
    assert stats.inter_token_latency.bounds == (0.01, 0.03, 0.1)
    assert stats.time_to_first_token.bounds[0] == 0.001


@pytest.mark.parametrize(
    ("buckets", "message"),
    [
        ('{"ttft":[1]}', "unknown bucket family 'ttft'"),
        ('{"request_latency":[]}', "must not be empty"),
        ('{"request_latency":[2,1]}', "strictly increasing"),
        ('{"request_latency":[0]}', "greater than 0"),
        ('{"request_latency":[true]}', "must be a number"),
        ("[1]", "valid dictionary"),
    ],
)
def test_buckets_that_vllm_refuses_do_not_start(buckets: str, message: str) -> None:
    with pytest.raises(StartupError, match=message):
        settings_of(["serve", "Qwen/Qwen3-8B-FP8", f"--custom-histogram-buckets={buckets}"])


def test_json_options_may_be_given_key_by_key() -> None:
    options = flags.parse(
        ["serve", "m/x", "--speculative-config.method", "ngram", "--speculative-config.num_speculative_tokens=2"],
        "0.33.0",
    )
    assert options.speculative_config == {"method": "ngram", "num_speculative_tokens": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "m", "--frobnicate"], "vllm: error: unrecognized arguments: --frobnicate"),
        (["serve", "m", "--max-num-seqs", "many"], "argument --max-num-seqs: invalid int value: 'many'"),
        (["serve", "m", "--port", "80"], "Port must be between 1024 and 65535"),
        (["serve", "m", "--port", "http"], "Port must be an integer"),
        (["serve", "m", "--dtype", "int4"], "invalid choice: 'int4'"),
        (["serve", "m", "--speculative-config", "{"], "cannot be converted to JSON"),
        (["chat"], "invalid choice: 'chat'"),
    ],
)
def test_what_vllm_refuses_ends_with_status_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        flags.parse(arguments, "0.33.0")
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


def test_an_option_younger_than_the_release_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags.parse(["serve", "m", "--monokernel"], "0.33.0").monokernel is True
    with pytest.raises(SystemExit):
        flags.parse(["serve", "m", "--monokernel"], "0.32.0")
    assert "unrecognized arguments: --monokernel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"), [("4096", 4096), ("1k", 1000), ("1K", 1024), ("25.6k", 25600), ("-1", -1), ("auto", -1)]
)
def test_lengths_take_suffixes_and_auto(text: str, value: int) -> None:
    assert flags.model_length(text) == value


def test_auto_length_is_what_fits_and_defaults_follow_the_gpu() -> None:
    settings = settings_of(["serve", "Qwen/Qwen3-8B", "--max-model-len=auto"])
    assert settings.max_model_len == settings.kv_tokens > 30_000
    assert (settings.max_num_batched_tokens, settings.max_num_seqs) == (2048, 256)
    on_h100 = settings_of(["serve", "Qwen/Qwen3-8B"], SimConfig(gpu="NVIDIA-H100-80GB-HBM3"))
    assert (on_h100.max_num_batched_tokens, on_h100.max_num_seqs) == (8192, 1024)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--quantization=fp8"], "no longer supports online quantization"),
        (['--speculative-config={"method":"eagle3"}'], "`num_speculative_tokens` was not provided"),
        (['--speculative-config={"num_speculative_tokens":3}'], "without speculative model"),
        (
            ['--speculative-config={"method":"ngram","num_speculative_tokens":3,' + LATE_SCHEDULE],
            "must start at 1",
        ),
        (
            ["--spec-method=ngram", '--speculative-config={"method":"ngram","num_speculative_tokens":3}'],
            "cannot be used together",
        ),
    ],
)
def test_configurations_that_vllm_refuses_do_not_start(extra: list[str], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        settings_of(["serve", "Qwen/Qwen3-8B", "--max-model-len=4096", *extra])


def test_fp8_is_accepted_for_an_fp8_checkpoint_and_where_the_name_says_nothing() -> None:
    for model in ("Qwen/Qwen3-8B-FP8", "/mnt/models"):
        assert settings_of(["serve", model, "--quantization=fp8"]).precision.name == "fp8"


def test_draft_sizes_follow_the_method() -> None:
    def draft(config: str) -> float:
        speculation = settings_of(["serve", "Qwen/Qwen3-8B-FP8", f"--speculative-config={config}"]).speculation
        assert speculation is not None
        return speculation.draft_params_b

    assert draft('{"method":"ngram","num_speculative_tokens":3}') == 0
    assert draft('{"model":"Qwen/Qwen3-0.6B","num_speculative_tokens":3}') == 0.6
    assert draft('{"method":"eagle3","model":"x","num_speculative_tokens":3}') == pytest.approx(0.35, abs=0.02)
    assert settings_of(["serve", "Qwen/Qwen3-8B-FP8", "--spec-method=ngram", "--spec-tokens=2"]).speculation is not None


def test_the_environment_overrides_the_file_and_a_matching_model_overrides_both(tmp_path: Path) -> None:
    file = tmp_path / "sim.json"
    file.write_text(
        json.dumps({"gpu": "NVIDIA-L40S", "speed": 5, "models": {"broken/*": {"fail": "oom", "load_seconds": 0.1}}})
    )
    environment = {"TIERWISE_SIM_CONFIG": str(file), "TIERWISE_SIM_SPEED": "20", "HOME": "/"}
    config = load_config(environment, "Qwen/Qwen3-8B")
    assert (config.gpu, config.speed, config.fail) == ("NVIDIA-L40S", 20.0, None)
    broken = load_config(environment, "broken/model")
    assert (broken.fail, broken.load_seconds) == ("oom", 0.1)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TIERWISE_SIM_SPED", "1", "unknown TIERWISE_SIM_ settings: sped"),
        ("TIERWISE_SIM_SPEED", "fast", "TIERWISE_SIM_SPEED must be a number, got 'fast'"),
        ("TIERWISE_SIM_SPEED", "0", "must be positive"),
        ("TIERWISE_SIM_ACCEPTANCE", "2", "between 0 and 1"),
        ("TIERWISE_SIM_ABORT_MODE", "shrug", "'error' or 'hang'"),
        ("TIERWISE_SIM_CONFIG", "{", "is not JSON"),
        ("TIERWISE_SIM_CONFIG", '{"sped": 1}', "unknown TIERWISE_SIM_ settings: sped"),
    ],
)
def test_settings_that_mean_nothing_are_refused(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config({variable: value}, "m")


def test_the_gpu_of_the_node_is_the_one_that_the_kubelet_tells() -> None:
    environment = {"TIERWISE_SIM_CONFIG": '{"gpu": "node"}', "PLAYGROUND_GPU": "NVIDIA-H100-80GB-HBM3"}
    assert load_config(environment, "m").gpu == "NVIDIA-H100-80GB-HBM3"
    del environment["PLAYGROUND_GPU"]
    assert load_config(environment, "m").gpu == "NVIDIA-L4"
    assert load_config({"PLAYGROUND_GPU": "NVIDIA-H100-80GB-HBM3"}, "m").gpu == "NVIDIA-L4"


def test_an_unknown_gpu_does_not_start() -> None:
    with pytest.raises(StartupError, match="no facts of GPU 'TPU'"):
        settings_of(["serve", "m/x"], SimConfig(gpu="TPU"))
