"""Describes the simulated engine: model, numbers, GPU, limits, and the KV memory left for requests.

One frozen value that the engine model, the metrics and the capacity formula share. Memory follows the fit
rule of vLLM's start-up: utilization x memory - weights - draft weights - activations = KV cache, and a start
that cannot hold one request of full length is refused with vLLM's own words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from tierwise_sim.hardware import GIB, Gpu, find_gpu
from tierwise_sim.models import BF16, ModelShape, Precision, shape_of
from tierwise_sim.speculation import Speculation
from tierwise_sim.stats import Buckets

# Memory that is neither weights nor KV: CUDA context and graphs, and activations that grow with the tokens
# of one step. Fitted to vLLM's documentation: Qwen3-4B on an L4 leaves 11.47 GiB of KV cache.
_FIXED_OVERHEAD_GIB = 1.0
_ACTIVATION_GIB_PER_TOKEN = 0.25 / 1024


class StartupError(Exception):
    """The engine refuses to start; the message is the last line that the real one would log."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class EngineSettings:
    """Everything that decides how the simulated engine behaves.

    `speed` compresses time: 10 makes every step ten times shorter, so that a trace compressed tenfold meets
    the same queues. `kv_blocks_override` is vLLM's `--num-gpu-blocks-override`. `async_scheduling`: whether a step is
    scheduled while another runs, as vLLM does by default from 0.14 on (vllm-project/vllm#27614).
    """

    model: str = "Qwen/Qwen3-8B-FP8"
    shape: ModelShape = field(default_factory=lambda: shape_of("8B"))
    precision: Precision = field(default_factory=lambda: Precision("fp8", 8.08, "fp8"))
    gpu: Gpu = field(default_factory=lambda: find_gpu("NVIDIA-L4"))
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    max_model_len: int = 32768
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_num_queued_reqs: int | None = None
    max_num_queued_tokens: int | None = None
    block_size: int = 16
    kv_element_bytes: float = 2.0
    gpu_memory_utilization: float = 0.92
    kv_cache_memory_bytes: int | None = None
    kv_blocks_override: int | None = None
    prefix_caching: bool = True
    async_scheduling: bool = True
    kv_offload_gib: float = 0.0
    speculation: Speculation | None = None
    speed: float = 1.0
    histogram_buckets: Buckets = field(default_factory=dict)

    @cached_property
    def weight_bytes(self) -> float:
        """Bytes of weights on one GPU.

        Parameters x bits / 8, with the vocabulary matrices left in bf16 as quantized checkpoints leave them.
        """
        vocabulary = self.shape.embedding_params * (1 if self.shape.tied else 2)
        inner = max(0.0, self.shape.params_b * 1e9 - vocabulary)
        total = inner * self.precision.bits / 8 + vocabulary * BF16.bits / 8
        return total / (self.tensor_parallel * self.pipeline_parallel)

    @cached_property
    def draft_bytes(self) -> float:
        """Bytes of the draft model's weights (bf16) on one GPU."""
        return self.speculation.draft_params_b * 1e9 * 2 / self.tensor_parallel if self.speculation else 0.0

    @cached_property
    def kv_bytes_per_token(self) -> float:
        """KV-cache bytes per token on one GPU."""
        return self.shape.kv_bytes_per_token(self.kv_element_bytes, self.tensor_parallel, self.pipeline_parallel)

    @cached_property
    def kv_cache_bytes(self) -> float:
        """Bytes left for the KV cache on one GPU; negative when the weights alone do not fit."""
        if self.kv_cache_memory_bytes is not None:
            return float(self.kv_cache_memory_bytes)
        overhead = (_FIXED_OVERHEAD_GIB + _ACTIVATION_GIB_PER_TOKEN * self.max_num_batched_tokens) * GIB
        budget = self.gpu_memory_utilization * self.gpu.memory_gib * GIB
        return budget - self.weight_bytes - self.draft_bytes - overhead

    @cached_property
    def num_gpu_blocks(self) -> int:
        """KV blocks of one replica."""
        if self.kv_blocks_override is not None:
            return self.kv_blocks_override
        return max(0, int(self.kv_cache_bytes // (self.kv_bytes_per_token * self.block_size)))

    @property
    def kv_tokens(self) -> int:
        """KV capacity in tokens: what `cache_config_info.kv_cache_size_tokens` says."""
        return self.num_gpu_blocks * self.block_size

    @cached_property
    def host_blocks(self) -> int:
        """KV blocks that fit in the host's offloading buffer (summed over tensor parallelism)."""
        per_block = self.kv_bytes_per_token * self.block_size * self.tensor_parallel
        return int(self.kv_offload_gib * GIB // per_block)

    def blocks_for(self, tokens: int) -> int:
        """KV blocks that hold this many tokens."""
        return -(-tokens // self.block_size)

    def check(self) -> None:
        """Raise StartupError where vLLM would not start, with its last log line (vllm 0.33)."""
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise StartupError(
                f"ValueError: max_num_batched_tokens ({self.max_num_batched_tokens}) must be greater than or "
                f"equal to max_num_seqs ({self.max_num_seqs})."
            )
        resident = self.weight_bytes + self.draft_bytes
        if resident > self.gpu.memory_gib * GIB:
            raise StartupError(
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate "
                f"{resident / GIB / self.shape.layers:.2f} GiB. GPU 0 has a total capacity of "
                f"{self.gpu.memory_gib:.2f} GiB of which 0.00 GiB is free."
            )
        advice = "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."
        available = self.num_gpu_blocks * self.block_size * self.kv_bytes_per_token
        if available <= 0:
            raise StartupError(
                "ValueError: No available memory for the cache blocks. Try increasing "
                "`gpu_memory_utilization` when initializing the engine (this flag also controls CPU memory "
                f"reservation on the CPU backend, despite its name). {advice}"
            )
        if self.max_model_len > self.kv_tokens:
            needed = self.blocks_for(self.max_model_len) * self.block_size * self.kv_bytes_per_token
            raise StartupError(
                f"ValueError: To serve at least one request with the model's max seq len "
                f"({self.max_model_len}), ({needed / GIB:.2f} GiB KV cache is needed, which is larger than "
                f"the available KV cache memory ({available / GIB:.2f} GiB). Based on the available memory, "
                f"the estimated maximum model length is {self.kv_tokens}. Try increasing "
                "`gpu_memory_utilization` (which also controls CPU memory on the CPU backend) or decreasing "
                f"`max_model_len` when initializing the engine. {advice}"
            )

    @property
    def load_seconds(self) -> float:
        """Seconds from process start to listening, uncompressed.

        20 s of imports, profiling and graph capture, and the weights at 1 GiB/s from network storage: with
        it an 8B in FP8 takes half a minute and a 70B in bf16 on four GPUs just under a minute.
        """
        return 20.0 + self.weight_bytes / GIB


def default_batch_limits(gpu: Gpu) -> tuple[int, int]:
    """vLLM's API-server defaults of (max_num_batched_tokens, max_num_seqs) for a GPU's memory.

    vllm/engine/arg_utils.py 0.33: 160 GiB and more, then 70 GiB unless it is an A100, then the rest.
    """
    if gpu.memory_gib >= 160:
        return 16384, 1024
    if gpu.memory_gib >= 70 and "a100" not in gpu.product.lower():
        return 8192, 1024
    return 2048, 256
