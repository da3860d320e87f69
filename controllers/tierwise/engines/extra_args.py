"""Lists the extra engine arguments that a user may pass, and checks their values.

It is an allow-list, since engines grow options faster than anybody reviews them, and some of them run code, open files
or leave endpoints unguarded. What has a typed field must use it: an argument that overrides one would make the
operator's idea of the replica (its capacity, its name, its port) wrong. Values are checked as well: Kubernetes would
expand a `$(NAME)` into a secret of the environment, and some options take a path or a class name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tierwise.engines.denied_args import CLOSED
from tierwise.engines.finding import Finding
from tierwise.engines.profiles import Profile
from tierwise.reasons import ARGUMENT_NOT_ALLOWED, INVALID_SPEC

SWITCH = "switch"  # takes no value
JSON = "json"  # takes a JSON object
_INTEGER = r"[0-9]{1,9}"
_ABOVE_ZERO = r"[1-9][0-9]{0,8}"  # the engine ends at 0
_WORD = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One allowed argument: SWITCH, JSON or the pattern of its whole value; `example` is one that every listed
    release accepts; `since` is the first release that has it."""

    value: str
    example: str = ""
    since: tuple[int, int] = (0, 30)


ALLOWED: dict[str, Allowed] = {
    "--allowed-media-domains": Allowed(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "images.example.com"),
    "--async-scheduling": Allowed(SWITCH),
    "--attention-backend": Allowed(r"[A-Z][A-Z0-9_]{0,63}", "FLASH_ATTN"),
    "--block-size": Allowed(_ABOVE_ZERO, "32"),
    "--config-format": Allowed(r"auto|hf|mistral", "hf"),
    "--custom-histogram-buckets": Allowed(JSON, '{"request_latency":[0.5,1,2]}', since=(0, 32)),
    "--default-chat-template-kwargs": Allowed(JSON, '{"enable_thinking":false}'),
    "--disable-access-log-for-endpoints": Allowed(r"/[a-z0-9/_-]*(,/[a-z0-9/_-]*){0,15}", "/health,/metrics"),
    "--disable-custom-all-reduce": Allowed(SWITCH),
    "--disable-fastapi-docs": Allowed(SWITCH),
    "--disable-uvicorn-access-log": Allowed(SWITCH),
    "--distributed-executor-backend": Allowed(r"mp|uni", "mp"),
    "--dtype": Allowed(r"auto|half|float16|bfloat16|float|float32", "bfloat16"),
    "--enable-auto-tool-choice": Allowed(SWITCH),
    "--enable-chunked-prefill": Allowed(SWITCH),
    "--enable-expert-parallel": Allowed(SWITCH),
    "--enable-force-include-usage": Allowed(SWITCH),
    "--enable-mfu-metrics": Allowed(SWITCH),
    "--enable-request-id-headers": Allowed(SWITCH),
    "--enforce-eager": Allowed(SWITCH),
    "--generation-config": Allowed(r"auto|vllm", "vllm"),
    "--gpu-memory-utilization": Allowed(r"0\.([1-9][0-9]{0,2}|0[1-9][0-9]?|00[1-9])", "0.85"),
    "--kv-cache-memory-bytes": Allowed(r"[0-9]{1,9}[kKmMgG]?", "64M"),
    "--kv-cache-metrics": Allowed(SWITCH),
    "--language-model-only": Allowed(SWITCH),
    "--limit-mm-per-prompt": Allowed(JSON, '{"image":2}'),
    "--linear-backend": Allowed(_WORD, "auto"),
    "--load-format": Allowed(r"auto|safetensors|fastsafetensors|instanttensor|runai_streamer|dummy", "safetensors"),
    "--long-prefill-token-threshold": Allowed(_INTEGER, "2048"),
    "--max-cudagraph-capture-size": Allowed(_INTEGER, "64"),
    "--max-logprobs": Allowed(_INTEGER, "5"),
    "--max-num-active-seqs": Allowed(_ABOVE_ZERO, "64", since=(0, 32)),
    "--max-num-queued-tokens": Allowed(_INTEGER, "100000"),
    "--max-num-scheduled-tokens": Allowed(_ABOVE_ZERO, "4096"),
    "--moe-backend": Allowed(_WORD, "auto"),
    "--no-async-scheduling": Allowed(SWITCH),
    "--no-enable-chunked-prefill": Allowed(SWITCH),
    "--optimization-level": Allowed(r"[0-3]", "1"),
    "--override-generation-config": Allowed(JSON, '{"temperature":0.7}'),
    "--performance-mode": Allowed(r"balanced|interactivity|throughput", "balanced"),
    "--prefix-caching-hash-algo": Allowed(r"sha256|sha256_cbor|xxhash|xxhash_cbor", "sha256_cbor"),
    "--reasoning-parser": Allowed(_WORD, "qwen3"),
    "--safetensors-load-strategy": Allowed(r"lazy|eager|prefetch", "eager"),
    "--scheduling-policy": Allowed(r"fcfs|priority", "priority"),
    "--seed": Allowed(_INTEGER, "7"),
    "--stream-interval": Allowed(_ABOVE_ZERO, "2"),
    "--tokenizer-mode": Allowed(r"auto|hf|slow|mistral", "auto"),
    "--tool-call-parser": Allowed(_WORD, "hermes"),
    "--uvicorn-log-level": Allowed(r"critical|error|warning|info", "warning"),
}

