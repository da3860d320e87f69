"""Manages KV blocks: which are in use, which are cached, and which prompt prefixes are already computed.

Paged KV memory with prefix caching as in vLLM (Kwon et al., arXiv 2309.06180, and vllm/v1/core/block_pool.py):
full blocks are known by a hash of everything up to their end, shared by reference count, and stay as cached
but free blocks until memory is needed, oldest first. Blocks need no identity here, only counts and hashes, so
a pool of a million blocks costs nothing until it is used. Evicted blocks may go to host memory
(`--kv-offloading-size`) and come back from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Holding:
    """The blocks of one request: hashed ones in order, and a count of unhashed ones."""

    shared: list[int] = field(default_factory=list)
    private: int = 0

    @property
    def blocks(self) -> int:
        """All blocks of this request."""
        return len(self.shared) + self.private


class BlockPool:
    """The KV blocks of one engine. Nothing here knows about requests or time."""

    def __init__(self, capacity: int, host_capacity: int = 0) -> None:
        self.capacity = capacity
        self.host_capacity = host_capacity
        self._referenced: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._host: OrderedDict[int, None] = OrderedDict()
        self._private = 0

    @property
    def used(self) -> int:
        """Blocks that requests hold; cached blocks nobody holds count as free."""
        return self._private + len(self._referenced)

    @property
    def free(self) -> int:
        """Blocks that can be had, by evicting cached ones if need be."""
        return self.capacity - self.used

    @property
    def cached(self) -> int:
        """Blocks that are free but still remembered."""
        return len(self._idle)

    def match(self, hashes: Sequence[int], limit: int) -> tuple[int, int]:
        """(blocks found on the device, blocks found after them in host memory) of a prefix, at most `limit`."""
        device = 0
        for block in hashes[:limit]:
            if block not in self._referenced and block not in self._idle:
                break
            device += 1
        host = 0
        for block in hashes[device:limit]:
            if block not in self._host:
                break
            host += 1
        return device, host

    def idle_among(self, hashes: Sequence[int]) -> int:
        """How many of these cached blocks would be taken out of the free ones by holding them."""
        return sum(1 for block in hashes if block in self._idle)

    def hold(self, holding: Holding, hashes: Sequence[int]) -> None:
        """Take references on cached blocks (which `match` found on the device)."""
        for block in hashes:
            if block in self._idle:
                del self._idle[block]
                self._referenced[block] = 1
            else:
                self._referenced[block] += 1
            holding.shared.append(block)

    def reserve(self, holding: Holding, blocks: int) -> bool:
        """Give `blocks` unhashed blocks to a request, evicting the oldest cached ones; False if too few."""
        if blocks > self.free:
            return False
        self._private += blocks
        holding.private += blocks
        for _ in range(self.used + len(self._idle) - self.capacity):
            evicted, _ = self._idle.popitem(last=False)
            if self.host_capacity:
                self._host[evicted] = None
                self._host.move_to_end(evicted)
                if len(self._host) > self.host_capacity:
                    self._host.popitem(last=False)
        return True

    def give_back(self, holding: Holding, blocks: int) -> None:
        """Take back unhashed blocks that were reserved and not used; none when `blocks` is not positive."""
        if blocks > 0:
            self._private -= blocks
            holding.private -= blocks

    def publish(self, holding: Holding, block: int) -> None:
        """Make a computed block of this request findable.

        A hash that is known already keeps its first copy: two requests that compute the same prompt at the
        same time each keep their own block, as in vLLM.
        """
        if block in self._referenced or block in self._idle:
            return
        holding.private -= 1
        self._private -= 1
        self._referenced[block] = 1
        holding.shared.append(block)

    def release(self, holding: Holding) -> None:
        """Drop a request's blocks; the end of a prompt is forgotten before its beginning."""
        for block in reversed(holding.shared):
            count = self._referenced[block] - 1
            if count:
                self._referenced[block] = count
            else:
                del self._referenced[block]
                self._idle[block] = None
        self._private -= holding.private
        holding.shared.clear()
        holding.private = 0
