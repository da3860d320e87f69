"""Keeps what one replica of a tier can take, by the length of its requests.

A replica that answers conversations can take other numbers of requests than one that completes code. So the rate is
learned for each kind of length: tokens of the prompt that must be computed, and tokens of the answer, each up to the
next power of two. A kind that was not seen before starts from what is known of the kind before it, so nothing jumps
where lengths lie at a bound. The kinds that were seen last are kept.

    rate   requests per second of a full replica (`request_rate`)
    share  the part of it at which the service level is kept: down where it was missed by replicas that had less to do,
           up where it was kept by replicas that had nearly as much; slowly back to where it began while it is kept
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tierwise.decide.request_rate import Throughput, learned
from tierwise.decide.service_level import Verdict
from tierwise.types import LengthCapacity, TierSignals

MOST_KINDS = 8  # what the status has room for
SHARE, LEAST_SHARE, MOST_SHARE = 0.8, 0.3, 0.95
"""Beyond about four fifths the queue of a replica grows faster than its load."""
# Of the way, per sample. A minute has six of them that tell of the same requests: one burst that just misses moves it
# by a quarter, and what it has taken comes back within an hour. What misses by far moves it by so many times more.
_DOWN, _UP, _BACK, _WORST = 0.05, 0.1, 0.005, 4.0
_BELOW = 0.95  # of the load at which a target was missed
_NEARLY = 0.8  # of the share: rounded up to whole replicas and held for a window, a fleet is rarely fuller than that


def kind(signals: TierSignals) -> tuple[int, int] | None:
    """The length of the requests: the bounds of the tokens of prompt and answer. None: not known."""
    prompt, both, hits = signals.prompt_tokens_per_request, signals.tokens_per_request, signals.prefix_hit_ratio
    if not (prompt.has_value and both.has_value):
        return None
    computed = prompt.value * (1 - min(1.0, hits.value) if hits.has_value else 1)
    return _bound(computed), _bound(both.value - prompt.value)


def _bound(tokens: float) -> int:
    return 1 << min(30, max(0, math.ceil(math.log2(max(1.0, tokens)))))


def after(
    known: Sequence[LengthCapacity], lengths: tuple[int, int] | None, seen: Throughput | None, verdict: Verdict | None
) -> tuple[LengthCapacity, ...]:
    """What is known after a sample, the present kind first. Without a length or a rate nothing is learned."""
    if lengths is None:
        return tuple(known)
    mine = next((each for each in known if (each.prompt, each.answer) == lengths), None)
    if mine is None:
        if seen is None and not known:
            return ()
        start = known[0] if known else LengthCapacity(0, 0, learned(None, seen) or 0.0, SHARE)
        mine = replace(start, prompt=lengths[0], answer=lengths[1])
    others = tuple(each for each in known if (each.prompt, each.answer) != lengths)
    if seen is not None:
        rate = learned(mine.rate, seen) or mine.rate
        mine = replace(mine, rate=rate, share=_share(mine.share, seen.full, verdict))
    return (mine, *others)[:MOST_KINDS]


def _share(known: float, full: float, verdict: Verdict | None) -> float:
    if verdict is None:
        return known
    if verdict.missed:
        change = _DOWN * min(_WORST, verdict.excess) * min(0.0, _BELOW * full - known)
    else:
        more = _UP * (MOST_SHARE - known) if known >= SHARE and full >= _NEARLY * known else 0.0
        change = max(more, _UP * (full - known), _BACK * (SHARE - known))
    return round(min(MOST_SHARE, max(LEAST_SHARE, known + change)), 4)