# Arguments with a typed field (or with a value that we fix), by what to do instead.
TYPED: dict[str, str] = {
    "--chat-template": "use model.chatTemplate",
    "--disable-prefix-caching": "use caching.prefix",
    "--download-dir": "use modelCache",
    "--enable-lora": "use model.adapters",
    "--enable-prefix-caching": "use caching.prefix",
    "--enable-prompt-tokens-details": "it is always on",
    "--hf-overrides": "use model.overrides",
    "--kv-cache-dtype": "use quantization.kvCacheDtype",
    "--kv-offloading-backend": "use caching.kvOffloadGiB",
    "--kv-offloading-size": "use caching.kvOffloadGiB",
    "--lora-modules": "use model.adapters",
    "--max-cpu-loras": "use model.adapters",
    "--max-lora-rank": "use model.adapters, each with its rank",
    "--max-loras": "use model.adapterSlots",
    "--max-model-len": "use contextLength",
    "--max-num-batched-tokens": "use batching.maxBatchedTokens",
    "--max-num-queued-reqs": "use batching.maxQueuedRequests",
    "--max-num-seqs": "use batching.maxSequences",
    "--model": "use model.uri",
    "--no-enable-prefix-caching": "use caching.prefix",
    "--pipeline-parallel-size": "use parallelism.pipeline",
    "--quantization": "use quantization.method",
    "--revision": "use model.revision",
    "--served-model-name": "use model.name and model.aliases",
    "--shutdown-timeout": "use drainSeconds",
    "--spec-method": "use speculation",
    "--spec-model": "use speculation",
    "--spec-tokens": "use speculation",
    "--speculative-config": "use speculation",
    "--tensor-parallel-size": "use parallelism.tensor",
    "--trust-remote-code": "use model.trustRemoteCode",
}

