"""Remembers which replica has probably which prompt prefixes in its cache.

Engines keep the keys and values of prompts in blocks; a prompt whose beginning is cached skips that part of the
prefill. The index guesses from what was sent where: prompts are cut into blocks of 256 bytes (about 64 tokens), each
hashed together with all before it, and every replica has the hashes of its last prompts, as many as its cache holds.

Hashes are BLAKE2b, not Python's own: routers that never talk must find the same home for the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

BLOCK_BYTES = 256
BLOCK_TOKENS = 64
DEFAULT_CAPACITY_BLOCKS = 8_192  # half a million tokens, until the engine has said how many it holds
MOST_BLOCKS = 2_048  # of one prompt: 512 KiB; what lies beyond decides nothing


def block_hashes(prompt: bytes, seed: bytes = b"") -> tuple[int, ...]:
    """The chained hashes of the whole blocks of `prompt`; `seed` is whatever else separates caches (tools, a salt)."""
    previous = blake2b(seed, digest_size=8).digest()
    hashes = []
    for start in range(0, min(len(prompt) - BLOCK_BYTES + 1, MOST_BLOCKS * BLOCK_BYTES), BLOCK_BYTES):
        previous = blake2b(prompt[start : start + BLOCK_BYTES], key=previous, digest_size=8).digest()
        hashes.append(int.from_bytes(previous, "big"))
    return tuple(hashes)


class PrefixIndex:
    """The blocks of every replica, least recently used first out. Memory is bounded by the sum of the capacities."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[int, None]] = {}
        self._capacity: dict[str, int] = {}

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

    def add(self, replica: str, blocks: tuple[int, ...]) -> None:
        """The replica was given this prompt."""
        known = self._blocks.setdefault(replica, {})
        capacity = self._capacity.get(replica, DEFAULT_CAPACITY_BLOCKS)
        # From the end to the beginning: the beginning is then the most recent, and the last to be forgotten.
        for block in reversed(blocks[:capacity]):
            known.pop(block, None)
            known[block] = None
        self._shorten(known, capacity)

    def correct(self, replica: str, believed_blocks: int, cached_tokens: int) -> None:
        """The engine has said how much of a prompt was cached. Much less than believed means that the replica has
        forgotten more than the index: the oldest tenth goes."""
        known = self._blocks.get(replica)
        if known and believed_blocks and cached_tokens < believed_blocks * BLOCK_TOKENS // 2:
            self._shorten(known, len(known) - max(1, len(known) // 10))

    def resize(self, replica: str, capacity_tokens: int) -> None:
        """The engine has said how many tokens its cache holds."""
        capacity = max(1, capacity_tokens // BLOCK_TOKENS)
        self._capacity[replica] = capacity
        self._shorten(self._blocks.get(replica, {}), capacity)

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget all others."""
        alive = set(replicas)
        for kept in (self._blocks, self._capacity):
            for gone in kept.keys() - alive:
                del kept[gone]

    def __len__(self) -> int:
        """How many blocks are remembered in all."""
        return sum(map(len, self._blocks.values()))

    @staticmethod
    def _shorten(known: dict[int, None], capacity: int) -> None:
        for _ in range(len(known) - capacity):
            del known[next(iter(known))]


def home(key: int, replicas: Iterable[str]) -> str:
    """The replica that a prompt belongs to which nobody has seen: rendezvous hashing, so that every router finds the
    same one, and one replica more or less moves only what must move. `replicas` must not be empty."""
    seed = key.to_bytes(8, "big")
    return max(replicas, key=lambda name: (blake2b(name.encode(), key=seed, digest_size=8).digest(), name))
