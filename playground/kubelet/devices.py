"""Assigns the numbers of GPUs to pods.

None exists, but a program that asks gets an answer: as the NVIDIA device plugin does, each container with a
GPU limit gets the numbers of free GPUs of its node in NVIDIA_VISIBLE_DEVICES. What no driver can tell it, their
product, is in PLAYGROUND_GPU.
"""

from __future__ import annotations

from playground.kubelet.model import Json
from playground.kubelet.quantity import parse_quantity
from playground.nodes import GPU_RESOURCE


class Devices:
    """The GPUs of one node."""

    def __init__(self, count: int, product: str = "") -> None:
        """Start with all of them free."""
        self._product = product
        self._free = set(range(count))
        self._taken: dict[str, dict[str, tuple[int, ...]]] = {}

    def claim(self, uid: str, spec: Json) -> None:
        """Give a pod's containers their GPUs, the lowest free numbers. A second claim changes nothing."""
        if uid in self._taken:
            return
        given: dict[str, tuple[int, ...]] = {}
        for container in spec["containers"]:
            wanted = int(parse_quantity(container.get("resources", {}).get("limits", {}).get(GPU_RESOURCE, 0)))
            if wanted:
                # The scheduler counts, so there are enough; a pod that is just leaving may still hold its own.
                chosen = tuple(sorted(self._free)[:wanted])
                self._free.difference_update(chosen)
                given[container["name"]] = chosen
        self._taken[uid] = given

    def release(self, uid: str) -> None:
        """Take a pod's GPUs back."""
        for chosen in self._taken.pop(uid, {}).values():
            self._free.update(chosen)

    def variables(self, uid: str) -> dict[str, dict[str, str]]:
        """Return the variables that tell of GPUs, by container name, for those with GPUs."""
        return {
            name: {"NVIDIA_VISIBLE_DEVICES": ",".join(map(str, chosen)), "PLAYGROUND_GPU": self._product}
            for name, chosen in self._taken.get(uid, {}).items()
        }
