"""Asks every replica each second how many requests wait in it and how full its KV cache is.

The router asks by itself: a Prometheus scrape is up to ten seconds old, and in that time a burst has come and gone.
An engine that does not answer keeps its last values for three seconds and then counts as idle; whether it is alive is
for its requests to tell.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tierwise.routing.replica import Replica
from tierwise_router.page import fetch
from tierwise_router.tier import Tier
from tierwise_router.upstream import UpstreamError

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
ANSWER_SECONDS = 2.0
BELIEVED_SECONDS = 3.0
MOST_BYTES = 4 << 20

_SERIES = re.compile(
    rb"^vllm:(num_requests_(?:waiting|running)|kv_cache_usage_perc|cache_config_info)(\{[^}]*\})? ([-+.0-9eE]+)",
    re.M,
)
_SIZE = re.compile(rb'(block_size|num_gpu_blocks)="(\d+)"')


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine says of itself. `cache_tokens` is None where it does not say."""

    waiting: int
    running: int
    kv_usage: float
    cache_tokens: int | None


def parse(text: bytes) -> Load:
    """Of the exposition of vLLM (and what imitates it); several engines behind one port are added up."""
    waiting, running, usages, tokens = 0.0, 0.0, [], 0
    for series in _SERIES.finditer(text):
        name, labels, value = series.groups()
        if name == b"num_requests_waiting":
            waiting += float(value)
        elif name == b"num_requests_running":
            running += float(value)
        elif name == b"kv_cache_usage_perc":
            usages.append(float(value))
        else:
            sizes = {key: int(number) for key, number in _SIZE.findall(labels or b"")}
            tokens += sizes.get(b"block_size", 0) * sizes.get(b"num_gpu_blocks", 0)
    usage = sum(usages) / len(usages) if usages else 0.0
    return Load(max(0, round(waiting)), max(0, round(running)), min(1.0, max(0.0, usage)), tokens or None)


class LoadPoller:
    """Of all served tiers. `tiers` says which there are now."""

    def __init__(self, tiers: Callable[[], Iterable[Tier]], monotonic: Callable[[], float]) -> None:
        self._tiers = tiers
        self._monotonic = monotonic
        self._seen: dict[Replica, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = self._monotonic()
            await self.once()
            await asyncio.sleep(max(0.1, PERIOD_SECONDS - (self._monotonic() - began)))

    async def once(self) -> None:
        """Ask every replica."""
        asked = [(tier, one) for tier in self._tiers() if not tier.spec.external for one in tier.replicas]
        alive = {one for _, one in asked}
        self._seen = {one: at for one, at in self._seen.items() if one in alive}
        await asyncio.gather(*(self._ask(tier, one) for tier, one in asked))

    async def _ask(self, tier: Tier, replica: Replica) -> None:
        now = self._monotonic()
        mine, sent = replica.in_flight, replica.sent
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                load = parse(await self._get(tier, replica))
        except (UpstreamError, TimeoutError, ValueError):
            if now - self._seen.get(replica, now) > BELIEVED_SECONDS:
                replica.said(0, 0.0)
                replica.shared_with(self._monotonic(), 0)
            return
        self._seen[replica] = now
        replica.said(load.waiting, load.kv_usage)
        # Whatever of ours the engine may have counted is not of others: a router alone must pay for all of its time.
        mine += replica.sent - sent
        replica.shared_with(self._monotonic(), max(0, load.waiting + load.running - mine))
        if load.cache_tokens is not None:
            tier.index.resize(replica.key, load.cache_tokens)

    async def _get(self, tier: Tier, replica: Replica) -> bytes:
        pool = tier.pool(replica)
        server = pool.server
        request = f"GET {server.prefix}/metrics HTTP/1.1\r\nhost: {server.authority}\r\naccept: text/plain\r\n\r\n"
        return await fetch(pool, request.encode(), self._monotonic, MOST_BYTES)
