"""Computes the duration of one engine step.

A roofline: a step is as long as the slower of moving bytes (weights once, the KV cache of every attended
token) and of arithmetic (two operations per weight and token, and attention), plus what does not overlap.
Batching is cheap while bytes dominate and stops being cheap when arithmetic does; quantization moves fewer
bytes; a verified draft is nearly free at batch 1 and costs its full arithmetic at batch 200. That is all the
tactics the operator has to choose between, so it is all this model has.

Sources: Pope et al., "Efficiently Scaling Transformer Inference" (arXiv 2211.05102) for the counts; Yuan et
al., "LLM Inference Unveiled: Survey and Roofline Model Insights" (arXiv 2402.16363) for the roofline; chunked
prefill beside decodes in one step as in Sarathi-Serve (arXiv 2403.02310). The two efficiencies are fitted to
one published figure: SGLang's 158 tokens/s for Llama-3.1-8B in bf16 on an H100 at batch 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch

BANDWIDTH_EFFICIENCY = 0.75
ARITHMETIC_EFFICIENCY = 0.5
STEP_OVERHEAD_SECONDS = 0.0003
DRAFT_PASS_OVERHEAD_SECONDS = 0.0001
LOOKUP_SECONDS_PER_SEQUENCE = 20e-6
ALL_REDUCE_SECONDS = 10e-6
HOST_LINK_BYTES_PER_SECOND = 25e9


@dataclass(frozen=True)
class Roofline:
    """Step durations of one engine; precomputes what does not change from step to step."""

    settings: EngineSettings

    @property
    def request_seconds(self) -> float:
        """None: a roofline knows the GPU only."""
        return 0.0

    @cached_property
    def _bytes_per_second(self) -> float:
        return self.settings.gpu.bandwidth * 1e9 * BANDWIDTH_EFFICIENCY

    @cached_property
    def _flops_per_second(self) -> float:
        peak = self.settings.gpu.peak_tflops(self.settings.precision.arithmetic)
        return peak * 1e12 * ARITHMETIC_EFFICIENCY

    @cached_property
    def _attention_flops_per_second(self) -> float:
        return self.settings.gpu.bf16 * 1e12 * ARITHMETIC_EFFICIENCY

    @cached_property
    def _weight_read(self) -> tuple[float, float]:
        """(seconds to read the dense part once, seconds to read all experts once)."""
        shape, parallel = self.settings.shape, self.settings.tensor_parallel
        looked_up = 0 if shape.tied else shape.embedding_params * 2
        total = self.settings.weight_bytes * self.settings.pipeline_parallel - looked_up / parallel
        active = total * shape.active_b / shape.params_b
        return active / self._bytes_per_second, (total - active) / self._bytes_per_second

    def _weights_seconds(self, tokens: int) -> float:
        """Reading weights for a step of this many tokens: more tokens touch more experts."""
        dense, experts = self._weight_read
        if not experts:
            return dense
        ratio = self.settings.shape.active_b / self.settings.shape.params_b
        return float(dense + experts * (1.0 - (1.0 - ratio) ** max(0, tokens - 1)))

    def _draft_seconds(self, batch: Batch) -> float:
        """Proposing `drafted` tokens for every decoding sequence: one pass of the draft per token."""
        speculation = self.settings.speculation
        if speculation is None or not batch.drafted:
            return 0.0
        if not speculation.draft_params_b:
            return LOOKUP_SECONDS_PER_SEQUENCE * batch.decodes
        read = self.settings.draft_bytes / self._bytes_per_second
        flops = 2 * speculation.draft_params_b * 1e9 * batch.decodes / self.settings.tensor_parallel
        return batch.drafted * (max(read, flops / self._attention_flops_per_second) + DRAFT_PASS_OVERHEAD_SECONDS)

    @cached_property
    def _rates(self) -> tuple[float, float, float]:
        """(seconds per KV token read, per token multiplied, per query-key pair)."""
        settings, shape = self.settings, self.settings.shape
        return (
            settings.kv_bytes_per_token * settings.pipeline_parallel / self._bytes_per_second,
            2 * shape.active_b * 1e9 / settings.tensor_parallel / self._flops_per_second,
            4 * shape.layers * shape.hidden / settings.tensor_parallel / self._attention_flops_per_second,
        )

    def _together_seconds(self, tokens: int) -> float:
        """Two all-reduces per layer of the activations of this many tokens."""
        settings, parallel = self.settings, self.settings.tensor_parallel
        if parallel == 1:
            return 0.0
        payload = tokens * settings.shape.hidden * 2 * 2 * (parallel - 1) / parallel
        return 2 * settings.shape.layers * (ALL_REDUCE_SECONDS + payload / (settings.gpu.link * 1e9))

    def seconds(self, batch: Batch) -> float:
        """Duration of one step, in seconds of the compressed clock (`settings.speed`).

        Pipeline stages run one after the other for one batch: a pipeline adds memory, not speed.
        """
        settings = self.settings
        per_read, per_token, per_pair = self._rates
        tokens = batch.decodes * (1 + batch.drafted) + batch.prefill
        pairs = batch.decode_context * (1 + batch.drafted) + batch.prefill_pairs
        moving = self._weights_seconds(tokens) + (batch.decode_context + batch.prefill_context) * per_read
        computing = tokens * per_token + pairs * per_pair
        whole = max(moving, computing) + self._together_seconds(tokens) + self._draft_seconds(batch)
        loading = batch.loaded * settings.kv_bytes_per_token / HOST_LINK_BYTES_PER_SECOND
        return (whole + loading + STEP_OVERHEAD_SECONDS) / settings.speed

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context: for runs of steps."""
        per_read, per_token, per_pair = self._rates
        weights, arithmetic = self._weights_seconds(decodes), decodes * per_token
        fixed = self._together_seconds(decodes) + STEP_OVERHEAD_SECONDS
        speed = self.settings.speed

        def seconds(context: int) -> float:
            return (max(weights + context * per_read, arithmetic + context * per_pair) + fixed) / speed

        return seconds
