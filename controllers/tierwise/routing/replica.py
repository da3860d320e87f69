"""Chooses the replica of a tier that answers a request.

score = 3 · cached part of the prompt + 2 · (1 − queue) + 2 · (1 − KV usage) − 3/8 · work ahead / prompt. The first
three have the weights of llm-d's default profile. The queue is what the engine said a second ago plus what this router
has sent and not seen ended, counted at the pick: a load that is only measured lets a burst fall on one replica. The
work ahead are the prompt tokens that a replica was given and has not computed: requests that are only counted hide that
one prompt is as long as a hundred. A cached token weighs as much as eight ahead, since all who wait behind it are
spared its computation too; docs/design/0014-work-ahead.md has what was measured. Where queues differ too much the
shortest wins whatever is cached (SGLang's rule).

A prompt that no replica has seen has a home, which all routers compute alike: one of several routers counts it as
cached there. A router that is alone remembers where it sent a prompt, and needs no home.

A beginning that many prompts share (`PrefixIndex.common`) says nothing of where a prompt belongs: every replica counts
as having it, and has it after one prompt. So a prompt of which no more than that is known goes to the home of its first
block of its own. That block is the same in every turn of a conversation, so a router that never saw it still finds the
replica that did. Without this rule one instruction before all conversations pulled all of them to the replica that had
it first. The rule costs one prefill of the shared part per replica, and begins when four prompts per replica have
shared it: at most a quarter of a prefill for each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median_low

from tierwise.routing.breaker import Breaker
from tierwise.routing.prefix import BLOCK_TOKENS, PrefixIndex, home
from tierwise.routing.route import RouteTier

PREFIX_WEIGHT = 3.0
QUEUE_WEIGHT = 2.0
KV_WEIGHT = 2.0
WORK_WEIGHT = PREFIX_WEIGHT / 8
SHORT_BLOCKS = 16
"""Shorter prompts count as so long: 8 x 1,024 tokens ahead are one step of an engine, which is no wait worth a miss."""
IMBALANCE_GAP = 64
IMBALANCE_RATIO = 1.5
SLOW_START_SECONDS = 30.0
SLOW_FACTOR = 3.0
"""A replica whose average time to first token is so many times its siblings' is slow..."""
SLOW_SHARE = 4
"""...and is given at most this fraction (a quarter) of the requests at a time that others are."""
SLOW_SAMPLES = 5
MARGIN_PART = 8
AVERAGE_WEIGHT = 0.2
AVERAGE_WORK_WEIGHT = 0.05  # few long prompts make most of the work: the average is one of many
FORKS_PER_REPLICA = 4
"""A beginning is everybody's when so many prompts for each replica have gone on otherwise after it."""


@dataclass(slots=True, eq=False)
class Mark:
    """One request on a replica, from `begin` to `end`: the clock of shares when it was sent, and the prompt tokens that
    it still has to compute."""

    share: float
    tokens: int


