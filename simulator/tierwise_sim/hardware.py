"""Says what one GPU can compute per second, and how much memory it has.

Peak figures: the step-time model (`roofline`) divides by them after an efficiency factor. They are those of
`tierwise.gpus`, where each has its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.gpus import FACTS, GpuFacts, UnknownGpu, find

GIB = 1024**3


class UnknownGpuError(ValueError):
    """A GPU product name that no profile describes."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the node label `nvidia.com/gpu.product` names it.

    `memory_gib` in GiB, `bandwidth` in GB/s, the arithmetic peaks in TFLOP/s (0: no native unit), `link` the
    bandwidth to another GPU in GB/s and direction, `capability` as (major, minor).
    """

    product: str
    memory_gib: float
    bf16: float
    fp8: float
    fp4: float
    bandwidth: float
    capability: tuple[int, int]
    link: float

    def peak_tflops(self, arithmetic: str) -> float:
        """TFLOP/s of the units that run `arithmetic` (bf16, int8, fp8, fp4).

        Weight-only formats multiply in bf16. A format that the chip has no units for falls back to bf16 as
        vLLM's Marlin kernels do: it then saves memory, not arithmetic. INT8 units run at twice bf16 from
        Turing on.
        """
        if arithmetic == "int8":
            return 2 * self.bf16
        native = {"fp8": self.fp8, "fp4": self.fp4}.get(arithmetic, self.bf16)
        return native or self.bf16


def _profile(facts: GpuFacts) -> Gpu:
    return Gpu(
        product=facts.product,
        memory_gib=facts.memory_gib,
        bf16=facts.bf16,
        fp8=facts.fp8,
        fp4=facts.fp4,
        bandwidth=facts.bandwidth,
        capability=facts.capability,
        link=facts.link,
    )


GPUS: tuple[Gpu, ...] = tuple(map(_profile, FACTS))
_BY_NAME = {gpu.product: gpu for gpu in GPUS}


def find_gpu(product: str) -> Gpu:
    """The profile for a product label, as `tierwise.gpus.find` reads it.

    Raises UnknownGpuError with the known names.
    """
    try:
        return _BY_NAME[find(product).product]
    except UnknownGpu as error:
        raise UnknownGpuError(error.message) from None
