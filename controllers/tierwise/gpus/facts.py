"""Lists the facts of each GPU product: memory, bandwidth, arithmetic, links.

Arithmetic is dense: tables that count sparsity list twice as much. Memory is what the driver reports, which is less
than what the product is sold with where error correction takes its part (an L40S of 48 GB shows 45.0 GiB).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tierwise.errors import Invalid


class UnknownGpu(Invalid):
    """No row describes this product."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One product. `product` and `names` are values of the node label nvidia.com/gpu.product (of AMD:
    amd.com/gpu.product-name), the first one that of today's drivers.

    `memory_mib`: MiB, as the label nvidia.com/gpu.memory says; `bandwidth`: GB/s; `bf16`, `fp8`, `fp4`: dense TFLOP/s
    (0: no such unit); `capability`: of compute (of AMD: the gfx release); `link`: GB/s to another GPU of the node, in
    one direction, over NVLink (or Infinity Fabric) where there is `fabric`, else over PCIe; `watts`: the most it draws.
    `doubt` says which figure is uncertain."""

    product: str
    memory_mib: int
    bandwidth: float
    bf16: float
    fp8: float
    fp4: float
    capability: tuple[int, int]
    link: float
    fabric: bool
    watts: int
    source: str
    names: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def memory_gib(self) -> float:
        """GiB, to a tenth."""
        return round(self.memory_mib / 1024, 1)

    @property
    def amd(self) -> bool:
        """Whether it is AMD's."""
        return self.product.startswith("AMD")


def _measured(name: str, but: str = "") -> str:
    return f"aiconfigurator-core 0.12.0 (PyPI, NVIDIA, Apache-2.0), systems/{name}.yaml{but}; memory: nvidia-smi"


