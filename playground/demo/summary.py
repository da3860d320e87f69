"""Summarizes the demo, and checks that it went as promised.

The figures are the client's and the cluster's own; a check that fails fails the demo.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from playground.demo.account import Answer, TierAccount
from playground.demo.stage import ScaleEvent

TOKEN_GAP = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: what, whether it does, and the figures."""

    what: str
    holds: bool
    figures: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the demo measured. Times are seconds; `began` is since the epoch. `savings` and `waterfall`: what
    `tierwise savings` says to programs and to people."""

    began: float
    accounts: tuple[TierAccount, ...]
    events: tuple[ScaleEvent, ...]
    checks: tuple[Check, ...]
    outcomes: dict[str, int]
    lag: float
    playground_seconds: float
    total_seconds: float
    savings: dict[str, Any] = field(default_factory=dict)
    waterfall: str = ""

    @property
    def good(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)


def check(accounts: Sequence[TierAccount], planned: int, final: dict[str, int], restarts: int) -> tuple[Check, ...]:
    """What the demo promises. `planned`: requests of the load; `final`: replicas at the end; operator restarts."""
    sent = sum(account.requests for account in accounts)
    failed = sum(account.failed for account in accounts)
    answered = Check("every request was answered", sent == planned and failed == 0, f"{sent - failed} of {planned}")
    tokens = [
        Check(
            f"{account.tier}: the client's tokens are the engines' own within 1 %",
            account.tokens > 0 and abs(account.gap) <= TOKEN_GAP,
            f"{account.tokens:,} and {account.engine_tokens:,}: {_gap(account)}",
        )
        for account in accounts
        if not account.external
    ]
    moved = [
        Check(
            f"{account.tier}: replicas grew with the load and went back",
            account.most_replicas > 1 and final.get(account.tier) == 1,
            f"1 -> {account.most_replicas} -> {final.get(account.tier, 0)}",
        )
        for account in accounts
        if not account.external
    ]
    alive = Check("the operator never restarted", restarts == 0, f"{restarts} restarts")
    return (answered, *tokens, *moved, alive)


def _gap(account: TierAccount) -> str:
    if account.engine_tokens == account.tokens:
        return "equal"
    missing = account.tokens - account.engine_tokens
    why = "served after the last scrape of a replica that ended" if missing > 0 else "computed for requests that failed"
    return f"{account.gap:+.2%} ({abs(missing):,} tokens {why})"


def outcomes(answers: Sequence[Answer]) -> dict[str, int]:
    """How many requests ended how, sorted by the word."""
    return dict(sorted(Counter(answer.outcome for answer in answers).items()))


def as_json(summary: Summary) -> dict[str, Any]:
    """For machines."""
    tiers = [{**asdict(account), "gap": account.gap} for account in summary.accounts]
    found = {**asdict(summary), "accounts": tiers, "good": summary.good}
    return {key: _finite(value) for key, value in found.items()}


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(summary: Summary, console: Console) -> None:
    """For people."""
    # One line each, however narrow a pipe claims to be: what is read later must not be wrapped.
    console.print(Group(Text(), *_blocks(summary)), no_wrap=True, overflow="ignore", crop=False)


def _blocks(summary: Summary) -> list[RenderableType]:
    return [
        _figures(summary),
        Text("\nChanges of replicas", style="bold"),
        *_events(summary),
        Text(),
        *_checks(summary),
        *(Text(line) for line in ("", *summary.waterfall.splitlines())),
    ]


def _figures(summary: Summary) -> Table:
    table = Table(title="What the clients and the cluster saw", title_justify="left", title_style="bold")
    table.add_column("")
    for account in summary.accounts:
        table.add_column(account.tier, justify="right")
    rows = (
        ("requests", "{0.requests:,}"),
        ("share of all requests", "{0.share:.1%}"),
        ("... that spilled or fell back to it", "{0.spilled:,}"),
        ("right answers", "{0.right:,}"),
        ("tokens, by the clients", "{0.tokens:,}"),
        ("tokens, by the engines", "{0.engine_tokens:,}"),
        ("TTFT p50 / p95, seconds", "{0.ttft_p50:.2f} / {0.ttft_p95:.2f}"),
        ("replicas, at most", "{0.most_replicas}"),
        ("replica-seconds", "{0.replica_seconds:,.0f}"),
        ("cost, US dollars", "{0.cost:.3f}"),
        ("... of the most replicas all the time", "{0.cost_of_most:.3f}"),
    )
    for name, form in rows:
        cells = ["" if _of_engines(name, account) else form.format(account) for account in summary.accounts]
        table.add_row(name, *cells)
    return table


def _of_engines(name: str, account: TierAccount) -> bool:
    """Whether the row says what only a tier with engines of ours has."""
    return account.external and ("replica" in name or "engines" in name)


def _events(summary: Summary) -> list[Text]:
    return [
        Text(f"  {event.at - summary.began:5.0f} s  {event.tier:<6} {event.reason:<10} {event.note}")
        for event in summary.events
    ] or [Text("  none")]


def _checks(summary: Summary) -> list[Text]:
    return [
        Text(f"{'ok  ' if each.holds else 'FAIL'}  {each.what}: {each.figures}", style="green" if each.holds else "red")
        for each in summary.checks
    ]
