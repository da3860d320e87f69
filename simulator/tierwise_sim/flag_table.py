"""Lists the options of `vllm serve` and the kind of each.

Names and kinds of vLLM 0.33 (vllm/engine/arg_utils.py and vllm/entrypoints/common/cli_args.py), with what the
command lines of 0.32 and 0.30 lack or have besides, so that an option which the chosen release would refuse is
refused here too. Most of them change nothing in a simulation; they are parsed, then ignored.
"""

# ruff: noqa: SIM905 - one word per option in a block is what a reader can compare with --help

SWITCHES = frozenset(
    """
    aggregate-engine-logging allow-credentials allow-deprecated-quantization async-scheduling
    cohere-is-reasoning-model cudagraph-metrics data-parallel-external-lb data-parallel-hybrid-lb
    data-parallel-multi-port-external-lb dcp-q-replicate disable-cascade-attn disable-chunked-mm-input
    disable-custom-all-reduce disable-fastapi-docs disable-hybrid-kv-cache-manager disable-log-stats
    disable-nccl-for-dp-synchronization disable-sliding-window disable-uvicorn-access-log
    enable-auto-tool-choice enable-batch-sharded-sampling enable-chunked-prefill enable-cumem-allocator
    enable-dbo enable-elastic-ep enable-ep-weight-filter enable-eplb enable-expert-parallel
    enable-fault-tolerance enable-flash-late-interaction enable-flashinfer-autotune
    enable-force-include-usage enable-hc-sp enable-layerwise-nvtx-tracing enable-log-deltas
    enable-log-outputs enable-log-requests enable-logging-iteration-details enable-lora
    enable-mamba-cache-stochastic-rounding enable-mamba-fine-grained-prefix-cache
    enable-mamba-shared-prefix-checkpoint enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds
    enable-moe-shared-loras enable-nccl-comm-suspend enable-offline-docs enable-per-request-metrics
    enable-prefix-caching enable-prompt-embeds enable-prompt-tokens-details enable-request-id-headers
    enable-return-routed-experts enable-scale-out enable-server-load-tracking enable-shm-tensor-arena
    enable-sleep-mode enable-ssl-refresh enable-tokenizer-info-endpoint enable-tower-connector-lora
    enable-trace-replay enforce-eager exclude-tools-when-tool-choice-none fail-on-environ-validation
    fully-sharded-loras grpc headless interleave-mm-strings jit-monitor-verbose kv-cache-metrics
    kv-sharing-fast-prefill language-model-only log-error-stack long-prefill-token-threshold-adaptive
    mm-device-do-normalize mm-encoder-only monokernel numa-bind ray-workers-use-nsight return-sampling-mask
    return-tokens-as-token-ids scheduler-reserve-full-isl skip-mm-profiling skip-tokenizer-init
    sleep-mode-offload-cudagraph specialize-active-lora swa-bounded-replay tokens-only trust-remote-code
    trust-request-chat-template trust-request-mm-kwargs use-fp64-gumbel use-replayssm use-tqdm-on-load
    """.split()
)

INTEGERS = frozenset(
    """
    api-server-count block-size cp-kv-cache-interleave-size cpu-distributed-timeout-seconds
    data-parallel-rank data-parallel-rpc-port data-parallel-size data-parallel-size-local
    data-parallel-start-rank data-parallel-supervisor-port dbo-decode-token-threshold
    dbo-prefill-token-threshold dcp-kv-cache-interleave-size decode-context-parallel-size
    distributed-timeout-seconds dp-supervisor-probe-failure-threshold dp-sync-interval
    elastic-ep-max-dp-size grpc-port h11-max-header-count h11-max-incomplete-event-size
    kv-cache-memory-bytes long-prefill-token-threshold mamba-block-size mamba-cache-philox-rounds
    master-port max-cpu-loras max-cudagraph-capture-size max-log-len max-logprobs max-lora-cls-labels
    max-loras max-model-len max-num-active-seqs max-num-batched-tokens max-num-queued-reqs
    max-num-queued-tokens max-num-scheduled-tokens max-num-seqs max-parallel-loading-workers
    mm-shm-cache-max-object-size-mb nnodes node-rank num-gpu-blocks-override offload-group-size
    offload-num-in-group offload-prefetch-step pipeline-parallel-size port prefill-context-parallel-size
    prefill-schedule-interval prefix-cache-retention-interval prefix-match-unit renderer-num-workers
    replayssm-buffer-len safetensors-prefetch-block-size safetensors-prefetch-num-threads seed
    shutdown-timeout spec-tokens sse-keep-alive-interval ssl-cert-reqs stream-interval tensor-parallel-size
    ubatch-size
    """.split()
)