@dataclass(slots=True, eq=False)
class Replica:
    """One server of a tier, as this router sees it. `key` is the UID of its pod, or its URL.

    `waiting` and `kv_usage` (0 to 1) are what the engine said last; `strangers` of those that wait are not ours.
    Times are seconds of a clock that only grows."""

    key: str
    url: str
    since: float = float("-inf")
    in_flight: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    strangers: int = 0
    draining: bool = False
    first_token_average: float = 0.0
    first_token_samples: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    busy_share: float = 0.0
    """Seconds of this replica, each divided among the requests that it worked on (see `tierwise.routing.cost`)."""
    others: int = 0
    """Requests on it or waiting in it that this router has not sent: those of other routers have their share."""
    sent: int = 0
    """Requests that this router has ever sent it."""
    _shared_at: float = 0.0
    _ahead: int = 0
    _average_work: float = 0.0
    _unbegun: int = 0
    _unseen: list[Mark] = field(default_factory=list)

    @property
    def load(self) -> int:
        """Requests that are on it or wait for it."""
        return self.in_flight + self.waiting

    @property
    def work(self) -> float:
        """Prompt tokens that it has to compute before a request that comes now, as far as is known."""
        return self._ahead + self.strangers * self._average_work

    def said(self, waiting: int, kv_usage: float) -> None:
        """The engine has said how many requests wait in it and how full its KV cache is (0 to 1)."""
        self.waiting, self.kv_usage = waiting, kv_usage
        if not waiting:
            # An answer in one piece does not show when it begins: it has begun when nothing waits.
            for mark in self._unseen:
                self.computed(mark)
            self._unseen.clear()
        self.strangers = max(0, waiting - self._unbegun)

    def begin(self, now: float, tokens: int = 0, *, streamed: bool = True) -> Mark:
        """A request is sent to it, with so many prompt tokens to compute. The mark to give to `computed` and `end`."""
        self._share(now)
        self.in_flight += 1
        self.sent += 1
        self.breaker.sent()
        mark = Mark(self.busy_share, tokens)
        if tokens:
            self._ahead += tokens
            self._unbegun += 1
            self._average_work += (AVERAGE_WORK_WEIGHT if self._average_work else 1.0) * (tokens - self._average_work)
            if not streamed:
                self._unseen.append(mark)
        return mark

    def computed(self, mark: Mark) -> None:
        """The first token has come, so the prompt is computed."""
        if mark.tokens:
            self._ahead -= mark.tokens
            self._unbegun -= 1
            mark.tokens = 0

    def end(self, now: float, mark: Mark) -> float:
        """The request has ended: the seconds of the replica that it used, shared with those beside it."""
        self._share(now)
        self.computed(mark)
        if mark in self._unseen:
            self._unseen.remove(mark)
        self.in_flight -= 1
        if not self.in_flight:
            # Nothing is on it, so neither is a probe: one that ended without a word must not keep everybody away.
            self.breaker.given_up()
        return self.busy_share - mark.share

    def shared_with(self, now: float, others: int) -> None:
        """The engine has said how many requests it has of others than this router."""
        self._share(now)
        self.others = others

    def _share(self, now: float) -> None:
        if self.in_flight:
            self.busy_share += (now - self._shared_at) / (self.in_flight + self.others)
        self._shared_at = now

    def first_token_after(self, seconds: float) -> None:
        """The first token of an answer came so long after the request."""
        if self.first_token_samples:
            self.first_token_average += AVERAGE_WEIGHT * (seconds - self.first_token_average)
        else:
            self.first_token_average = seconds
        self.first_token_samples += 1


@dataclass(frozen=True, slots=True)
class Pick:
    """The replica for a request; `matched` is how many blocks of its prompt are believed to be cached there."""

    replica: Replica
    matched: int
    reason: str


