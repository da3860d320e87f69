"""One element an option, always the same, and nothing that a user writes becomes an option of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.render.strategies import WRITTEN_ARGUMENTS, specs
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arguments, check, environment, model_argument
from tierwise.engines.extra_args import TYPED
from tierwise.engines.speculation import batch_schedule
from tierwise.errors import Invalid, Unsupported

MODEL = {"name": "qwen3-8b", "uri": "hf://Qwen/Qwen3-8B"}


def spec(**fields: Any) -> ModelTierSpec:
    return ModelTierSpec.model_validate({"model": MODEL} | fields)


def option(given: ModelTierSpec, name: str) -> str | None:
    """The value of an option, "" for a switch, None when it is not there."""
    for argument in arguments(given):
        if argument == name:
            return ""
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}=")
    return None


def speculation(max_sequences: int = 128, **fields: Any) -> dict[str, Any]:
    batching = {"maxSequences": max_sequences}
    value = option(spec(speculation=fields, batching=batching), "--speculative-config")
    assert value is not None
    loaded: dict[str, Any] = json.loads(value)
    return loaded


def test_the_defaults_in_full() -> None:
    assert arguments(spec()) == (
        "Qwen/Qwen3-8B",
        "--served-model-name",
        "qwen3-8b",
        "tierwise",
        "--tensor-parallel-size=1",
        "--pipeline-parallel-size=1",
        "--max-num-seqs=128",
        "--max-num-batched-tokens=8192",
        "--enable-prefix-caching",
        "--shutdown-timeout=300",
        "--enable-prompt-tokens-details",
    )


def test_an_external_tier_has_none() -> None:
    external = {
        "baseURL": "https://api.example.com/v1",
        "model": "m",
        "apiKeySecretRef": {"name": "key"},
        "prices": {"input": "1", "output": "2"},
    }
    tier = ModelTierSpec.model_validate({"external": external})
    assert arguments(tier) == ()
    assert check(tier) == ()


@pytest.mark.parametrize("uri", ["pvc://claim/folder", "s3://bucket/key", "gs://bucket/key", "oci://registry/image:1"])
def test_what_kserve_fetches_is_loaded_from_its_folder_without_a_revision(uri: str) -> None:
    tier = spec(model=MODEL | {"uri": uri, "revision": "main"})
    assert arguments(tier)[0] == "/mnt/models"
    assert option(tier, "--revision") is None


def test_a_revision_of_the_hub_is_passed() -> None:
    assert option(spec(model=MODEL | {"revision": "v1.0"}), "--revision") == "v1.0"


def test_the_flag_of_a_quantization_is_passed_only_when_the_engine_quantizes() -> None:
    assert option(spec(quantization={"method": "fp8_per_block"}), "--quantization") == "fp8_per_block"
    for method in ("none", "awq", "fp8", "compressed-tensors"):
        assert option(spec(quantization={"method": method}), "--quantization") is None


def test_the_other_typed_fields() -> None:
    tier = spec(
        quantization={"kvCacheDtype": "fp8"},
        caching={"prefix": "Disabled", "kvOffloadGiB": 8},
        batching={"maxSequences": 64, "maxBatchedTokens": 2048, "maxQueuedRequests": 9},
        parallelism={"tensor": 2, "pipeline": 2},
        resources={"gpus": 4},
        contextLength=4096,
        drainSeconds=7,
    )
    assert option(tier, "--kv-cache-dtype") == "fp8"
    assert option(tier, "--enable-prefix-caching") is None
    assert option(tier, "--no-enable-prefix-caching") == ""
    assert option(tier, "--kv-offloading-size") == "8"
    assert option(tier, "--kv-offloading-backend") == "native"
    assert option(tier, "--max-num-seqs") == "64"
    assert option(tier, "--max-num-queued-reqs") == "9"
    assert option(tier, "--tensor-parallel-size") == "2"
    assert option(tier, "--max-model-len") == "4096"
    assert option(tier, "--shutdown-timeout") == "7"


def test_speculation_disabled_says_nothing_whatever_else_is_written() -> None:
    assert (
        option(spec(speculation={"mode": "Disabled", "method": "ngram", "tokens": 4}), "--speculative-config") is None
    )


def test_enabled_drafts_a_fixed_number() -> None:
    assert speculation(mode="Enabled", method="ngram") == {"method": "ngram", "num_speculative_tokens": 3}
    assert speculation(mode="Enabled", method="mtp", tokens=1) == {"method": "mtp", "num_speculative_tokens": 1}


def test_the_draft_model_goes_only_to_methods_that_take_one() -> None:
    assert speculation(mode="Enabled", method="eagle3", draftModel="a/b")["model"] == "a/b"
    assert "model" not in speculation(mode="Enabled", method="ngram", draftModel="a/b")


def test_auto_stops_above_a_batch_of_32() -> None:
    assert speculation(mode="Auto", method="ngram", tokens=5)["num_speculative_tokens_per_batch_size"] == [
        [1, 32, 5],
        [33, 128, 0],
    ]
    assert speculation(16, mode="Auto", method="ngram")["num_speculative_tokens_per_batch_size"] == [[1, 16, 3]]


def test_a_schedule_covers_every_batch_and_names_the_most_tokens() -> None:
    steps = [{"fromBatch": 1, "tokens": 2}, {"fromBatch": 5, "tokens": 4}, {"fromBatch": 9, "tokens": 0}]
    written = speculation(mode="Auto", method="ngram", schedule=steps)
    assert written["num_speculative_tokens"] == 4
    assert written["num_speculative_tokens_per_batch_size"] == [[1, 4, 2], [5, 8, 4], [9, 128, 0]]
    beyond = spec(speculation={"mode": "Auto", "method": "ngram", "schedule": steps}, batching={"maxSequences": 4})
    assert batch_schedule(beyond.speculation, 4)[-1] == (9, 9, 0)


def test_the_environment_follows_the_deadline_keeps_connections_and_closes_redirects() -> None:
    assert environment(spec(startupTimeoutSeconds=99)) == {
        "VLLM_ENGINE_READY_TIMEOUT_S": "99",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "90",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def test_a_fatal_problem_cannot_be_rendered() -> None:
    with pytest.raises(Invalid, match="--port is not allowed"):
        arguments(spec(extraArgs=["--port=9000"]))
    with pytest.raises(Unsupported, match=r"vllm 0\.33 does not have speculation\.method medusa"):
        arguments(spec(speculation={"mode": "Enabled", "method": "medusa", "draftModel": "a/b"}))


def _servable(written: dict[str, Any]) -> ModelTierSpec | None:
    tier = ModelTierSpec.model_validate(written)
    return None if any(problem.fatal for problem in check(tier)) else tier


@settings(max_examples=60)
@given(written=specs())
def test_every_servable_spec_renders_to_clean_options(written: dict[str, Any]) -> None:
    tier = _servable(written)
    if tier is None:
        return
    rendered = arguments(tier)
    assert tier.model is not None
    names = ("--served-model-name", tier.model.name, "tierwise", *tier.model.aliases)
    options = 1 + len(names)
    assert rendered[:options] == (model_argument(tier.model), *names)
    assert not rendered[0].startswith("-")
    rest = list(rendered[options:])
    if tier.model.adapters:  # one option with a word for each of them
        first = rest.index("--lora-modules") + 1
        adapters = [rest.pop(first) for _ in tier.model.adapters]
        assert [each.partition("=")[0] for each in adapters] == [each.name for each in tier.model.adapters]
    assert all(argument.startswith("--") for argument in rest)
    assert not any(character in argument for argument in rendered for character in "\0\n\r")
    assert not any("$(" in argument for argument in rendered)
    written_options = [argument.partition("=")[0] for argument in rest]
    assert len(written_options) == len(set(written_options))
    again = ModelTierSpec.model_validate_json(json.dumps(written))
    assert arguments(again) == rendered


@settings(max_examples=60)
@given(written=specs(WRITTEN_ARGUMENTS))
def test_extra_arguments_are_refused_or_override_nothing(written: dict[str, Any]) -> None:
    tier = ModelTierSpec.model_validate(written)
    plain = tier.model_copy(update={"extra_args": []})
    if any(problem.fatal for problem in check(plain)):
        return
    extra = [argument.partition("=")[0] for argument in tier.extra_args]
    typed = {argument.partition("=")[0] for argument in arguments(plain)} | set(TYPED)
    try:
        rendered = arguments(tier)
    except Invalid:
        assert any(problem.fatal for problem in check(tier))
        return
    assert rendered == arguments(plain) + tuple(tier.extra_args)
    assert not set(extra) & typed
    assert len(extra) == len(set(extra))
    assert not any("$(" in argument or "\0" in argument for argument in rendered)
