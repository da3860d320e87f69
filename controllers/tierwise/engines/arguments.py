"""Renders the engine's argument list for a spec.

The order is fixed and every option that decides about capacity is written out, even at its default: vLLM's own
defaults differ by GPU memory, so that a tier moved to another GPU would silently change its batch limits. Two things
stay at the engine's default on purpose: the GPU memory share (each release tunes it) and the data type.
"""

from __future__ import annotations

from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.engines.adapters import adapter_arguments
from tierwise.engines.check import HF_SCHEME, check
from tierwise.engines.overrides import config_overrides
from tierwise.engines.profiles import profile
from tierwise.engines.speculation import speculative_config
from tierwise.errors import Invalid, Unsupported
from tierwise.reasons import UNSUPPORTED

KEEP_ALIVE_SECONDS = 90  # how long an engine keeps an idle connection
MODEL_PATH = "/mnt/models"  # where KServe puts what it downloads or mounts

CHAT_TEMPLATE = "/etc/tierwise/chat-template/template.jinja"  # where the ConfigMap is mounted
ALIAS = "tierwise"  # the second name of every model: what a router may ask for without knowing the tier


def model_argument(model: ModelSource) -> str:
    """What the engine loads: a repository of the hub for hf://, else the folder that KServe fills."""
    return model.uri.removeprefix(HF_SCHEME) if model.uri.startswith(HF_SCHEME) else MODEL_PATH


def arguments(spec: ModelTierSpec) -> tuple[str, ...]:
    """The argument list after the program, for a spec with `model`; () for an external tier.

    `--served-model-name` takes its names as elements of their own: argparse binds only one value with `=`. The
    first name is the label of the engine's metrics. `extraArgs` come last, since `check` let pass only such that
    override nothing. Raises tierwise.errors.Invalid (or Unsupported) for what `check` calls fatal: nobody can render
    a spec that was not checked."""
    if spec.model is None:
        return ()
    for problem in check(spec):
        if problem.fatal:
            raise (Unsupported if problem.reason == UNSUPPORTED else Invalid)(problem.message)
    return (
        model_argument(spec.model),
        "--served-model-name",
        spec.model.name,
        ALIAS,
        *spec.model.aliases,
        *_loading(spec, spec.model),
        *_capacity(spec),
        *_tactics(spec),
        *adapter_arguments(spec.model),
        f"{profile(spec.engine).drain_flag}={spec.drain_seconds}",
        "--enable-prompt-tokens-details",
        *spec.extra_args,
    )


def _loading(spec: ModelTierSpec, model: ModelSource) -> list[str]:
    options = []
    if model.revision is not None and model.uri.startswith(HF_SCHEME):
        options.append(f"--revision={model.revision}")
    if spec.quantization.method in profile(spec.engine).online_quantization:
        options.append(f"--quantization={spec.quantization.method}")
    if spec.quantization.kv_cache_dtype != "auto":
        options.append(f"--kv-cache-dtype={spec.quantization.kv_cache_dtype}")
    if model.chat_template is not None:
        options.append(f"--chat-template={CHAT_TEMPLATE}")
    if model.trust_remote_code == "Enabled":
        options.append("--trust-remote-code")
    if (overrides := config_overrides(model.overrides)) is not None:
        options.append(f"--hf-overrides={overrides}")
    return options


def _capacity(spec: ModelTierSpec) -> list[str]:
    options = [
        f"--tensor-parallel-size={spec.parallelism.tensor}",
        f"--pipeline-parallel-size={spec.parallelism.pipeline}",
        f"--max-num-seqs={spec.batching.max_sequences}",
        f"--max-num-batched-tokens={spec.batching.max_batched_tokens}",
    ]
    if spec.context_length is not None:
        options.append(f"--max-model-len={spec.context_length}")
    if spec.batching.max_queued_requests is not None:
        options.append(f"--max-num-queued-reqs={spec.batching.max_queued_requests}")
    return options


def _tactics(spec: ModelTierSpec) -> list[str]:
    options = ["--enable-prefix-caching" if spec.caching.prefix == "Enabled" else "--no-enable-prefix-caching"]
    if spec.caching.kv_offload_gib:
        options.append("--kv-offloading-backend=native")
        options.append(f"--kv-offloading-size={spec.caching.kv_offload_gib}")
    config = speculative_config(spec.speculation, spec.batching.max_sequences)
    if config is not None:
        options.append(f"--speculative-config={config}")
    return options


def environment(spec: ModelTierSpec) -> dict[str, str]:
    """The environment that the engine itself reads, by name, without secrets and paths.

    The engine gives up on its own after VLLM_ENGINE_READY_TIMEOUT_S (600 by default), so it follows the spec's
    deadline. It closes a connection that was idle for VLLM_HTTP_TIMEOUT_KEEP_ALIVE (5 by default), and a client that
    uses it again in that moment loses its request: so it keeps them for longer than any router of ours does. Redirects
    of media URLs stay off since they reach addresses that the first URL hides."""
    return {
        "VLLM_ENGINE_READY_TIMEOUT_S": str(spec.startup_timeout_seconds),
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_SECONDS),
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }
