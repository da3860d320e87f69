"""Defines the nodes of the playground.

Nodes are only objects here: the scheduler looks at labels and capacity, nothing enforces them. The GPU
labels are those of NVIDIA's GPU feature discovery, because that is what node selectors are written against.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One kind of GPU as GPU feature discovery describes it; `memory_mib` is what the driver reports."""

    product: str
    family: str
    memory_mib: int
    compute: tuple[int, int]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node: its name, its GPUs and what it offers to pods (Kubernetes quantities)."""

    name: str
    gpu: GpuModel | None = None
    gpu_count: int = 0
    cpu: str = "256"
    memory: str = "2Ti"
    pods: int = 500
    extra_labels: tuple[tuple[str, str], ...] = field(default=())

    def labels(self) -> dict[str, str]:
        """Return the labels the Node object carries."""
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "node.kubernetes.io/instance-type": "playground",
            **dict(self.extra_labels),
        }
        if self.gpu is not None:
            labels |= {
                "nvidia.com/gpu.present": "true",
                "nvidia.com/gpu.product": self.gpu.product,
                "nvidia.com/gpu.family": self.gpu.family,
                "nvidia.com/gpu.memory": str(self.gpu.memory_mib),
                "nvidia.com/gpu.count": str(self.gpu_count),
                "nvidia.com/gpu.replicas": "1",
                "nvidia.com/gpu.compute.major": str(self.gpu.compute[0]),
                "nvidia.com/gpu.compute.minor": str(self.gpu.compute[1]),
                "nvidia.com/cuda.driver-version.major": "580",
                "nvidia.com/mig.capable": "true"
                if self.gpu.product.startswith(("NVIDIA-A100", "NVIDIA-H"))
                else "false",
            }
        return labels

    def capacity(self) -> dict[str, str]:
        """Return capacity, which is also what is allocatable."""
        capacity = {
            "cpu": self.cpu,
            "memory": self.memory,
            "pods": str(self.pods),
            "ephemeral-storage": "4Ti",
        }
        if self.gpu is not None:
            capacity[GPU_RESOURCE] = str(self.gpu_count)
        return capacity


L4 = GpuModel(product="NVIDIA-L4", family="ada-lovelace", memory_mib=23034, compute=(8, 9))
H100 = GpuModel(product="NVIDIA-H100-80GB-HBM3", family="hopper", memory_mib=81559, compute=(9, 0))

NODES: tuple[NodeSpec, ...] = (
    NodeSpec(name="gpu-0", gpu=L4, gpu_count=8),
    NodeSpec(name="gpu-1", gpu=H100, gpu_count=8),
    NodeSpec(name="cpu-0"),
)
