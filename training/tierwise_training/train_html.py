"""Makes one HTML page of what was found about a classifier; it loads nothing and runs no script.

First what it promises and costs, then the curve that it stands on, then who is served wrongly, what decides, and what
more labels would bring.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from tierwise.html_page.chart import Axis, Chart
from tierwise.html_page.document import common_style, document, figures, section, style_sheet, table
from tierwise.routing.classifier import Header
from tierwise_training.findings import Deciding, Findings, Sent
from tierwise_training.train_text import headline, more_sentences, sentences

STYLE = "report.css"


def page(found: Findings, header: Header) -> str:
    """The page."""
    title = f"{found.from_tier} or {found.reference_tier}: the classifier of route {found.route}"
    body = "\n".join(
        (
            f"<h1>{escape(title)}</h1>",
            f'<p class="{"no" if found.refusal else "yes"}">{escape(headline(found))}</p>',
            _figures(found),
            *(f"<p>{escape(line)}</p>" for line in sentences(found)),
            section("Quality by share", _curve(found), _curve_note(found)),
            section("Who answers right, by where it goes", _confusion(found)),
            section("What decides", _deciding(found), _deciding_note(found)),
            section("After so many labels", _learned(found), " ".join(more_sentences(found))),
            section("This file", _about(found, header)),
        )
    )
    return document(title, common_style() + style_sheet("tierwise_training", STYLE), body)


def _figures(found: Findings) -> str:
    share = 100 if found.share is None else found.share
    step = next(each for each in found.curve if each.share_percent == share)
    kept = f"of {found.reference_tier}'s right answers kept, at least {step.lower_percent:.1f} %"
    shown = [
        (f"{share} %", f"of requests to {found.reference_tier}"),
        (f"{step.quality_percent:.1f} %", kept),
        ("–" if math.isnan(found.apgr) else f"{found.apgr:.3f}", "APGR; a random order has 0.5"),
        (f"{found.labels:,}", "labels"),
    ]
    if share in found.costs:
        shown.insert(1, (f"{found.costs[share]:.0f} %", f"of what {found.reference_tier} alone costs"))
    return figures(shown)


def _curve(found: Findings) -> str:
    points = [(float(step.share_percent), step) for step in found.curve]
    lowest = min(step.lower_percent for _, step in points)
    low = max(0.0, 5.0 * math.floor(min(lowest, found.quality_percent - 2) / 5))
    highest = max(2 * step.quality_percent - step.lower_percent for _, step in points)
    high = 5.0 * math.ceil(max(highest, 101.0) / 5)
    steps = 5 if high - low <= 40 else 10
    ticks = [float(value) for value in range(int(low), int(high) + 1, steps)]
    chart = Chart(
        "The quality that is kept, by the share of requests that go to the reference tier, with its interval",
        Axis(f"requests to {found.reference_tier}", 0, 100, range(0, 101, 20), " %"),
        Axis("right answers kept", low, high, ticks, " %"),
    )
    chart.band(
        [(x, step.lower_percent) for x, step in points],
        [(x, 2 * step.quality_percent - step.lower_percent) for x, step in points],
    )
    chart.line([(0, points[-1][1].quality_percent), (100, 100)], "faint")
    chart.line([(x, step.quality_percent) for x, step in points])
    chart.across_at(found.quality_percent, f"{found.quality_percent} % wanted")
    if found.share is not None:
        chart.up_at(found.share, f"{found.share} % promised")
    return chart.draw()


def _curve_note(found: Findings) -> str:
    note = "The band is the 80 % interval: its lower edge is exceeded with 90 % confidence. Grey: a random order."
    if found.costs:
        by_share = ", ".join(f"{share} %: {found.costs[share]:.0f} %" for share in (0, 20, 40, 60, 80, 100))
        note += f" Cost in percent of {found.reference_tier} alone, by share: {by_share}."
    return note


def _confusion(found: Findings) -> str:
    small, large = escape(found.from_tier), escape(found.reference_tier)
    head = f"<tr><th></th><th>both</th><th>only {large}</th><th>only {small}</th><th>neither</th></tr>"
    rows = [
        f"<tr><th>to {large}</th>{_cells(found.to_reference, 'good', 'lost')}</tr>",
        f"<tr><th>to {small}</th>{_cells(found.to_from, 'lost', 'good')}</tr>",
    ]
    return (
        f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'
        '<p class="below">Green: sent to the only tier that is right. Red: sent to the one that is wrong.</p>'
    )


def _cells(each: Sent, reference: str, small: str) -> str:
    counts = ((each.both, ""), (each.only_reference, reference), (each.only_from, small), (each.neither, ""))
    return "".join(f'<td class="{kind}">{count:,}</td>' for count, kind in counts)


def _deciding(found: Findings) -> str:
    harder = [each for each in found.words if each.weight > 0]
    easier = [each for each in reversed(found.words) if each.weight < 0]
    parts = [_bars("Sizes", found.sizes)]
    if found.words:
        parts += [_bars(f"Words for {found.reference_tier}", harder), _bars(f"Words for {found.from_tier}", easier)]
    return f'<div class="columns">{"".join(parts)}</div>'


def _bars(title: str, each: Sequence[Deciding]) -> str:
    most = max((abs(one.weight) for one in each), default=1.0) or 1.0
    rows = "".join(_bar(one, most) for one in each)
    return f"<div><h3>{escape(title)}</h3><dl>{rows}</dl></div>"


def _bar(one: Deciding, most: float) -> str:
    count = "" if one.count is None else f" <small>{one.count:,}</small>"
    kind = "plus" if one.weight > 0 else "minus"
    return (
        f"<dt>{escape(one.name)}{count}</dt><dd><span class='{kind}' style='width:{100 * abs(one.weight) / most:.0f}%'>"
        f"</span><em>{one.weight:+.3f}</em></dd>"
    )


def _deciding_note(found: Findings) -> str:
    note = (
        f"What a standard deviation more of a size, or a word, adds to the log odds of {found.reference_tier} being "
        f"right against {found.from_tier}. Words share buckets with other pieces of text: read them as hints."
    )
    return note if found.words else f"{note} The labels hold no prompts, so no words can be shown."


def _learned(found: Findings) -> str:
    counts = [float(each.labels) for each in found.learned]
    known = [each for each in found.learned if each.share is not None]
    chart = Chart(
        "The share that could be promised, by the number of labels",
        Axis("labels", 0, len(counts), counts),
        Axis(f"requests to {found.reference_tier}", 0, 100, range(0, 101, 20), " %"),
        places=counts,
    )
    chart.line([(float(each.labels), float(each.share or 0)) for each in known])
    chart.dots(
        [
            (
                float(each.labels),
                float(each.share or 0),
                f"{each.labels:,} labels: {each.share} %, APGR {each.apgr:.3f}",
            )
            for each in known
        ]
    )
    rows = [
        (
            f"{each.labels:,}",
            "–" if math.isnan(each.apgr) else f"{each.apgr:.3f}",
            "nothing" if each.share is None else f"{each.share} %",
        )
        for each in found.learned
    ]
    drawn = chart.draw() if len(known) > 1 else ""
    return drawn + table(("labels", "APGR", "share promised"), rows)


def _about(found: Findings, header: Header) -> str:
    facts: Iterable[tuple[str, str]] = (
        ("route", header.route),
        ("tiers", f"{header.from_tier}, {header.reference_tier}"),
        ("labels", f"{header.labels:,}, hash {header.labels_hash}"),
        ("without a verdict", f"{found.not_known:,}"),
        ("made", header.created_at),
        ("versions", f"file {header.version}, features {header.features_version}"),
        ("salted", "yes: routers need the same Secret" if header.salt_check else "no"),
    )
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return f'<div class="scroll"><table class="facts">{rows}</table></div>'