# Arguments that people ask for and that stay closed, by the reason.
REFUSED: dict[str, str] = {
    "--additional-config": "it reaches options that nobody reviewed",
    "--allow-deprecated-quantization": "its methods vanish with the next release",
    "--allowed-local-media-path": "it lets requests read files of the pod",
    "--api-key": "arguments are readable by everybody who may read pods; put a gateway in front",
    "--code-revision": "it only matters for code from the checkpoint",
    "--compilation-config": "it can name Python objects to run",
    "--config": "a file could set every refused argument",
    "--cpu-offload-gb": "it takes memory that the pod did not request",
    "--data-parallel-size": "replicas are Tierwise's business; use scaling",
    "--disable-log-stats": "without statistics the tier cannot be scaled",
    "--enable-log-outputs": "it writes answers to the log",
    "--enable-log-requests": "it writes prompts to the log",
    "--grpc": "the probes and the router need HTTP",
    "--headless": "the replica must serve requests",
    "--hf-token": "arguments are readable by everybody who may read pods; use model.tokenSecretRef",
    "--host": "the pod's address is fixed",
    "--kv-transfer-config": "it can name Python objects to run; use caching.kvOffloadGiB",
    "--logits-processors": "it names Python objects to run",
    "--middleware": "it names Python objects to run",
    "--model-loader-extra-config": "it reaches options that nobody reviewed",
    "--port": "the port is fixed: Service, probes and metrics use it",
    "--quantization-config": "use quantization.method",
    "--reasoning-parser-plugin": "it runs a Python file",
    "--root-path": "the paths are fixed: probes and metrics use them",
    "--ssl-certfile": "TLS ends at the gateway",
    "--ssl-keyfile": "TLS ends at the gateway",
    "--tokenizer": "the tokenizer belongs to the checkpoint",
    "--tool-parser-plugin": "it runs a Python file",
    "--tool-server": "it lets requests call other servers",
    "--trust-request-chat-template": "it runs templates from requests",
    "--uds": "the port is fixed: Service, probes and metrics use it",
    "--worker-cls": "it names Python objects to run",
    "--worker-extension-cls": "it names Python objects to run",
}

_EXPANSION = re.compile(r"\$[({$]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


def check_extra(extra: tuple[str, ...], profile: Profile) -> tuple[Finding, ...]:
    """What is wrong with `extraArgs` for a release: one fatal Problem an argument, in the order given."""
    problems = []
    seen: set[str] = set()
    for argument in extra:
        name, equals, value = argument.partition("=")
        complaint = f"{name} is given twice" if name in seen else _complaint(name, value if equals else None, profile)
        seen.add(name)
        if complaint:
            problems.append(Finding(ARGUMENT_NOT_ALLOWED, f"extraArgs: {complaint}"))
    # vLLM ends with this complaint after it was scheduled and pulled (entrypoints: validate_parsed_serve_args).
    if "--enable-auto-tool-choice" in seen and "--tool-call-parser" not in seen:
        problems.append(Finding(INVALID_SPEC, "extraArgs: --enable-auto-tool-choice needs --tool-call-parser=NAME"))
    return tuple(problems)


def _complaint(name: str, value: str | None, profile: Profile) -> str:
    if name in TYPED:
        return f"{name} is not allowed: {TYPED[name]}"
    if name in REFUSED:
        return f"{name} is not allowed: {REFUSED[name]}"
    if name in CLOSED:
        return f"{name} is not allowed: {CLOSED[name]}"
    allowed = ALLOWED.get(name)
    if allowed is None and name in profile.removed_flags:
        return f"{profile.engine} {profile.release} does not have {name} any more: {profile.removed_flags[name]}"
    if allowed is None:
        return f"{name} is not on the list of allowed arguments"
    if profile.minor < allowed.since:
        return f"{name} needs {profile.engine} {allowed.since[0]}.{allowed.since[1]} or later"
    return _value_complaint(name, value, allowed)


def _value_complaint(name: str, value: str | None, allowed: Allowed) -> str:
    if allowed.value == SWITCH:
        return "" if value is None else f"{name} takes no value"
    if value is None:
        return f"{name} needs a value: {name}={allowed.example}"
    if _EXPANSION.search(value) or _CONTROL.search(value):
        return f"{name}: the value must not hold control characters, $( or ${{"
    if allowed.value == JSON:
        return "" if _is_object(value) else f"{name} takes a JSON object, for example {allowed.example}"
    return "" if re.fullmatch(allowed.value, value) else f"{name}: {value[:64]!r} is not an accepted value"


def _is_object(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)
