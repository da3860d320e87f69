"""Drives the engine model by the wall clock, and wakes whoever waits for it.

The bridge between a wall clock and the engine model: whoever is due is woken, at most once per tick. A tick
grows with the number of open streams, so that 200 of them cost a fraction of a core; token counts do not
depend on it, only how many tokens one chunk carries. An idle engine has no timer at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection, Request, Sequence

# Sending one chunk costs some tens of microseconds: this share of a core for all streams together, at most.
_SECONDS_PER_STREAM = 0.0005


class Ticket:
    """A request's place in the engine, as a handler sees it."""

    def __init__(self, sequence: Sequence, stream: bool) -> None:
        self.sequence = sequence
        self.stream = stream
        self.seen = 0
        self.changed = asyncio.Event()

    def done(self) -> bool:
        """Whether the request is finished."""
        return self.sequence.finish is not None


class Driver:
    """Runs one engine against a clock (seconds, monotonic). `killed` ends all waiting with `Killed`.

    The engine's own time is the clock's, until `slow` makes it pass more slowly."""

    def __init__(self, engine: Engine, clock: Callable[[], float], tick_seconds: float) -> None:
        self.engine = engine
        self._clock = clock
        self._tick = tick_seconds
        self._tickets: set[Ticket] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._times = 1.0
        self._since = self._engine_since = clock()
        self.killed = False

    @property
    def open(self) -> int:
        """Requests that are not finished."""
        return self.engine.unfinished

    def slow(self, times: float) -> None:
        """From now on every step takes so many times as long; 1 is as fast as the engine is."""
        self.pump()
        self._engine_since, self._since = self._now(), self._clock()
        self._times = times
        self._wake.set()

    def _now(self) -> float:
        """The engine's time."""
        return self._engine_since + (self._clock() - self._since) / self._times

    def submit(self, request: Request, stream: bool) -> Ticket | Rejection:
        """Give a request to the engine now."""
        self.pump()
        outcome = self.engine.submit(request, self._now())
        if isinstance(outcome, Rejection):
            return outcome
        ticket = Ticket(outcome, stream)
        self._tickets.add(ticket)
        self._idle.clear()
        if self.engine.unfinished == 1:
            self._wake.set()
        return ticket

    def abort(self, ticket: Ticket) -> None:
        """The client is gone: stop computing for it."""
        self.pump()
        self.engine.abort(ticket.sequence, self._now())
        self._tickets.discard(ticket)
        self._settle()

    def pump(self) -> None:
        """Let the engine catch up with the clock and wake the handlers that have something to send."""
        if self.killed:
            return
        self.engine.advance(self._now())
        done = []
        for ticket in self._tickets:
            sequence = ticket.sequence
            if ticket.done():
                done.append(ticket)
                ticket.changed.set()
            elif ticket.stream and sequence.generated > ticket.seen:
                ticket.changed.set()
        self._tickets.difference_update(done)
        self._settle()

    def kill(self) -> None:
        """The engine process is gone: nothing advances any more, and the handlers are told."""
        self.killed = True
        for ticket in self._tickets:
            ticket.changed.set()
        self._wake.set()

    async def run(self) -> None:
        """Pump until killed or cancelled; woken early only when an idle engine gets work."""
        while not self.killed:
            due = self.engine.next_event
            delay = None
            if due is not None:
                left = (due - self._now()) * self._times
                delay = max(self._tick, len(self._tickets) * _SECONDS_PER_STREAM, left)
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)
            self.pump()

    async def drained(self) -> None:
        """Wait until no request is open."""
        await self._idle.wait()

    def _settle(self) -> None:
        if not self.engine.unfinished:
            self._idle.set()
