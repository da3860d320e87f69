"""Simulates the scheduler: which requests run in the next step, and when each gets its next token.

A discrete-event model of vLLM's scheduler (vllm/v1/core/sched/scheduler.py, 0.33): first come, first served;
running requests first, then waiting ones, within a token budget per step (chunked prefill) and a number of
sequences; a request that finds no KV block pushes out the youngest running one, which starts over later.

It is told the time and never reads a clock: `advance(until)` runs every step that ends by then, whether the
seconds pass on a wall or in a loop. Where nothing can change between two steps (all running requests decode,
nobody can join) several steps are taken at once with the same tokens at the same times, which is what makes an
hour of traffic take seconds. (Two requests that produce the same answer at the same moment are the one exception:
which of them leaves it in the cache may differ.) Who knows that nothing happens until an engine has something to tell
(`next_event`) lets it plan ahead: the plan is cut where somebody comes in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as ReadOnlySequence
from random import Random

from tierwise_sim.blocks import BlockPool
from tierwise_sim.engine_plan import Plan
from tierwise_sim.record import count_hits, finished_request, first_token, step_done, verified
from tierwise_sim.roofline import Roofline
from tierwise_sim.sequence import Rejection, Request, Sequence
from tierwise_sim.settings import EngineSettings
from tierwise_sim.stats import EngineStats
from tierwise_sim.step_time import Batch, StepTime


class Engine:
    """One engine replica. Not thread-safe; `advance`, `submit` and `abort` take rising times.

    `step_time` says how long steps last (`step_source` chooses one); without it a plain roofline does. `watch` is told
    every plan that was run: the batch of its first step, and its steps.
    """

    def __init__(
        self,
        settings: EngineSettings,
        rng: Random,
        now: float = 0.0,
        step_time: StepTime | None = None,
        watch: Callable[[Batch, int], None] | None = None,
    ) -> None:
        self.settings = settings
        self.now = now
        self.pool = BlockPool(settings.num_gpu_blocks, settings.host_blocks)
        self.stats = EngineStats(settings.max_model_len, settings.histogram_buckets)
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self._rng = rng
        self._watch = watch
        self._step_time: StepTime = step_time or Roofline(settings)
        self._plan: Plan | None = None
        self._prefill_tokens = 0
        self._blocked: tuple[Sequence, int] | None = None
        # While `_steady`, all that run decode; then these two are their stored tokens and the fewest still to come.
        self._steady = False
        self._context = self._shortest = 0
        if settings.speculation:
            self.stats.accepted_per_position = [0] * settings.speculation.tokens

    @property
    def unfinished(self) -> int:
        """Requests waiting or running."""
        return len(self.running) + len(self.waiting)

    @property
    def kv_usage(self) -> float:
        """Share of KV blocks in use, 0 to 1 (`vllm:kv_cache_usage_perc`)."""
        return self.pool.used / self.pool.capacity

    @property
    def next_event(self) -> float | None:
        """When the step in progress ends; None when there is nothing to do."""
        if self._plan is not None:
            return self._plan.ends_at
        return max(self.now, self._ready_at) if self.unfinished else None

    @property
    def _ready_at(self) -> float:
        """When something can be computed: now, or when the next request has come through the API server."""
        if self.running or not self.waiting:
            return self.now
        return self._arrives(self.waiting[0])

    def _arrives(self, sequence: Sequence) -> float:
        """When a request reaches the scheduler; one that was pushed out is there already."""
        return sequence.arrival + self._step_time.request_seconds if sequence.scheduled_at is None else self.now

    def submit(self, request: Request, at: float) -> Sequence | Rejection:
        """Take a request at time `at` (not before the last `advance`), or reject it.

        Both limits are vLLM's: unfinished requests, and prompt tokens of requests without a first token.
        Raises ValueError when the request can never fit (the server refuses those before the engine).
        """
        settings, stats = self.settings, self.stats
        if request.prompt_tokens + request.output_tokens > settings.max_model_len:
            raise ValueError(
                f"request {request.id}: {request.prompt_tokens} + {request.output_tokens} tokens are more "
                f"than the model length {settings.max_model_len}"
            )
        limit = settings.max_num_queued_reqs
        if limit is not None and self.unfinished + 1 > limit:
            stats.rejections["max_num_queued_reqs"] += 1
            return Rejection("max_num_queued_reqs")
        limit = settings.max_num_queued_tokens
        if limit is not None and self._prefill_tokens >= limit:
            stats.rejections["max_num_queued_tokens"] += 1
            return Rejection("max_num_queued_tokens")
        if not self.unfinished:
            self.now = max(self.now, at)
        sequence = Sequence(request, arrival=at)
        self.waiting.append(sequence)
        self._prefill_tokens += request.prompt_tokens
        return sequence

    def abort(self, sequence: Sequence, at: float) -> None:
        """Drop a request, as a disconnecting client does; a finished one is left alone."""
        if sequence.finish is not None:
            return
        self._steady = False
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        if sequence.first_token_at is None:
            self._prefill_tokens -= sequence.request.prompt_tokens
        self._end(sequence, "abort", at)
        if not self.unfinished:
            self._plan = None
            self.now = max(self.now, at)

    def advance(self, until: float, ahead: float = 0.0, *, to_finish: bool = False) -> list[Sequence]:
        """Run all steps that end by `until`, or up to the first that finishes something if `to_finish`.

        Returns the sequences that finished, in order. `ahead`: plan for so many seconds more, if nothing can change in
        them. What such a plan holds shows at its end (`next_event`), or when the engine is advanced without `ahead`, as
        it must be before anything is submitted, aborted or measured."""
        finished: list[Sequence] = []
        while True:
            if self._plan is not None:
                if self._plan.ends_at > until and (ahead or not self._cut(self._plan, until)):
                    return finished
                self._apply(self._plan, finished)
                self._plan = None
                if to_finish and finished:
                    return finished
            if not self.unfinished:
                self.now = max(self.now, until)
                return finished
            self.now = max(self.now, self._ready_at)
            if self.now > until:
                return finished
            self._plan = self._schedule(until + ahead)

    def _cut(self, plan: Plan, until: float) -> bool:
        """Take from a plan the steps that have not begun by `until`; whether what is left has ended by then."""
        if len(plan.durations) == 1:
            return False
        steps, done = plan.keep(self.now, until)
        for sequence in plan.decodes:
            if sequence.finish is None:
                spare = sequence.holding.blocks - self.settings.blocks_for(sequence.computed + steps)
                self.pool.give_back(sequence.holding, spare)
        return done > 0

    def _schedule(self, until: float) -> Plan:
        """Choose the next step's work and take its KV blocks."""
        budget = self.settings.max_num_batched_tokens
        speculation = self.settings.speculation
        drafted = speculation.drafted(len(self.running), budget) if speculation and self.running else 0
        chunks: list[tuple[Sequence, int]] = []
        preempted = False
        if self._steady and not drafted and len(self.running) <= budget and self._reserve_all(self.running, 1):
            decodes = list(self.running)
            budget -= len(decodes)
        else:
            decodes, budget, preempted = self._go_on(chunks, budget, drafted)
            self._sum_up(decodes)
        whole = len(decodes) + len(chunks) == len(self.running) and not preempted
        loaded = 0 if preempted else self._admit(chunks, budget)
        if not chunks and not decodes:
            raise RuntimeError(
                f"{len(self.waiting)} requests wait and none can be scheduled: "
                f"{self.pool.free} of {self.pool.capacity} KV blocks are free"
            )
        batch = Batch(
            decodes=len(decodes),
            decode_context=self._context,
            drafted=drafted,
            prefill=sum(count for _, count in chunks),
            prefill_context=sum(sequence.computed + count for sequence, count in chunks),
            prefill_pairs=sum(count * (sequence.computed + count / 2) for sequence, count in chunks),
            loaded=loaded,
            prefills=len(chunks),
        )
        duration = self._step_time.seconds(batch)
        plan = Plan(batch, chunks, decodes, drafted, [duration], self.now + duration, self._shortest, whole)
        if not chunks and not drafted and not preempted:
            self._repeat(plan, batch.decode_context, until)
        return plan

    def _go_on(self, chunks: list[tuple[Sequence, int]], budget: int, drafted: int) -> tuple[list[Sequence], int, bool]:
        """Let all that run go on: those that decode, what is left of the budget, and whether one was pushed out."""
        decodes: list[Sequence] = []
        preempted = False
        index = 0
        while index < len(self.running) and budget > 0:
            sequence = self.running[index]
            decoding = sequence.decoding
            count = 1 + drafted if decoding else min(sequence.tokens - sequence.computed, budget)
            while not self._reserve(sequence, count):
                preempted = True
                if self._preempt() is sequence:
                    break
            else:
                if decoding:
                    decodes.append(sequence)
                else:
                    chunks.append((sequence, count))
                budget -= count
                index += 1
        return decodes, budget, preempted

    def _reserve(self, sequence: Sequence, count: int) -> bool:
        """Blocks for `count` more tokens of a sequence."""
        settings, holding = self.settings, sequence.holding
        stored = sequence.computed + count
        if stored <= holding.blocks * settings.block_size:
            return True
        missing = settings.blocks_for(min(stored, settings.max_model_len)) - holding.blocks
        return missing <= 0 or self.pool.reserve(holding, missing)

    def _preempt(self) -> Sequence:
        """Push out the youngest running request; it starts over, before all that wait."""
        victim = self.running.pop()
        self.pool.release(victim.holding)
        victim.computed = victim.published = 0
        victim.preemptions += 1
        self.stats.preemptions += 1
        self.waiting.appendleft(victim)
        return victim

    def _hashes(self, sequence: Sequence) -> ReadOnlySequence[int]:
        return sequence.request.block_hashes if self.settings.prefix_caching else ()

    def _admit(self, chunks: list[tuple[Sequence, int]], budget: int) -> int:
        """Start waiting requests while budget, seats and blocks last; tokens fetched from host memory.

        A request starts only when its whole prompt fits (vLLM's scheduler_reserve_full_isl).
        """
        settings, pool = self.settings, self.pool
        loaded = 0
        while self.waiting and budget > 0 and len(self.running) < settings.max_num_seqs:
            sequence = self.waiting[0]
            if self._arrives(sequence) > self.now:
                break
            if self._blocked is not None and self._blocked[0] is sequence and pool.free <= self._blocked[1]:
                break
            hashes = self._hashes(sequence)
            device, host = pool.match(hashes, (sequence.tokens - 1) // settings.block_size)
            needed = settings.blocks_for(sequence.tokens) - device + pool.idle_among(hashes[:device])
            if needed > pool.free:
                self._blocked = (sequence, pool.free)
                break
            pool.hold(sequence.holding, hashes[:device])
            sequence.computed = (device + host) * settings.block_size
            count = min(sequence.tokens - sequence.computed, budget)
            self._reserve(sequence, count)
            for block in hashes[device : device + host]:
                pool.publish(sequence.holding, block)
            sequence.published = device + host
            if sequence.scheduled_at is None:
                sequence.scheduled_at = self.now
                count_hits(self.stats, sequence, settings, device, host)
            loaded += host * settings.block_size
            self.running.append(self.waiting.popleft())
            chunks.append((sequence, count))
            budget -= count
        return loaded

    def _repeat(self, plan: Plan, context: int, until: float) -> None:
        """Append further steps of the same decodes to the plan, while nothing can change and all end in time."""
        if self.waiting and (arrives := self._arrives(self.waiting[0])) > self.now:
            until = min(until, arrives)
        if plan.ends_at > until:
            return
        batch = len(plan.decodes)
        seconds = self._step_time.decode_seconds(batch)
        durations, end = plan.durations, plan.ends_at
        for _ in range(plan.shortest - 1):
            context += batch
            duration = seconds(context)
            if end + duration > until:
                break
            durations.append(duration)
            end += duration
        steps = len(durations)
        while steps > 1 and not self._reserve_all(plan.decodes, steps):
            steps //= 2
        plan.ends_at = end if steps == len(durations) else self.now + sum(durations[:steps])
        del durations[steps:]

    def _reserve_all(self, decodes: list[Sequence], steps: int) -> bool:
        """Blocks for this many more tokens of every sequence, or none at all."""
        size, missing = self.settings.block_size, []
        for sequence in decodes:
            holding = sequence.holding
            missing.append(-(-(sequence.computed + steps) // size) - len(holding.shared) - holding.private)
        if sum(count for count in missing if count > 0) > self.pool.free:
            return False
        for sequence, count in zip(decodes, missing, strict=True):
            if count > 0:
                self.pool.reserve(sequence.holding, count)
        return True

    def _apply(self, plan: Plan, finished: list[Sequence]) -> None:
        """Let the planned steps have happened: tokens, published blocks, finished requests."""
        self.now = plan.ends_at
        if self._watch is not None:
            self._watch(plan.batch, len(plan.durations))
        computed = outputs = 0
        for sequence, count in plan.chunks:
            if sequence.finish is not None:
                continue
            sequence.computed += count
            if sequence.computed == sequence.tokens:
                if sequence.first_token_at is None:
                    computed += sequence.request.prompt_tokens - sequence.cached_tokens
                    self._prefill_tokens -= sequence.request.prompt_tokens
                    first_token(self.stats, sequence, self.now)
                else:
                    self.stats.inter_token_latency.observe(self.now - sequence.last_token_at)
                outputs += self._emit(sequence, 1)
            self._publish(sequence)
        batch, tokens = self._decoded(plan)
        step_done(self.stats, plan.durations, batch, computed + outputs + tokens)
        ended = [sequence for sequence in self.running if not sequence.remaining] if plan.may_end else []
        for sequence in ended:
            self._end(sequence, sequence.request.finish, self.now)
            finished_request(self.stats, sequence, self.now)
            finished.append(sequence)
        if ended:
            self.running = [sequence for sequence in self.running if sequence.finish is None]
        self._steady = plan.whole and not plan.drafted and all(one.decoding or one.finish for one, _ in plan.chunks)
        if self._steady and (plan.chunks or ended):
            self._sum_up(self.running)

    def _sum_up(self, decodes: list[Sequence]) -> None:
        self._context = sum([sequence.computed for sequence in decodes]) + len(decodes)
        left = [sequence.request.output_tokens - sequence.generated for sequence in decodes]
        self._shortest = min(left, default=0)

    def _decoded(self, plan: Plan) -> tuple[int, int]:
        """Give their tokens to those that decode: how many these are, and the tokens."""
        batch = tokens = 0
        steps, now, speculation = len(plan.durations), self.now, self.settings.speculation
        for sequence in plan.decodes:
            if sequence.finish is not None:
                continue
            count = steps
            if plan.drafted and speculation is not None:
                count = verified(self.stats, sequence, plan.drafted, speculation.accepted(plan.drafted, self._rng))
            sequence.computed += count
            sequence.generated += count
            sequence.last_token_at = now
            if sequence.published < len(sequence.request.block_hashes):
                self._publish(sequence)
            tokens += count
            batch += 1
        self.stats.generation_tokens += tokens
        self._context += tokens
        self._shortest -= steps
        return batch, tokens

    def _emit(self, sequence: Sequence, count: int) -> int:
        sequence.generated += count
        sequence.last_token_at = self.now
        self.stats.generation_tokens += count
        return count

    def _publish(self, sequence: Sequence) -> None:
        """Make blocks that this step filled findable by later requests."""
        hashes = self._hashes(sequence)
        full = min(sequence.computed // self.settings.block_size, len(hashes))
        if full > sequence.published:
            for block in hashes[sequence.published : full]:
                self.pool.publish(sequence.holding, block)
            sequence.published = full

    def _end(self, sequence: Sequence, reason: str, at: float) -> None:
        sequence.finish = reason
        sequence.finished_at = at
        self.pool.release(sequence.holding)
        self.stats.finished[reason] += 1
