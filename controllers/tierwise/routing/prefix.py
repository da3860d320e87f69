"""Remembers which replica has probably which prompt prefixes in its cache.

Engines keep the keys and values of prompts in blocks; a prompt whose beginning is cached skips that part of the
prefill. The index guesses from what was sent where: prompts are cut into blocks of 256 bytes (about 64 tokens), each
hashed together with all before it, and every replica has the hashes of its last prompts, as many as its cache holds.

Some beginnings are everybody's: an instruction of 8 KiB before every conversation. Such a beginning shows by its forks,
the prompts that left what was known after its last block. A conversation that goes on makes one at a time, in places of
its own; an instruction makes one with every conversation, always in the same place.

Hashes are XXH3, not Python's own: routers that never talk must find the same home for the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from xxhash import xxh3_64_intdigest

BLOCK_BYTES = 256
BLOCK_TOKENS = 64
DEFAULT_CAPACITY_BLOCKS = 8_192  # half a million tokens, until the engine has said how many it holds
MOST_BLOCKS = 2_048  # of one prompt: 512 KiB; what lies beyond decides nothing
MOST_FORKS = 8_192


def block_hashes(prompt: bytes, seed: bytes = b"") -> tuple[int, ...]:
    """The chained hashes of the whole blocks of `prompt`; `seed` is whatever else separates caches (tools, a salt)."""
    previous = xxh3_64_intdigest(seed)
    hashes = []
    for start in range(0, min(len(prompt) - BLOCK_BYTES + 1, MOST_BLOCKS * BLOCK_BYTES), BLOCK_BYTES):
        previous = xxh3_64_intdigest(prompt[start : start + BLOCK_BYTES], previous)
        hashes.append(previous)
    return tuple(hashes)


class PrefixIndex:
    """The blocks of every replica, least recently used first out. Memory is bounded by the sum of the capacities, and
    the forks, which outlive replicas, by `MOST_FORKS`."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[int, None]] = {}
        self._capacity: dict[str, int] = {}
        self._forks: dict[int, int] = {}
        self._told: set[str] = set()

    def matched(self, replica: str, blocks: tuple[int, ...]) -> int:
        """How many blocks from the beginning the replica has.

        A block is never forgotten before those that continue it (see `add`), so that a binary search finds the end."""
        known = self._blocks.get(replica)
        if not known or not blocks or blocks[0] not in known:
            return 0
        low, high = 1, len(blocks)
        while low < high:
            middle = (low + high + 1) // 2
            if blocks[middle - 1] in known:
                low = middle
            else:
                high = middle - 1
        return low

    def common(self, blocks: tuple[int, ...], forks: int) -> int:
        """How many blocks from the beginning are everybody's: at least so many prompts went on otherwise after them."""
        if not self._forks:
            return 0
        for depth in range(len(blocks), 0, -1):
            if self._forks.get(blocks[depth - 1], 0) >= forks:
                return depth
        return 0

    def add(self, replica: str, blocks: tuple[int, ...]) -> None:
        """The replica was given this prompt."""
        known = self._blocks.setdefault(replica, {})
        matched = self.matched(replica, blocks)
        if 0 < matched < len(blocks):
            self._fork(blocks[matched - 1])
        # From the end to the beginning: the beginning is then the most recent, and the last to be forgotten.
        for block in reversed(blocks):
            known.pop(block, None)
            known[block] = None
        self._shorten(known, self._capacity.get(replica, DEFAULT_CAPACITY_BLOCKS))

    def correct(self, replica: str, believed_blocks: int, cached_tokens: int) -> None:
        """The engine has said how much of a prompt was cached. Much less than believed means that the replica has
        forgotten more than the index: the oldest tenth goes.

        Many engines never say, which reads as 0: a replica is believed once it has said more."""
        known = self._blocks.get(replica)
        if not known:
            return
        if cached_tokens > 0:
            self._told.add(replica)
        if replica in self._told and cached_tokens < believed_blocks * BLOCK_TOKENS // 2:
            self._shorten(known, len(known) - max(1, len(known) // 10))

    def resize(self, replica: str, capacity_tokens: int) -> None:
        """The engine has said how many tokens its cache holds."""
        capacity = max(1, capacity_tokens // BLOCK_TOKENS)
        self._capacity[replica] = capacity
        self._shorten(self._blocks.get(replica, {}), capacity)

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget all others."""
        alive = set(replicas)
        self._told &= alive
        for kept in (self._blocks, self._capacity):
            for gone in kept.keys() - alive:
                del kept[gone]

    def __len__(self) -> int:
        """How many blocks are remembered in all."""
        return sum(map(len, self._blocks.values()))

    def _fork(self, block: int) -> None:
        self._forks[block] = self._forks.pop(block, 0) + 1
        self._shorten(self._forks, MOST_FORKS)

    @staticmethod
    def _shorten(known: dict[int, None] | dict[int, int], capacity: int) -> None:
        # All at once: a dict that was shortened at its beginning is walked from there, gaps included.
        surplus = len(known) - capacity
        if surplus > 0:
            for block in list(islice(known, surplus)):
                del known[block]


def home(key: int, replicas: Iterable[str]) -> str:
    """The replica that a prompt belongs to which nobody has seen: rendezvous hashing, so that every router finds the
    same one, and one replica more or less moves only what must move. `replicas` must not be empty."""
    return max(replicas, key=lambda name: (xxh3_64_intdigest(name.encode(), key), name))
