"""Lists what one GPU can compute per second, and how much memory it has.

Peak figures of data sheets, as data: the step-time model (`roofline`) divides by them after an efficiency
factor. The table follows NVIDIA's and AMD's data sheets for dense (not sparse) arithmetic; memory is what
the driver reports where that is known (an L4 sold as 24 GB shows 22.5 GiB), else the marketing figure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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


GPUS: tuple[Gpu, ...] = (
    Gpu("Tesla-T4", 15.0, 65, 0, 0, 320, (7, 5), 16),
    Gpu("NVIDIA-A10G", 22.5, 70, 0, 0, 600, (8, 6), 32),
    Gpu("NVIDIA-L4", 22.5, 121, 242, 0, 300, (8, 9), 16),
    Gpu("NVIDIA-L40S", 48.0, 362, 733, 0, 864, (8, 9), 32),
    Gpu("NVIDIA-A100-SXM4-40GB", 40.0, 312, 0, 0, 1555, (8, 0), 300),
    Gpu("NVIDIA-A100-SXM4-80GB", 80.0, 312, 0, 0, 2039, (8, 0), 300),
    Gpu("NVIDIA-A100-80GB-PCIe", 80.0, 312, 0, 0, 1935, (8, 0), 32),
    Gpu("NVIDIA-H100-80GB-HBM3", 80.0, 989, 1979, 0, 3350, (9, 0), 450),
    Gpu("NVIDIA-H100-NVL", 94.0, 835, 1671, 0, 3900, (9, 0), 300),
    Gpu("NVIDIA-H200", 140.4, 989, 1979, 0, 4800, (9, 0), 450),
    Gpu("NVIDIA-B200", 179.0, 2250, 4500, 9000, 8000, (10, 0), 900),
    Gpu("NVIDIA-GB200", 186.0, 2500, 5000, 10000, 8000, (10, 0), 900),
    Gpu("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", 96.0, 503, 1007, 2015, 1597, (12, 0), 64),
    Gpu("AMD_Instinct_MI300X_OAM", 192.0, 1307, 2615, 0, 5300, (9, 4), 448),
)

_BY_NAME = {gpu.product.lower(): gpu for gpu in GPUS}


def find_gpu(product: str) -> Gpu:
    """The profile for a product label; time-slicing and MIG suffixes of the label are ignored.

    Raises UnknownGpuError with the known names.
    """
    name = re.sub(r"-(SHARED|MIG-[0-9a-z.]+)$", "", product, flags=re.IGNORECASE).lower()
    for candidate in (name, f"nvidia-{name}"):
        if candidate in _BY_NAME:
            return _BY_NAME[candidate]
    known = ", ".join(sorted(gpu.product for gpu in GPUS))
    raise UnknownGpuError(f"no profile for GPU {product!r}; known: {known}")