FACTS: tuple[GpuFacts, ...] = (
    GpuFacts(
        product="Tesla-T4",
        memory_mib=15360,
        bandwidth=320,
        bf16=65,
        fp8=0,
        fp4=0,
        capability=(7, 5),
        link=16,
        fabric=False,
        watts=70,
        source="NVIDIA T4 data sheet (2019): 65 TFLOPS are of float16, it has no bfloat16; memory: nvidia-smi",
        names=("NVIDIA-Tesla-T4",),
    ),
    GpuFacts(
        product="NVIDIA-A10G",
        memory_mib=23028,
        bandwidth=600,
        bf16=70,
        fp8=0,
        fp4=0,
        capability=(8, 6),
        link=32,
        fabric=False,
        watts=300,
        source="AWS, instances G5 (24 GB, 600 GB/s); memory: nvidia-smi",
        names=("A10G",),
        doubt="NVIDIA publishes no data sheet of the A10G: 70 TFLOPS is what is commonly given, 125 that of the A10",
    ),
    GpuFacts(
        product="NVIDIA-L4",
        memory_mib=23034,
        bandwidth=300,
        bf16=121,
        fp8=242,
        fp4=0,
        capability=(8, 9),
        link=32,
        fabric=False,
        watts=72,
        source=_measured("l4"),
    ),
    GpuFacts(
        product="NVIDIA-L40S",
        memory_mib=46068,
        bandwidth=864,
        bf16=362.05,
        fp8=733,
        fp4=0,
        capability=(8, 9),
        link=32,
        fabric=False,
        watts=350,
        source=_measured("l40s"),
    ),
    GpuFacts(
        product="NVIDIA-A100-SXM4-40GB",
        memory_mib=40960,
        bandwidth=1555,
        bf16=312,
        fp8=0,
        fp4=0,
        capability=(8, 0),
        link=300,
        fabric=True,
        watts=400,
        source="NVIDIA A100 data sheet, column 40 GB SXM; memory: nvidia-smi",
        names=("A100-SXM4-40GB",),
    ),
    GpuFacts(
        product="NVIDIA-A100-SXM4-80GB",
        memory_mib=81920,
        bandwidth=2039,
        bf16=312,
        fp8=0,
        fp4=0,
        capability=(8, 0),
        link=300,
        fabric=True,
        watts=400,
        source=_measured("a100_sxm"),
        names=("A100-SXM4-80GB",),
    ),
    GpuFacts(
        product="NVIDIA-A100-80GB-PCIe",
        memory_mib=81920,
        bandwidth=1935,
        bf16=312,
        fp8=0,
        fp4=0,
        capability=(8, 0),
        link=32,
        fabric=False,
        watts=300,
        source=_measured("a100_pcie"),
        names=("A100-80GB-PCIe",),
    ),
    GpuFacts(
        product="NVIDIA-H100-PCIe",
        memory_mib=81559,
        bandwidth=2000,
        bf16=756.5,
        fp8=1513,
        fp4=0,
        capability=(9, 0),
        link=64,
        fabric=False,
        watts=350,
        source=_measured("h100_pcie"),
    ),
    GpuFacts(
        product="NVIDIA-H100-80GB-HBM3",
        memory_mib=81559,
        bandwidth=3350,
        bf16=989,
        fp8=1979,
        fp4=0,
        capability=(9, 0),
        link=450,
        fabric=True,
        watts=700,
        source=_measured("h100_sxm", "; fp8: NVIDIA H100 data sheet (3,958 with sparsity)"),
    ),
    GpuFacts(
        product="NVIDIA-H100-NVL",
        memory_mib=95830,
        bandwidth=3900,
        bf16=835,
        fp8=1671,
        fp4=0,
        capability=(9, 0),
        link=300,
        fabric=True,
        watts=400,
        source="NVIDIA H100 data sheet, column NVL (figures with sparsity, halved); memory: nvidia-smi",
        doubt="NVLink joins two cards only; more of them talk over PCIe",
    ),
    GpuFacts(
        product="NVIDIA-H200",
        memory_mib=143771,
        bandwidth=4800,
        bf16=989,
        fp8=1979,
        fp4=0,
        capability=(9, 0),
        link=450,
        fabric=True,
        watts=700,
        source=_measured("h200_sxm", "; fp8: NVIDIA H200 data sheet (3,958 with sparsity)"),
    ),
    GpuFacts(
        product="NVIDIA-B200",
        memory_mib=183359,
        bandwidth=7700,
        bf16=2250,
        fp8=4500,
        fp4=9000,
        capability=(10, 0),
        link=900,
        fabric=True,
        watts=1000,
        source=_measured("b200_sxm"),
    ),
    GpuFacts(
        product="NVIDIA-GB200",
        memory_mib=189471,
        bandwidth=8000,
        bf16=2500,
        fp8=5000,
        fp4=10000,
        capability=(10, 0),
        link=900,
        fabric=True,
        watts=1200,
        source=_measured("gb200"),
    ),
    GpuFacts(
        product="NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
        memory_mib=97887,
        bandwidth=1792,
        bf16=467.8,
        fp8=935.6,
        fp4=1871.2,
        capability=(12, 0),
        link=64,
        fabric=False,
        watts=600,
        source=_measured("rtx_pro_6000_server"),
    ),
    GpuFacts(
        product="AMD_Instinct_MI300X_OAM",
        memory_mib=196592,
        bandwidth=5300,
        bf16=1307,
        fp8=2615,
        fp4=0,
        capability=(9, 4),
        link=448,
        fabric=True,
        watts=750,
        source="AMD Instinct MI300X data sheet (7 links of 64 GB/s in each direction); memory: rocm-smi",
    ),
)

_BY_NAME = {name.lower(): each for each in FACTS for name in (each.product, *each.names)}
_SUFFIX = re.compile(r"-(SHARED|MIG-[0-9a-z.]+)$", re.IGNORECASE)


def find(product: str) -> GpuFacts:
    """The facts of a product by its node label. Suffixes for time-slicing and MIG are left out of account, and so is
    the maker's name in front. Raises UnknownGpu with the names that are known."""
    name = _SUFFIX.sub("", product).lower()
    for candidate in (name, f"nvidia-{name}"):
        if candidate in _BY_NAME:
            return _BY_NAME[candidate]
    known = ", ".join(sorted(each.product for each in FACTS))
    raise UnknownGpu(f"no facts of GPU {product!r}; known: {known}")
