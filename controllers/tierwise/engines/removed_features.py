"""Lists features of earlier engine releases that were removed, and what to use instead.

The list comes from a comparison of the releases from 0.6 on; all of it was gone before 0.30. Specs and dashboards that
were written for an older engine get an answer instead of "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping

# Gone before 0.30: what to do instead. Of quantization methods, flags, and metrics (without the prefix "vllm:").
REMOVED_METHODS: dict[str, str] = {
    "aqlm": "use another checkpoint",
    "bitblas": "use a gptq checkpoint",
    "bitsandbytes": "use a plain checkpoint with fp8_per_tensor, or an awq checkpoint",
    "deepspeedfp": "use fp8_per_tensor",
    "gguf": "use the original checkpoint, or an awq or gptq one",
    "gptq_marlin_24": "use a compressed-tensors checkpoint",
    "hqq": "use an awq or gptq checkpoint",
    "ipex": "use an awq or gptq checkpoint",
    "marlin": "use a gptq checkpoint",
    "petit_nvfp4": "use modelopt_fp4",
    "ptpc_fp8": "use fp8_per_tensor",
    "qqq": "use a compressed-tensors checkpoint",
    "rtn": "use fp8_per_tensor",
    "tpu_int8": "use a compressed-tensors checkpoint",
}
# Still there, and refused unless a flag is given that goes away with them.
DEPRECATED_CHECKPOINTS: Mapping[str, str] = {
    "fbgemm_fp8": "use a compressed-tensors checkpoint, or a plain one with fp8_per_tensor",
    "fp_quant": "use a compressed-tensors or modelopt_fp4 checkpoint",
}
REMOVED_FLAGS: Mapping[str, str] = {
    "--calculate-kv-scales": "calibrate the checkpoint (llm-compressor)",
    "--max-num-partial-prefills": "use --long-prefill-token-threshold",
    "--num-lookahead-slots": "use speculation",
    "--num-speculative-tokens": "use speculation",
    "--speculative-disable-by-batch-size": "use speculation.schedule",
    "--speculative-model": "use speculation",
    "--swap-space": "use caching.kvOffloadGiB",
    "--use-v2-block-manager": "remove it",
}
RENAMED_METRICS: Mapping[str, str] = {
    "avg_generation_throughput_toks_per_s": "the rate of generation_tokens_total",
    "avg_prompt_throughput_toks_per_s": "the rate of prompt_tokens_total",
    "cpu_cache_usage_perc": "nothing: the cache in host memory is part of kv_offload",
    "gpu_cache_usage_perc": "kv_cache_usage_perc",
    "gpu_prefix_cache_hits": "prefix_cache_hits",
    "gpu_prefix_cache_queries": "prefix_cache_queries",
    "num_requests_swapped": "num_preemptions_total",
    "spec_decode_draft_acceptance_rate": "spec_decode_num_accepted_tokens over spec_decode_num_draft_tokens",
    "spec_decode_efficiency": "1 + spec_decode_num_accepted_tokens over spec_decode_num_drafts",
    "time_in_queue_requests": "request_queue_time_seconds",
    "time_per_output_token_seconds": "inter_token_latency_seconds",
}
