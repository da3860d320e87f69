"""Chooses which answers are compared with the reference tier later, and keeps them until then.

Chosen is by a salted hash of the request's id, before anything is known of the load: whoever skipped samples while it
is busy would measure the quality of quiet hours. What cannot be compared yet waits. When too much waits, those go whose
hashes are largest, which is chance again. Prompts and answers are held in memory only, and only until they are judged.
"""

from __future__ import annotations

import hashlib
import secrets
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

from tierwise.routing.route import Route, Sampling
from tierwise.routing.tier_choice import DIRECT, PREVIOUS_RESPONSE
from tierwise_router.http_request import Request
from tierwise_router.record import Record
from tierwise_router.reply import Reply
from tierwise_router.shadow_counts import CHEAPER, REFERENCE, ShadowCounts

CHAT = "/v1/chat/completions"
MOST_WAITING = 64
MOST_BYTES = 256 << 10
"""Of one prompt with its answer."""
_UNROUTED = frozenset({DIRECT, PREVIOUS_RESPONSE})


@dataclass(slots=True, eq=False)
class Sample:
    """One answer that is to be compared. `body` is the client's request, `parts` what the client got; `draw` is chance
    (0 to 1) that decides what else is asked about it, `rate` the share of requests that was chosen when it was. `tier`
    answered, for `reason`, while `reference` was the reference tier."""

    order: int
    draw: float
    body: bytes
    stream: bool = False
    tier: str = ""
    reason: str = ""
    reference: str = ""
    routed: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    rate: float = 1.0

    def tee(self, data: bytes) -> None:
        """The client gets this as well."""
        self.size += len(data)
        if self.size <= MOST_BYTES:
            self.parts.append(data)


class Sampler:
    """Of one router. `route` is the one that is served now."""

    def __init__(self, counts: ShadowCounts, route: Callable[[], Route], salt: bytes | None = None) -> None:
        self._counts = counts
        self._route = route
        self._salt = salt or secrets.token_bytes(32)
        self._waiting: list[tuple[int, Sample]] = []

    @property
    def waiting(self) -> int:
        """Samples that are not compared yet."""
        return len(self._waiting)

    def begin(self, request: Request, reply: Reply, record: Record) -> Sample | None:
        """Whether this request is sampled: then what its client gets is kept as well."""
        sampling = self._route().sampling
        if sampling is None or request.path != CHAT:
            return None
        order, draw = self._chance(record.id)
        if order >= _limit(sampling):
            return None
        size = len(request.body)
        # What is too large counts as chosen, and is not held a second time while it is answered.
        body = bytes(request.body) if size <= MOST_BYTES else b""
        sample = Sample(order, draw, body, size=size, rate=sampling.percent / 100)
        reply.tee = sample.tee
        return sample

    def end(self, sample: Sample, record: Record) -> None:
        """The request has ended."""
        route = self._route()
        names = [tier.name for tier in route.tiers]
        if record.outcome != "ok" or record.reason in _UNROUTED or record.tier not in names:
            return
        cheaper = names.index(record.tier) < names.index(route.reference.name)
        if not cheaper and record.tier != route.reference.name:
            return
        sample.routed = CHEAPER if cheaper else REFERENCE
        sample.tier, sample.stream, sample.reason = record.tier, record.stream, record.reason
        sample.reference = route.reference.name
        if record.charges:
            usage = record.charges[-1].usage
            sample.input_tokens, sample.output_tokens = usage.prompt, usage.output
        self._counts.sampled[sample.routed] += 1
        if sample.size > MOST_BYTES:
            self._counts.dropped["too_large"] += 1
            return
        insort(self._waiting, (sample.order, sample), key=lambda pair: pair[0])
        if len(self._waiting) > MOST_WAITING:
            self._waiting.pop()
            self._counts.dropped["full"] += 1

    def take(self) -> Sample | None:
        """The next one to compare."""
        return self._waiting.pop(0)[1] if self._waiting else None

    def forget(self) -> None:
        """The route wants no samples any more."""
        self._counts.dropped["stopped"] += len(self._waiting)
        self._waiting.clear()

    def _chance(self, name: str) -> tuple[int, float]:
        drawn = hashlib.blake2b(name.encode(), key=self._salt, digest_size=16).digest()
        return int.from_bytes(drawn[:8], "big"), int.from_bytes(drawn[8:], "big") / 2**64


def _limit(sampling: Sampling) -> int:
    return sampling.percent * 2**64 // 100
