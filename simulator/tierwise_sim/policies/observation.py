"""Defines what an autoscaler sees of a tier, and what it answers.

One type for all policies, so that a replay measures a tier once and asks any of them; each reads the part that its
original could read. An unknown figure is None (no such series) or NaN (a series without a number); what a policy makes
of it is part of the policy. Times are seconds of the replay's clock, latencies seconds, rates per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodObservation:
    """One replica, as the last scrape saw it.

    A starting pod is not ready and has no figures. A draining pod is `terminating` and still has them. A pod that is
    gone while Prometheus still returns its last figures has `exists` False: sums over series count it, whoever asks
    Kubernetes for the pods does not.
    """

    name: str
    ready: bool
    running: float | None = None  # vllm:num_requests_running
    waiting: float | None = None  # vllm:num_requests_waiting
    kv_usage: float | None = None  # vllm:kv_cache_usage_perc, 0 to 1
    kv_capacity_tokens: float | None = None  # num_gpu_blocks * block_size of vllm:cache_config_info
    sampled_at: float | None = None  # when these figures were scraped
    waiting_max_1m: float | None = None  # max_over_time(...[1m])
    kv_usage_max_1m: float | None = None
    terminating: bool = False
    exists: bool = True


@dataclass(frozen=True, slots=True)
class TierObservation:
    """One tier at one moment.

    `desired` is the number of replicas asked for last (spec.replicas), ready or not. `prometheus_up` False means that
    every query fails: policies that ask Prometheus get an error. The figures are given nevertheless, for the policies
    that scrape pods (AIBrix) or proxies (KubeAI) themselves.
    """

    at: float
    desired: int
    minimum: int
    maximum: int
    pods: tuple[PodObservation, ...]
    prometheus_up: bool = True
    router_queue: float | None = 0.0  # requests that wait in the router (endpoint picker's flow control)
    in_flight: float | None = 0.0  # requests that the router has taken and not finished, waiting ones included
    queued_tokens: float | None = 0.0  # prompt tokens of the requests that wait in the router and in the engines
    arrivals: int = 0  # requests that came since the last observation
    ttft_p90: float | None = None  # of the requests that got their first token in the last 45 s
    inter_token_p90: float | None = None  # same window
    ttft_target: float = 3.0  # the service level
    inter_token_target: float = 0.1
    input_tokens: float | None = None  # mean per request over 5 minutes
    output_tokens: float | None = None
    prefix_hit_ratio: float | None = None  # 0 to 1, over 5 minutes
    max_batched_tokens: int = 8192  # --max-num-batched-tokens
    max_sequences: int = 256  # --max-num-seqs
    last_success_at: float | None = None  # when a request was last answered in full
    gpus_per_replica: int = 1
    cost_per_replica_hour: float = 1.0  # US dollars

    @property
    def ready(self) -> int:
        """Replicas that receive requests."""
        return sum(1 for pod in self.pods if pod.ready and pod.exists and not pod.terminating)


@dataclass(frozen=True, slots=True)
class Wish:
    """The replicas that a policy asks for, within the tier's bounds, and one sentence why."""

    replicas: int
    reason: str


class Autoscaler(Protocol):
    """A policy for one tier and one run: it keeps its own windows, so a new run needs a new one.

    It is called once per `period_seconds`, at rising times. The caller writes what it wishes before the next call, or
    less where a budget forbids it: the next observation's `desired` tells.
    """

    @property
    def period_seconds(self) -> float:
        """Seconds between two calls, as in the original."""
        ...

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        ...
