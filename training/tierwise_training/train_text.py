"""Shows in the terminal what was found about a classifier: first what it promises and costs, then why."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierwise_training.findings import Findings, Sent

RANDOM_APGR = 0.5
SHOWN_SHARES = (100, 80, 60, 40, 20, 0)


def as_text(found: Findings) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [Text(headline(found), style="bold yellow" if found.refusal else "bold green")]
    parts += [Text(line) for line in sentences(found)]
    parts += [Text(), _curve(found), Text(), _confusion(found), Text(), _learned(found), Text(), _deciding(found)]
    return Group(*parts)


def headline(found: Findings) -> str:
    """What it comes to, in one sentence."""
    large = found.reference_tier
    if found.refusal:
        return f"Not to be used: {found.refusal}. Routers that are given this file go by rules."
    return (
        f"With {found.share} % of requests to {large}, {found.quality_percent} % of {large}'s right answers are kept "
        "(90 % confidence)."
    )


def sentences(found: Findings) -> Iterator[str]:
    """What to know beside it."""
    small, large = found.from_tier, found.reference_tier
    tested = f", tested on groups that it had not seen ({found.groups} groups)" if found.groups else ""
    unknown = f"; {found.not_known} more have no verdict and were left out" if found.not_known else ""
    yield f"Learned from {found.labels:,} labels of route {found.route}{tested}{unknown}."
    if found.counts_as < found.labels:
        yield (
            "They were sampled at different rates and are weighed by them; so they are as certain as "
            f"{found.counts_as:,} labels of one rate."
        )
    right = f"{small} is right in {found.from_right_percent:.1f} %, {large} in {found.reference_right_percent:.1f} %."
    yield f"Of the labelled prompts {right}"
    if math.isnan(found.apgr):
        yield f"{large} is no better than {small} on these prompts: there is nothing to divide."
    else:
        low, high = found.apgr_interval
        yield f"Order of difficulty: APGR {found.apgr:.3f} [{low:.3f}-{high:.3f}]; a random order has 0.5."
        if low <= RANDOM_APGR:
            yield (
                "It is not shown to be better than a random order: what is saved here is saved by the share alone, and "
                "any requests would do as well."
            )
    if not found.refusal:
        yield (
            f"A threshold that only looks good on the labels would take {found.naive_share} %, and keep the quality "
            "about every second time."
        )
    yield from more_sentences(found)
    yield "All of it holds for requests like the labelled ones. Label again when the traffic is another."


def more_sentences(found: Findings) -> Iterator[str]:
    """What more labels would bring."""
    now = 100 if found.share is None else found.share
    for extra, share in found.more.items():
        if share is not None and share < now:
            yield (
                f"{extra:,} more labels like these would promise it with about {share} % (by the interval alone; that "
                "the order gets better is not counted)."
            )
            return
    yield f"More labels like these, up to {max(found.more):,}, would not lower the share by the interval alone."


def _curve(found: Findings) -> Table:
    table = Table(title="quality by share", title_justify="left", box=None, padding=(0, 2))
    for name in (f"to {found.reference_tier}", "quality", "at least (90 %)", "cost", ""):
        table.add_column(name, justify="right")
    shown = {*SHOWN_SHARES, *([] if found.share is None else [found.share])}
    for step in found.curve:
        if step.share_percent in shown:
            cost = found.costs.get(step.share_percent)
            table.add_row(
                f"{step.share_percent} %",
                f"{step.quality_percent:.1f} %",
                f"{step.lower_percent:.1f} %",
                "" if cost is None else f"{cost:.0f} %",
                "promised" if step.share_percent == found.share else "",
                style="bold" if step.share_percent == found.share else None,
            )
    return table


def _confusion(found: Findings) -> Table:
    table = Table(title="who answers right, by where it goes", title_justify="left", box=None, padding=(0, 2))
    small, large = found.from_tier, found.reference_tier
    for name in ("", "both", f"only {large}", f"only {small}", "neither"):
        table.add_column(name, justify="right" if name else "left")
    for name, each in ((f"to {large}", found.to_reference), (f"to {small}", found.to_from)):
        table.add_row(name, *_cells(each))
    return table


def _cells(each: Sent) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (each.both, each.only_reference, each.only_from, each.neither))


def _learned(found: Findings) -> Table:
    table = Table(title="after so many labels", title_justify="left", box=None, padding=(0, 2))
    for name in ("labels", "APGR", "share promised"):
        table.add_column(name, justify="right")
    for each in found.learned:
        share = "none" if each.share is None else f"{each.share} %"
        table.add_row(f"{each.labels:,}", "" if math.isnan(each.apgr) else f"{each.apgr:.3f}", share)
    return table


def _deciding(found: Findings) -> Table:
    table = Table(title="what decides", title_justify="left", box=None, padding=(0, 2))
    for name in ("for", "size or word", "weight", "prompts"):
        table.add_column(name, justify="right" if name in ("weight", "prompts") else "left")
    for each in (*found.sizes[:6], *found.words[:6], *found.words[-6:]):
        towards = found.reference_tier if each.weight > 0 else found.from_tier
        table.add_row(towards, each.name, f"{each.weight:+.3f}", "" if each.count is None else f"{each.count:,}")
    return table
