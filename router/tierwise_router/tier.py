"""Holds one tier while the router runs: its replicas, their connections, and the requests that wait for one.

Requests wait here and not in an engine: here the first free replica takes the next request, interactive ones before
batch, and refusing costs nothing (who is next: `tierwise.routing.waiting_line`). A batch request is given to a replica
only while that is a quarter full: measured elsewhere, such a cap protects the time to first token of the others where
an order of priority does not (llm-d-batch-gateway #491: 95 ms against 337 ms).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tierwise.routing.prefix import PrefixIndex
from tierwise.routing.replica import Mark, Pick, Replica, open_replicas, pick, work
from tierwise.routing.route import Priority, QueueLimits, RouteTier
from tierwise.routing.saturation import saturation
from tierwise.routing.waiting_line import Pace, WaitingLine, most_waiting
from tierwise_router.upstream import Pool

BATCH_SHARE = 4
# Told to a client that finds no replica, where no start was measured.
STARTUP_SECONDS = 30


# Why a tier does not take a request: the first four for want of room, which the operator counts as demand.
REFUSALS = ("queue_full", "queue_timeout", "displaced", "spilled", "spill_cap", "budget")


class QueueFull(Exception):
    """No further request may wait for this tier."""


class QueueTimeout(Exception):
    """A request has waited as long as it may. `ready`: whether the tier had a replica at all."""

    def __init__(self, ready: bool) -> None:
        super().__init__()
        self.ready = ready


@dataclass(slots=True, eq=False)
class Slot:
    """A place on a replica. It is given back with `Tier.release`, once."""

    pick: Pick
    mark: Mark


@dataclass(slots=True)
class Wish:
    """What a request wants of a tier. `without`: replicas that have failed it. `only`: the key of the one replica that
    can answer it. `streamed`: its first token will show."""

    priority: Priority = Priority.INTERACTIVE
    blocks: tuple[int, ...] = ()
    without: Collection[Replica] = ()
    only: str = ""
    streamed: bool = True


@dataclass(slots=True, eq=False)
class _Waiter:
    """`bound`: not every replica will do for it, so that those that will not are for whoever is behind it."""

    future: asyncio.Future[Slot]
    wish: Wish
    bound: bool


@dataclass(slots=True)
class Counts:
    """What has happened at this tier; numbers only grow."""

    # From the start on: a rate needs the 0 from which a counter rises.
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))
    wanted: int = 0

    def want(self, *, spilled: bool) -> None:
        """It was the first choice of a request, and full if that was `spilled`."""
        self.wanted += 1
        if spilled:
            self.refuse("spilled")

    def refuse(self, reason: str) -> None:
        """One request was refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Tier:
    """One tier. `monotonic` is the clock of `asyncio.timeout_at`, in seconds."""

    def __init__(self, spec: RouteTier, monotonic: Callable[[], float], tls: ssl.SSLContext | None = None) -> None:
        self.spec = spec
        self.index = PrefixIndex()
        self.counts = Counts()
        self._monotonic = monotonic
        self._tls = tls
        self._replicas: dict[str, Replica] = {}
        self._pools: dict[str, Pool] = {}
        self._queues: dict[Priority, WaitingLine[_Waiter]] = {
            Priority.INTERACTIVE: WaitingLine(),
            Priority.BATCH: WaitingLine(first_in_first_out=True),
        }
        self._turn = 0
        self._bound = dict.fromkeys(Priority, 0)
        self._retired = False
        self._pace = Pace()
        self.completed = 0
        """Requests that have ended at it, well or badly."""
        self.respecify(spec)

    def respecify(self, spec: RouteTier) -> None:
        """The route says something else of this tier."""
        self.spec = spec
        for pool in self._pools.values():
            pool.keep_seconds = spec.keep_alive_seconds
        if spec.provider is not None:
            self.set_replicas({spec.provider.base_url: spec.provider.base_url}, started=True)
        elif spec.urls:
            self.set_replicas({url: url for url in spec.urls}, started=True)

    # --- replicas ---------------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> list[Replica]:
        """All of them, draining ones included, in the order of their keys."""
        return [self._replicas[key] for key in sorted(self._replicas)]

    @property
    def ready(self) -> bool:
        """Whether there is a replica that takes requests."""
        return any(not one.draining for one in self._replicas.values())

    def set_replicas(self, urls: dict[str, str], *, draining: Collection[str] = (), started: bool = False) -> None:
        """The replicas that there are now, by key. Those that are gone take no new request; open answers end.
        `started`: they are not new, so that none is spared in its first seconds."""
        for key in self._replicas.keys() - urls.keys():
            replica = self._replicas.pop(key)
            replica.draining = True
            self._pools.pop(key).close()
        for key, url in urls.items():
            known = self._replicas.get(key)
            if known is None or known.url != url:
                since = float("-inf") if started else self._monotonic()
                self._replicas[key] = Replica(key, url, since)
                if (old := self._pools.pop(key, None)) is not None:
                    old.close()
                self._pools[key] = Pool(url, self.spec.keep_alive_seconds, self._tls, provider=self.spec.external)
            if key in draining and not self._replicas[key].draining:
                self._replicas[key].draining = True
                self._pools[key].close()
            elif key not in draining:
                self._replicas[key].draining = False
        self.index.keep_only(self._replicas)
        self.wake()

    def retire(self) -> None:
        """Nobody is to be sent to it any more: the route has no such tier, or the router ends. What is on it ends
        there."""
        self._retired = True
        self.set_replicas({})
        for queue in self._queues.values():
            for waiter in list(queue):
                self._forget(queue, waiter)
                if not waiter.future.done():
                    waiter.future.set_exception(QueueTimeout(self.ready))

    def pool(self, replica: Replica) -> Pool:
        """Its connections; a pool of its own, used once, for one that is gone."""
        return self._pools.get(replica.key) or Pool(replica.url, 0.0, self._tls, provider=self.spec.external)

    def resting(self, now: float) -> bool:
        """Whether it is a provider that has asked for a pause, or fails."""
        return self.spec.external and not any(one.breaker.allows(now) for one in self._replicas.values())

    def rest_seconds(self, now: float) -> float:
        """For how long it rests still, as far as that is known."""
        return min((one.breaker.seconds_left(now) for one in self._replicas.values()), default=0.0)

    def fullness(self, limits: QueueLimits) -> float:
        """1.0 is full (`tierwise.routing.saturation`). Who waits for some replicas only says nothing of the others, and
        a batch request, for which a quarter of the places is, nothing of the rest. Where nobody else may have a place
        or wait it is infinite, however few may wait."""
        replicas, waiting = list(self._replicas.values()), self.waiting_of(Priority.INTERACTIVE)
        crowded = waiting >= most_waiting(limits, self.places)
        if crowded and not open_replicas(replicas, self.spec, self._monotonic()):
            return float("inf")
        return saturation(replicas, self.spec, waiting - self._bound[Priority.INTERACTIVE])

    # --- places -----------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica."""
        interactive, batch = self._queues.values()
        return len(interactive) + len(batch)

    @property
    def places(self) -> int:
        """Requests that its replicas work on at a time."""
        return self.spec.concurrency * sum(not one.draining for one in self._replicas.values())

    def waiting_of(self, priority: Priority) -> int:
        """Those of one class."""
        return len(self._queues[priority])

    def try_take(self, wish: Wish) -> Slot | None:
        """A place on the best replica that is free now. Who waits comes first."""
        if self.waiting > sum(self._bound.values()) and not self._is_bound(wish):
            ahead = [self._queues[Priority.INTERACTIVE]]
            ahead += [self._queues[Priority.BATCH]] if wish.priority is Priority.BATCH else []
            if any(not waiter.bound for queue in ahead for waiter in queue):
                return None
        return self._take(wish)

    async def take(self, wish: Wish, limits: QueueLimits, until: float, *, again: bool = False) -> Slot:
        """A place, when there is one. Raises QueueFull or QueueTimeout; `until` is of `monotonic`. `again`: the request
        has had a place and comes before those that had none."""
        slot = self.try_take(wish)
        if slot is not None:
            return slot
        if self._retired:
            raise QueueTimeout(self.ready)
        if self.waiting >= most_waiting(limits, self.places) and not again and not self._displace(wish.priority):
            self.counts.refuse("queue_full")
            raise QueueFull
        allowed = limits.timeout_seconds if self.ready else limits.startup_timeout_seconds
        waiter = _Waiter(asyncio.get_running_loop().create_future(), wish, self._is_bound(wish))
        queue = self._queues[wish.priority]
        queue.add(waiter, self._monotonic(), again=again)
        self._bound[wish.priority] += waiter.bound
        try:
            async with asyncio.timeout_at(min(until, self._monotonic() + allowed)):
                return await waiter.future
        except BaseException as error:
            self._forget(queue, waiter)
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self.release(waiter.future.result())  # it came as we left
            if isinstance(error, TimeoutError):
                self.counts.refuse("queue_timeout")
                raise QueueTimeout(self.ready) from None
            raise

    def release(self, slot: Slot) -> float:
        """Give a place back: the seconds of the replica that the request used."""
        now = self._monotonic()
        self.completed += 1
        used = slot.pick.replica.end(now, slot.mark)
        self._pace.freed(now, waiting=self.waiting > 0)
        self.wake()
        return used

    def wake(self) -> None:
        """Give the free places to those who wait. One that waits for some replicas only holds nobody up."""
        if not self.waiting:
            return
        for priority in (Priority.INTERACTIVE, Priority.BATCH):
            queue = self._queues[priority]
            blocked = False
            gone = []  # the line must not change under the loop, and is too long to be copied at every end of an answer
            for waiter in queue.in_turn(self._monotonic(), self._pace):
                if blocked and not self._bound[priority]:
                    break
                wish = waiter.wish
                if waiter.future.done():
                    gone.append(waiter)
                elif wish.only and wish.only not in self._replicas:
                    gone.append(waiter)
                    waiter.future.set_exception(QueueTimeout(self.ready))
                elif (waiter.bound or not blocked) and (slot := self._take(wish)) is not None:
                    gone.append(waiter)
                    waiter.future.set_result(slot)
                else:
                    blocked = blocked or not waiter.bound
            for waiter in gone:
                self._forget(queue, waiter)
            if blocked:
                return

    def _forget(self, queue: WaitingLine[_Waiter], waiter: _Waiter) -> None:
        if waiter in queue:
            queue.remove(waiter)
            self._bound[waiter.wish.priority] -= waiter.bound

    def _is_bound(self, wish: Wish) -> bool:
        """Whether only some of the replicas can answer it: the one that it needs, or those that have not failed it."""
        return bool(wish.only) or any(one in self._replicas.values() for one in wish.without)

    def retry_after_seconds(self) -> int:
        """When it may be worth to ask again, 1 to 60: what waits, times the time between two places. While none is
        ready: how long a replica takes to start."""
        if not self.ready:
            return self.spec.startup_seconds or STARTUP_SECONDS
        return max(1, min(60, round(self.waiting * self._pace.seconds)))

    def sweep(self, now: float) -> None:
        """Close what is idle for too long, and look again: breakers and slow starts end by time alone."""
        for pool in self._pools.values():
            pool.sweep(now)
        if self.waiting:
            self.wake()

    def close(self) -> None:
        """Close the idle connections."""
        for pool in self._pools.values():
            pool.close()

    def _take(self, wish: Wish) -> Slot | None:
        now = self._monotonic()
        part = BATCH_SHARE if wish.priority is Priority.BATCH else 1
        candidates = open_replicas(list(self._replicas.values()), self.spec, now, wish.without, part)
        if wish.only:
            candidates = [one for one in candidates if one.key == wish.only]
        self._turn += 1
        picked = pick(candidates, self.index, wish.blocks, self.spec.concurrency, self._turn, self.spec.routers)
        if picked is None:
            return None
        if wish.blocks:
            self.index.add(picked.replica.key, wish.blocks)
        tokens = 0 if self.spec.external else work(picked, wish.blocks)
        return Slot(picked, picked.replica.begin(now, tokens, streamed=wish.streamed))

    def _displace(self, priority: Priority) -> bool:
        """Whether a waiting batch request made room for an interactive one: the youngest goes."""
        queue = self._queues[Priority.BATCH]
        if priority is Priority.BATCH or not queue:
            return False
        while (gone := queue.youngest()) is not None:
            self._forget(queue, gone)
            if not gone.future.done():  # its client may have gone in this very moment
                self.counts.refuse("displaced")
                gone.future.set_exception(QueueFull())
                break
        return True
