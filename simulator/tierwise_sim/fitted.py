"""A roofline whose efficiencies were fitted to measured kernels, for the GPUs and models that no kernels exist for.

The plain roofline takes the slower of all bytes and all arithmetic of a step. Real layers work one after another: the
matrix products wait for the slower of their weights and their arithmetic, then attention for the slower of its cache
and its arithmetic, then the GPUs for each other. So the parts are added here, each with an efficiency of its own. The
efficiencies are those of the GPU and number format where kernels of them were measured, else the mean of what was
measured in that format. `fitted.json` has them, with where they come from and the command that makes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, cached_property
from importlib.resources import files

from tierwise_sim.roofline import HOST_LINK_BYTES_PER_SECOND, Roofline
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch, Overheads

FILE = "fitted.json"


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """Shares of the data sheet's figures that an engine reaches, and latencies in seconds.

    `weights` and `cache` of the memory's bandwidth when weights and KV cache are read; `products` of the peak in matrix
    products, `attention` of the bf16 peak in the attention of prompts; `link` of the link's bandwidth, and
    `all_reduce` seconds of each reduction; `layer` seconds of each layer, whatever it works on.
    """

    weights: float = 0.75
    cache: float = 0.75
    products: float = 0.5
    attention: float = 0.5
    link: float = 0.8
    all_reduce: float = 10e-6
    layer: float = 10e-6

    @classmethod
    def mean(cls, known: Iterable[Efficiencies]) -> Efficiencies:
        """The geometric mean of each. Raises ValueError of none."""
        every = [asdict(each) for each in known]
        if not every:
            raise ValueError("a mean needs at least one set of efficiencies")
        return cls(
            **{
                field.name: math.exp(sum(math.log(each[field.name]) for each in every) / len(every))
                for field in fields(cls)
            }
        )


@dataclass(frozen=True)
class FittedRoofline(Roofline):
    """Step durations from a GPU's data sheet and the efficiencies of its parts; without an engine's overheads."""

    efficiencies: Efficiencies = Efficiencies()

    @cached_property
    def _bytes_per_second(self) -> float:
        return self.settings.gpu.bandwidth * 1e9 * self.efficiencies.weights

    @cached_property
    def _flops_per_second(self) -> float:
        peak = self.settings.gpu.peak_tflops(self.settings.precision.arithmetic)
        return peak * 1e12 * self.efficiencies.products

    @cached_property
    def _attention_flops_per_second(self) -> float:
        return self.settings.gpu.bf16 * 1e12 * self.efficiencies.attention

    @cached_property
    def _cache_read(self) -> float:
        """Seconds to read one token of the KV cache."""
        settings = self.settings
        bandwidth = settings.gpu.bandwidth * 1e9 * self.efficiencies.cache
        return settings.kv_bytes_per_token * settings.pipeline_parallel / bandwidth

    def _together_seconds(self, tokens: int) -> float:
        settings, parallel, known = self.settings, self.settings.tensor_parallel, self.efficiencies
        layers = settings.shape.layers * known.layer
        if parallel == 1:
            return layers
        payload = tokens * settings.shape.hidden * 2 * 2 * (parallel - 1) / parallel
        one = known.all_reduce + payload / (settings.gpu.link * 1e9 * known.link)
        return layers + 2 * settings.shape.layers * one

    def seconds(self, batch: Batch) -> float:
        """Duration of one step, in seconds of the compressed clock: products, attention, GPUs among themselves."""
        _, per_token, per_pair = self._rates
        tokens = batch.decodes * (1 + batch.drafted) + batch.prefill
        products = max(self._weights_seconds(tokens), tokens * per_token)
        decodes = max(batch.decode_context * self._cache_read, batch.decode_context * (1 + batch.drafted) * per_pair)
        prompts = max(batch.prefill_context * self._cache_read, batch.prefill_pairs * per_pair)
        loading = batch.loaded * self.settings.kv_bytes_per_token / HOST_LINK_BYTES_PER_SECOND
        whole = products + decodes + prompts + self._together_seconds(tokens) + self._draft_seconds(batch)
        return (whole + loading) / self.settings.speed

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context."""
        _, per_token, per_pair = self._rates
        fixed = max(self._weights_seconds(decodes), decodes * per_token) + self._together_seconds(decodes)
        per_context, speed = max(self._cache_read, per_pair), self.settings.speed
        return lambda context: (fixed + context * per_context) / speed


@dataclass(frozen=True, slots=True)
class Reached:
    """What one GPU reaches in one number format with one model; `error`: how far the roofline is off those kernels.

    The error is a mean of absolute relative differences over the steps that were compared.
    """

    gpu: str
    arithmetic: str
    model: str
    error: float
    efficiencies: Efficiencies


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted to measurements: efficiencies by GPU, number format and model; overheads; their source."""

    reached: Sequence[Reached]
    overheads: Overheads
    source: str

    def without(self, out: str) -> Fit:
        """The fit as if a GPU, or a model, had never been measured."""
        return replace(self, reached=[each for each in self.reached if out not in (each.gpu, each.model)])

    def of(self, settings: EngineSettings) -> tuple[Efficiencies, str] | None:
        """The efficiencies for an engine, and whose they are; None when nothing was measured in its number format.

        Those of its GPU are the mean over models; without any they are the mean of the other GPUs.
        """
        wanted = settings.precision.arithmetic
        known: dict[str, list[Efficiencies]] = {}
        for each in self.reached:
            if each.arithmetic == wanted:
                known.setdefault(each.gpu, []).append(each.efficiencies)
        product = settings.gpu.product
        if own := known.get(product):
            return Efficiencies.mean(own), f"{product} in {wanted}"
        if not known:
            return None
        means = [Efficiencies.mean(each) for each in known.values()]
        return Efficiencies.mean(means), f"the mean of {len(known)} other GPUs in {wanted}"


@cache
def shipped() -> Fit:
    """The fit that the package ships."""
    kept = json.loads((files("tierwise_sim") / FILE).read_text(encoding="utf-8"))
    rows = [
        Reached(
            row.pop("gpu"), row.pop("arithmetic"), row.pop("model"), row.pop("error"), efficiencies=Efficiencies(**row)
        )
        for row in kept["reached"]
    ]
    return Fit(tuple(rows), Overheads(**kept["overheads"]), kept["source"])
