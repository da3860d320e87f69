"""Makes the prefix of a prompt of which only the number of cached tokens is known.

A log or a bill says how many tokens of a prompt were found in a cache, not which. Here all requests of one tenant to
one model begin alike: each shares with the others as many leading blocks as it found cached. An unbounded cache then
finds the same tokens, less the first time that each block is seen; a small cache finds them more easily than it would
find many different conversations. That is an assumption, and every trace that rests on it says so.
"""

from __future__ import annotations

import xxhash

BLOCK_TOKENS = 128
"""OpenAI caches in steps of so many tokens (platform.openai.com/docs/guides/prompt-caching)."""
ASSUMED = (
    "cached tokens are taken to be the same beginning for all requests of one tenant to one model: what was really "
    "shared is not recorded"
)


class Beginnings:
    """The chained hashes of made-up beginnings. Equal ones are one tuple, so a million requests take little memory."""

    def __init__(self) -> None:
        self._chains: dict[tuple[str, str], list[tuple[int, ...]]] = {}
        self._owed: dict[tuple[str, str], float] = {}

    def of(self, tenant: str, model: str, blocks: int) -> tuple[int, ...]:
        """The first `blocks` blocks of what requests of this tenant to this model share."""
        chain = self._chains.setdefault((tenant, model), [()])
        while len(chain) <= blocks:
            digest = xxhash.xxh3_64_intdigest(repr((tenant, model, len(chain))).encode())
            chain.append((*chain[-1], digest))
        return chain[blocks]

    def for_cached(self, tenant: str, model: str, cached_tokens: float, prompt_tokens: int) -> tuple[int, ...]:
        """The blocks of a prompt of which so many tokens were cached.

        What is left of a block is owed to the next prompt, so that the sum over many stays right."""
        key = (tenant, model)
        owed = self._owed.get(key, 0.0) + cached_tokens
        blocks = min(int(owed // BLOCK_TOKENS), prompt_tokens // BLOCK_TOKENS)
        self._owed[key] = owed - blocks * BLOCK_TOKENS
        return self.of(tenant, model, blocks)