NUMBERS = frozenset(
    """
    cpu-offload-gb device-memory-utilization dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s
    gpu-memory-utilization kv-cache-metrics-sample kv-offloading-size mm-encoder-fp8-scale-save-margin
    mm-ipc-gpu-memory-gb mm-processor-cache-gb video-pruning-rate watermark
    """.split()
)

LISTS = frozenset(
    """
    allowed-headers allowed-media-domains allowed-methods allowed-origins api-key collect-detailed-traces
    cpu-offload-params cudagraph-capture-sizes device-ids ignore-patterns kv-cache-dtype-skip-layers
    logits-processors lora-modules lora-target-modules middleware numa-bind-cpus numa-bind-nodes
    offload-params served-model-name sleep-preserve-parameter-names
    """.split()
)

TEXTS = frozenset(
    """
    additional-config all2all-backend allowed-local-media-path anthropic-disabled-thinking-effort
    attention-backend attention-config aux-output-config chat-template chat-template-content-format
    code-revision cohere-format compilation-config config config-format convert custom-histogram-buckets
    data-parallel-address data-parallel-backend dcp-comm-backend default-chat-template-kwargs
    default-mm-loras diffusion-config disable-access-log-for-endpoints distributed-executor-backend
    download-dir dtype ec-manager-config ec-transfer-config engram-config eplb-config
    expert-placement-strategy fault-tolerance-config fingerprint-mode fingerprint-value gdn-prefill-backend
    generation-config hf-config-path hf-overrides hf-token host io-processor-plugin ir-op-priority
    jit-monitor-mode kda-decode-backend kda-prefill-backend kernel-config kv-cache-dtype kv-events-config
    kv-offloading-backend kv-transfer-config limit-mm-per-prompt linear-backend load-format log-config-file
    log-level logging-config logprobs-mode lora-dtype mamba-backend mamba-cache-dtype mamba-cache-mode
    mamba-ssm-cache-dtype mamba-ssu-algorithm master-addr max-lora-rank media-io-kwargs
    mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-path
    mm-encoder-tp-mode mm-hasher-algorithm mm-processor-cache-type mm-processor-device mm-processor-kwargs
    mm-tensor-ipc model model-class-overrides model-impl model-loader-extra-config moe-backend
    offload-backend optimization-level otlp-traces-endpoint override-generation-config
    per-request-spec-decode-metrics performance-mode pooler-config prefix-caching-hash-algo profiler-config
    pt-load-map-location quantization quantization-config reasoning-config reasoning-effort-map
    reasoning-parser reasoning-parser-plugin response-role revision root-path runner
    safetensors-load-strategy scheduler-cls scheduling-policy show-hidden-metrics-for-version
    sleep-mode-backend sparse-indexer-topk-backend spec-method spec-model speculative-config ssl-ca-certs
    ssl-certfile ssl-ciphers ssl-keyfile structured-outputs-config tokenizer tokenizer-mode
    tokenizer-revision tool-call-parser tool-parser-plugin tool-server tool-strict-level uds
    uvicorn-log-level video-pruning-method watchdog-config watermark-config weight-transfer-config
    worker-cls worker-extension-cls
    """.split()
)

# First release that has the option, where it is younger than 0.30; and the last one, where it is gone.
SINCE_0_33 = frozenset(
    """
    monokernel reasoning-effort-map sleep-mode-backend watchdog-config
    """.split()
)

SINCE_0_32 = frozenset(
    """
    anthropic-disabled-thinking-effort aux-output-config custom-histogram-buckets device-memory-utilization
    enable-hc-sp enable-mamba-shared-prefix-checkpoint enable-shm-tensor-arena grpc-port log-level
    logging-config long-prefill-token-threshold-adaptive max-lora-cls-labels max-num-active-seqs
    sleep-mode-offload-cudagraph sleep-preserve-parameter-names swa-bounded-replay tool-strict-level
    trust-request-mm-kwargs
    """.split()
)

GONE_IN_0_32 = frozenset(
    """
    enable-mamba-fine-grained-prefix-cache
    """.split()
)
