"""Counts what becomes of requests, by tier: outcomes, tokens, latencies, and what each has cost.

A request counts where it was answered; one that got no answer counts for the tier that was chosen first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from tierwise.routing.cost import NOTHING, Usage, cost
from tierwise.routing.route import Tariff
from tierwise.types.route_work import Answered, RouteWork, Tokens
from tierwise_sim.replay.live import Job
from tierwise_sim.replay.result import Distribution, Requests, Targets, TokenCounts


@dataclass(slots=True)
class TierAccount:
    """What is known of the requests of one tier."""

    answered: int = 0
    open: int = 0
    met: int = 0
    met_ttft: int = 0
    met_inter_token: int = 0
    judged: int = 0
    spilled: int = 0
    retried: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    prompt: int = 0
    cached: int = 0
    output: int = 0
    dollars: Decimal = NOTHING
    busy_seconds: float = 0.0
    ttft: array[float] = field(default_factory=lambda: array("d"))
    inter_token: array[float] = field(default_factory=lambda: array("d"))

    def requests(self) -> Requests:
        """The counts as a value."""
        return Requests(
            arrived=self.answered + self.open + sum(self.refused.values()),
            answered=self.answered,
            open=self.open,
            met=self.met,
            met_ttft=self.met_ttft,
            met_inter_token=self.met_inter_token,
            judged=self.judged,
            spilled=self.spilled,
            retried=self.retried,
            refused=dict(sorted(self.refused.items())),
        )

    def tokens(self) -> TokenCounts:
        """The tokens as a value."""
        return TokenCounts(self.prompt, self.cached, self.output)


class Account:
    """Of one simulation. `tiers`: their names, in the order of the route."""

    def __init__(self, tiers: Iterable[str], targets: Targets) -> None:
        self.tiers = {name: TierAccount() for name in tiers}
        self.unknown = TierAccount()
        """Requests for a model that no tier has."""
        self._targets = targets
        self._answers: dict[Answered, Tokens] = {}

    def answered(
        self,
        job: Job,
        ttft: float,
        inter_token: float | None,
        cached: int,
        used_seconds: float,
        tariff: Tariff,
        at: float,
    ) -> Decimal:
        """A request has its answer. `inter_token`: None for an answer of one token, which meets any target;
        `used_seconds`: its share of a replica's time. The dollars that it has cost."""
        account, arrival = self.tiers[job.tier], job.arrival
        output = arrival.output_tokens if job.sequence is None else job.sequence.generated
        account.answered += 1
        account.judged += 1
        account.spilled += job.wanted != job.tier
        account.retried += len(job.tried) > 1
        on_time = ttft <= self._targets.ttft
        fluent = inter_token is None or inter_token <= self._targets.inter_token
        account.met_ttft += on_time
        account.met_inter_token += fluent
        account.met += on_time and fluent
        account.prompt += arrival.prompt_tokens
        account.cached += cached
        account.output += output
        account.ttft.append(ttft)
        if inter_token is not None:
            account.inter_token.append(inter_token)
        dollars = cost(Usage(arrival.prompt_tokens - cached, cached, 0, output), tariff, used_seconds)
        account.dollars += dollars
        account.busy_seconds += at - job.sent_at
        who = Answered(job.tier, job.first)
        more = Tokens(arrival.prompt_tokens - cached, cached, 0, output)
        self._answers[who] = self._answers.get(who, Tokens()) + more
        return dollars

    def refused(self, job: Job) -> None:
        """A request got no answer: it has missed its targets."""
        account = self.tiers.get(job.wanted, self.unknown)
        account.refused[job.outcome] = account.refused.get(job.outcome, 0) + 1
        account.judged += 1

    def still_open(self, job: Job, end: float) -> None:
        """A request was not over when the simulation ended. Whether it would have met its targets is known only where
        its first token is late already."""
        account = self.tiers.get(job.tier if job.replica is not None else job.wanted, self.unknown)
        account.open += 1
        first = None if job.sequence is None else job.sequence.first_token_at
        if (end if first is None else first) - job.at > self._targets.ttft:
            account.judged += 1

    def work(self, seconds: float) -> RouteWork:
        """What was answered, as the routers count it."""
        return RouteWork(
            window_seconds=max(1, round(seconds)),
            answers=dict(sorted(self._answers.items())),
            costs={name: account.dollars for name, account in self.tiers.items() if account.answered},
            seconds={
                name: Decimal(account.busy_seconds).quantize(Decimal("0.000001"))
                for name, account in self.tiers.items()
                if account.answered
            },
        )

    def all(self) -> TierAccount:
        """All requests together."""
        total = TierAccount()
        for account in (*self.tiers.values(), self.unknown):
            for name in ("answered", "open", "met", "met_ttft", "met_inter_token", "judged", "spilled", "retried"):
                setattr(total, name, getattr(total, name) + getattr(account, name))
            for reason, count in account.refused.items():
                total.refused[reason] = total.refused.get(reason, 0) + count
            total.prompt += account.prompt
            total.cached += account.cached
            total.output += account.output
            total.dollars += account.dollars
            total.ttft.extend(account.ttft)
            total.inter_token.extend(account.inter_token)
        return total


def distribution(values: Iterable[float]) -> Distribution | None:
    """Mean and percentiles by nearest rank; None of nothing."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        return None

    def rank(percent: int) -> float:
        return round(ordered[max(0, -(-count * percent // 100) - 1)], 6)

    return Distribution(
        count=count,
        mean=round(sum(ordered) / count, 6),
        p50=rank(50),
        p90=rank(90),
        p95=rank(95),
        p99=rank(99),
        largest=round(ordered[-1], 6),
    )
