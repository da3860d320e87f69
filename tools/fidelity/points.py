"""Reads the measured end-to-end points that `aiconfigurator-core` ships, and says how each was measured.

The package's `systems/silicon_sample.csv` has an engine, a model, a GPU, lengths and a number of users, and the mean
milliseconds to the first token and between tokens. It does not say how the requests arrived; its source column does,
for those that have a public benchmark behind them (`PROTOCOLS`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random

from tierwise_sim.closed_loop import Answer, Figures, figures
from tierwise_sim.hardware import find_gpu
from tierwise_sim.models import BF16, Precision, shape_of
from tierwise_sim.sequence import Request
from tierwise_sim.settings import EngineSettings

PRODUCTS = {"b200_sxm": "NVIDIA-B200", "h100_sxm": "NVIDIA-H100-80GB-HBM3", "h200_sxm": "NVIDIA-H200"}
DENSE = {
    "meta-llama/Llama-3.1-70B": "Llama-3.1-70B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "Llama-3.1-8B",
    "meta-llama/Llama-3.1-8B-Instruct": "Llama-3.1-8B",
    "Qwen/Qwen3-32B": "Qwen3-32B",
}
_PRECISIONS = {
    "bf16": BF16,
    "fp8": Precision("fp8", 8.08, "fp8"),
    "nvfp4": Precision("nvfp4", 4.5, "fp4"),
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How requests arrived: `shortest` length as a share of the nominal one, requests per user, where it is written.

    `async_scheduling`: how the engine was started.
    Everybody asks at the start, and again as soon as answered. In a `burst` those first requests are as long as all
    others and count; else they are the warm-up: cut anywhere, so that users go on out of step, and not counted.
    """

    name: str
    shortest: float
    waves: int
    burst: bool
    async_scheduling: bool
    source: str


INFERENCE_MAX = Protocol(
    "InferenceMAX",
    shortest=0.8,
    waves=10,
    burst=True,
    async_scheduling=True,
    source="github.com/SemiAnalysisAI/InferenceX, benchmarks/70b_*.sh of 2025: benchmark_serving.py --dataset-name "
    "random --random-range-ratio 0.8 --num-prompts $((CONC * 10)) --max-concurrency $CONC --request-rate inf "
    "--ignore-eos",
)
UNTOLD = Protocol(
    "not told",
    shortest=1.0,
    waves=3,
    burst=False,
    async_scheduling=False,  # vLLM 0.12, before it was the default
    source="the sample names a file only; no burst: 8 users wait for a first token as long as one prompt takes",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point; milliseconds as the sample has them. `model` without its owner, `gpu` a product label."""

    id: str
    engine: str
    version: str
    model: str
    gpu: str
    precision: str
    tensor_parallel: int
    prompt_tokens: int
    output_tokens: int
    users: int
    ttft_ms: float
    inter_token_ms: float
    protocol: Protocol

    @property
    def work(self) -> tuple[object, ...]:
        """What two engines must have in common to be compared."""
        return (
            self.model,
            self.gpu,
            self.precision,
            self.tensor_parallel,
            self.prompt_tokens,
            self.output_tokens,
            self.users,
        )

    def tokens_per_second(self, ttft: float, inter_token: float) -> float:
        """Generated tokens per second when these are the mean seconds to the first token and between tokens.

        The sample has no throughput; in a closed loop it follows from the two times (Little's law): every user gets one
        answer per TTFT + (tokens - 1) x the time between tokens.
        """
        tokens = self.output_tokens * (1 + self.protocol.shortest) / 2
        return self.users * tokens / (ttft + (tokens - 1) * inter_token)

    @property
    def settings(self) -> EngineSettings:
        """The engine as the protocol's scripts start it.

        Steps of 8,192 tokens, 90 % of the memory, no prefix cache; an fp8 KV cache where the scripts ask for one
        (InferenceMAX on H200 and B200), else in bf16.
        """
        fp8_cache = self.protocol is INFERENCE_MAX and self.gpu != "NVIDIA-H100-80GB-HBM3"
        return EngineSettings(
            model=self.model,
            shape=shape_of(self.model),
            precision=_PRECISIONS[self.precision],
            gpu=find_gpu(self.gpu),
            tensor_parallel=self.tensor_parallel,
            max_model_len=self.prompt_tokens + self.output_tokens + 200,
            max_num_seqs=max(512, self.users),
            max_num_batched_tokens=8192,
            kv_element_bytes=1.0 if fp8_cache else 2.0,
            gpu_memory_utilization=0.9,
            prefix_caching=False,
            async_scheduling=self.protocol.async_scheduling,
        )

    def requests(self, waves: int | None = None, seed: int = 0) -> list[Request]:
        """What is sent: lengths drawn as the protocol does, from a seed."""
        rng = Random(seed)  # noqa: S311 - a repeatable run
        low = self.protocol.shortest

        def drawn(nominal: int) -> int:
            return rng.randint(max(1, int(nominal * low)), nominal)

        count = self.users * (waves or self.protocol.waves)
        counted = [Request(str(n), drawn(self.prompt_tokens), drawn(self.output_tokens)) for n in range(count)]
        if self.protocol.burst:
            return counted
        cut = [
            Request(f"warm-up {n}", self.prompt_tokens, rng.randint(1, self.output_tokens)) for n in range(self.users)
        ]
        return cut + counted

    def figures(self, answers: Sequence[Answer]) -> Figures:
        """The means over what the protocol counts of the answers to `requests`."""
        if self.protocol.burst:
            return figures(answers)
        return figures(sorted(answers, key=lambda each: each.asked)[self.users :])


def read(engine: str | None = "vllm") -> list[Point]:
    """The dense points of one engine, or of all, in the sample's order. Raises ImportError without the package."""
    path = files("aiconfigurator_core") / "systems" / "silicon_sample.csv"
    with path.open(encoding="utf-8") as lines:
        return list(_points(csv.DictReader(lines), engine))


def _points(rows: Iterable[dict[str, str]], engine: str | None) -> Iterator[Point]:
    for row in rows:
        wanted = engine is None or row["backend"] == engine
        if not wanted or row["mode"] != "agg" or row["model_path"] not in DENSE or row["system"] not in PRODUCTS:
            continue
        told = "source_file=2026-04-06.csv" in row["silicon_data_source"]
        yield Point(
            row["id"],
            row["backend"],
            row["backend_version"],
            DENSE[row["model_path"]],
            PRODUCTS[row["system"]],
            {"": "bf16", "fp4": "nvfp4"}.get(row["precision"], row["precision"]),
            int(float(row["tp_size"])),
            int(row["isl"]),
            int(row["osl"]),
            int(float(row["batch_size"])),
            float(row["silicon_ttft_ms"]),
            float(row["silicon_tpot_ms"]),
            INFERENCE_MAX if told else UNTOLD,
        )