def sure_part(replica: Replica, tier: RouteTier) -> int:
    """The places that are this router's, whoever has the others: as many as each router of its route has. Where all are
    used, and other routes name the tier, too, as many as each router of all of them has.

    Not always those of all: the routers of the other route may be idle, and whoever of two busy ones came first would
    keep what they leave."""
    full = replica.in_flight + replica.others >= tier.concurrency
    return -(-tier.concurrency // (tier.sharing if full else tier.routers))


def limit(replica: Replica, places: int, sure: int, slow_above: float, now: float) -> int:
    """How many requests at a time this router gives a replica: fewer at first, and while it is slower than others.

    Of its places, a router has what others leave free, as far as the engine's last word tells, and at least those that
    are `sure`. So a router that is alone with the load uses all of them, and none that comes later is kept out. That
    word is up to a second old: an eighth is left free beside others, or two busy routers would always be a few beyond.
    """
    age = now - replica.since
    margin = max(1, places // MARGIN_PART) if replica.others else 0
    allowed = max(sure, places - replica.others - margin)
    if allowed <= 0:
        return 0
    if age < SLOW_START_SECONDS:
        allowed = max(1, int(allowed * max(0.0, age) / SLOW_START_SECONDS))
    if replica.first_token_samples >= SLOW_SAMPLES and replica.first_token_average > slow_above:
        return max(1, allowed // SLOW_SHARE)
    return allowed


def slow_above(replicas: Iterable[Replica]) -> float:
    """The average time to first token above which a replica counts as slow; infinite where nothing can be compared."""
    averages = [one.first_token_average for one in replicas if one.first_token_samples >= SLOW_SAMPLES]
    return SLOW_FACTOR * median_low(averages) if len(averages) > 1 else float("inf")


def open_replicas(
    replicas: Sequence[Replica], tier: RouteTier, now: float, without: Collection[Replica] = (), part: int = 1
) -> list[Replica]:
    """Those that may be given a request now; `part`: one for which only this part of the places is (4: a quarter), and
    of that only what others leave free.

    When the breakers of more than half of the tier are open, they are not believed: it is then more likely that
    something else is broken. A provider's is: another tier can answer."""
    alive = [one for one in replicas if not one.draining]
    closed = [one for one in alive if one.breaker.allows(now)]
    if 2 * len(closed) < len(alive) and not tier.external:
        closed = alive
    slow, places = slow_above(closed), max(1, tier.concurrency // part)
    return [
        one
        for one in closed
        if one not in without
        and one.in_flight < limit(one, places, sure_part(one, tier) if part == 1 else 0, slow, now)
    ]


def work(pick: Pick, blocks: tuple[int, ...]) -> int:
    """The prompt tokens that a replica is believed to have to compute for a request, at least a block."""
    return BLOCK_TOKENS * max(1, len(blocks) - pick.matched)


def pick(
    candidates: Sequence[Replica],
    index: PrefixIndex,
    blocks: tuple[int, ...],
    concurrency: int,
    turn: int = 0,
    routers: int = 1,
) -> Pick | None:
    """The best of `candidates` (from `open_replicas`), None when there is none. `turn` (any number that changes from
    pick to pick) decides between equals. `routers`: how many of them share the requests without talking."""
    if not candidates:
        return None
    if len(candidates) == 1:
        only = candidates[0]
        return Pick(only, index.matched(only.key, blocks), "Only")
    loads = [one.load for one in candidates]
    least, most = min(loads), max(loads)
    unbalanced = most - least > min(IMBALANCE_GAP, max(1, concurrency // 2)) and most > IMBALANCE_RATIO * least
    matches = [index.matched(one.key, blocks) for one in candidates]
    if unbalanced:
        chosen = loads.index(least)
        return Pick(candidates[chosen], matches[chosen], "Balance")
    common = index.common(blocks, FORKS_PER_REPLICA * len(candidates))
    cached = [max(common, match) for match in matches]
    at_home = -1
    if routers > 1 and common < len(blocks) and max(matches) <= common:
        named = home(blocks[common], [one.key for one in candidates])
        at_home = next(place for place, one in enumerate(candidates) if one.key == named)
        cached[at_home] = len(blocks)
    best, chosen = float("-inf"), 0
    count, length = len(candidates), len(blocks) or 1
    ahead_counts = WORK_WEIGHT / (BLOCK_TOKENS * max(length, SHORT_BLOCKS))
    for step in range(count):
        position = (turn + step) % count
        one = candidates[position]
        score = (
            PREFIX_WEIGHT * cached[position] / length
            - ahead_counts * one.work
            - QUEUE_WEIGHT * min(1.0, loads[position] / concurrency)
            - KV_WEIGHT * one.kv_usage
        )
        if score > best:
            best, chosen = score, position
    reason = "Home" if chosen == at_home else "Prefix" if matches[chosen] else "Load"
    return Pick(candidates[chosen], matches[chosen], reason)
