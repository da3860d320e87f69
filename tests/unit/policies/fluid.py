"""A tier as a fluid: requests are a quantity that flows, not single ones. For comparing policies, not for figures.

One kind of request, replicas that all do the same, a start-up of `start_seconds`; a request is served in time when
it waits at most 3 s. A full replica answers 4.56 requests/s (64 at once, 14 s each), starts in 120 s, and there are at
most ten. Time goes in steps of 1 s.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from tierwise_sim.policies.observation import Autoscaler, PodObservation, TierObservation
from tierwise_sim.policies.registry import Facts, parse

AT_ONCE = 64
PER_REPLICA = 4.56  # requests/s
INPUT_TOKENS, OUTPUT_TOKENS = 1024.0, 256.0
KV_TOKENS = 80_000.0  # 64 requests at once hold 92 % of it
IDLE_STEP = 0.020  # seconds per token of a replica that serves one request
LOADED_STEP = AT_ONCE / PER_REPLICA / OUTPUT_TOKENS
PREFILL_SPEED = 15_928.0  # tokens/s; llm-d's for Qwen3-32B on two H100
FIRST_TOKEN = 0.3  # seconds, without waiting
WAIT_LIMIT = 3.0
MAXIMUM = 10

Rate = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Load:
    """Requests/s by time, over so many seconds."""

    rate: Rate
    seconds: int


@dataclass(frozen=True, slots=True)
class Result:
    """Share of the requests that waited at most 3 s (0 to 1), mean replicas asked for, changes of that number."""

    attainment: float
    replicas: float
    changes: int


STEP = Load(lambda at: 24.0 if 1800 <= at < 4500 else 3.0, 7200)


def _wave(at: float) -> float:
    burst = 6.0 if at % 700 < 60 else 0.0
    return 12 - 10 * math.cos(2 * math.pi * at / 1800) + burst


WAVE = Load(_wave, 7200)


@dataclass
class Tier:
    """The state of the fluid. Draining replicas finish their requests, and hold nothing else back."""

    start_seconds: float = 120.0
    ready: int = 1
    starting: list[float] = field(default_factory=list)  # when each is ready
    waiting: float = 0.0
    running: float = 0.0
    arrived: list[float] = field(default_factory=lambda: [0.0])  # cumulative, per second
    admitted: list[float] = field(default_factory=lambda: [0.0])
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=60))  # waiting, KV use, per pod

    @property
    def desired(self) -> int:
        return self.ready + len(self.starting)

    @property
    def kv_usage(self) -> float:
        tokens = INPUT_TOKENS + OUTPUT_TOKENS / 2
        return min(1.0, self.running * tokens / (self.ready * KV_TOKENS)) if self.ready else 0.0

    @property
    def token_step(self) -> float:
        each = min(self.running / self.ready, AT_ONCE) if self.ready else 0.0
        return IDLE_STEP + (LOADED_STEP - IDLE_STEP) * each / AT_ONCE

    def flow(self, at: float, rate: float) -> None:
        """One second."""
        self.ready += sum(1 for due in self.starting if due <= at)
        self.starting = [due for due in self.starting if due > at]
        self.running -= min(self.running, self.running / (OUTPUT_TOKENS * self.token_step))
        admitted = max(0.0, min(self.waiting + rate, self.ready * AT_ONCE - self.running))
        self.waiting += rate - admitted
        self.running += admitted
        self.arrived.append(self.arrived[-1] + rate)
        self.admitted.append(self.admitted[-1] + admitted)
        self.recent.append((self.waiting / max(1, self.ready), self.kv_usage))

    def scale(self, at: float, replicas: int, *, instant: bool) -> None:
        """Ask for this number: what starts goes first."""
        while self.desired > replicas:
            if self.starting:
                self.starting.pop()
            else:
                self.ready -= 1
        for _ in range(replicas - self.desired):
            if instant:
                self.ready += 1
            else:
                self.starting.append(at + self.start_seconds)

    def observe(self, at: float) -> TierObservation:
        """What an autoscaler sees, without delay."""
        pods = [
            PodObservation(
                f"ready-{index}", ready=True, running=self.running / self.ready, waiting=self.waiting / self.ready,
                kv_usage=self.kv_usage, kv_capacity_tokens=KV_TOKENS, sampled_at=at,
                waiting_max_1m=max(waiting for waiting, _ in self.recent),
                kv_usage_max_1m=max(usage for _, usage in self.recent),
            )
            for index in range(self.ready)
        ]  # fmt: skip
        pods += [PodObservation(f"starting-{index}", ready=False) for index in range(len(self.starting))]
        waits = self._waits_of_the_last(45)
        return TierObservation(
            at=at, desired=self.desired, minimum=1, maximum=MAXIMUM, pods=tuple(pods),
            in_flight=self.running + self.waiting, queued_tokens=self.waiting * INPUT_TOKENS,
            ttft_p90=FIRST_TOKEN + waits[math.ceil(0.9 * len(waits)) - 1], inter_token_p90=self.token_step,
            input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, prefix_hit_ratio=0.0, max_sequences=AT_ONCE,
            last_success_at=at,
        )  # fmt: skip

    def _waits_of_the_last(self, seconds: int) -> list[float]:
        """How long those waited that were admitted in each of the last seconds, sorted."""
        now = len(self.admitted) - 1
        waits, came = [], max(0, now - 3600)
        for second in range(max(1, now - seconds + 1), now + 1):
            while came < second and self.arrived[came] < self.admitted[second] - 1e-6:
                came += 1
            waits.append(float(max(0, second - came)))
        return sorted(waits) or [0.0]

    def attainment(self) -> float:
        """The share of all arrivals that were admitted within the limit; what still waits at the end missed it."""
        good, second = 0.0, 0
        for came in range(1, len(self.arrived)):
            while second < len(self.admitted) and self.admitted[second] < self.arrived[came] - 1e-6:
                second += 1
            if second < len(self.admitted) and second - came <= WAIT_LIMIT:
                good += self.arrived[came] - self.arrived[came - 1]
        return good / self.arrived[-1]


def run(policy: Autoscaler, load: Load, *, start_seconds: float = 120.0, instant: bool = False) -> Result:
    """Let a policy scale a tier under a load."""
    tier = Tier(start_seconds)
    total, changes = 0, 0
    for at in range(load.seconds):
        tier.flow(float(at), load.rate(float(at)))
        if at % policy.period_seconds == 0:
            before = tier.desired
            tier.scale(float(at), policy(tier.observe(float(at))).replicas, instant=instant)
            changes += tier.desired != before
        total += tier.desired
    return Result(tier.attainment(), total / load.seconds, changes)


@cache
def run_named(text: str, load: Load, *, start_seconds: float = 120.0) -> Result:
    """Let the policy that the registry knows by this text scale a tier."""
    choice = parse(text)
    facts = Facts(PREFILL_SPEED, PER_REPLICA, load.rate)
    return run(choice.new(facts), load, start_seconds=start_seconds, instant=choice.policy.instant)
