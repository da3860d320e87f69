"""Puts the page together: the sentence that matters, what was tried, service, money, replicas, and what was assumed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from tierwise.html_page.bars import HATCH
from tierwise.html_page.document import bullets, common_style, document, figures, section, style_sheet, table
from tierwise.report.waterfall import waterfall, waterfall_steps, with_idle
from tierwise_sim.replay.result import SavingsResult, SimulationResult, TierResult
from tierwise_sim.report_page import frontier, tiers
from tierwise_sim.report_page.timeline import PATTERNS, timeline
from tierwise_sim.simulate_words import money, savings_sentence, setup_sentence, share, span

PAID = "What is paid: GPU time from start to end, busy or not, and metered tokens."
BASES = (
    "The reference tier is counted by use, as if a GPU cost nothing while nobody asks; so are the tactics, down to "
    "what was used. What was paid is more: a replica is paid while it starts, waits and drains."
)


def page(results: Sequence[SimulationResult]) -> str:
    """The page of one simulation, or of several of the same trace: then the best one in detail. Raises ValueError for
    none."""
    if not results:
        raise ValueError("no simulation to draw")
    chosen = frontier.best(results)
    result = results[chosen]
    title = f"Simulation of {result.setup.route or 'the tiers'}"
    body = [HATCH, PATTERNS, f"<h1>{escape(title)}</h1>"]
    if len(results) > 1:
        which = f"Of {len(results)} simulations, number {chosen + 1} has the most requests within both targets"
        body.append(f"<p>{escape(f'{which} (the cheapest of those): {frontier.choice(result)}.')}</p>")
    body += [f'<p class="lead">{escape(headline(result))}</p>', _figures(result)]
    body.append(f"<p>{escape(setup_sentence(result))}.</p>")
    if missing := tiers.unpriced(result):
        body.append(f'<p class="no">{escape(missing)}</p>')
    if len(results) > 1:
        note = "Filled and joined: no other one is as cheap and as good. Numbers are those of the table."
        body.append(section("What if", frontier.frontier(results), note))
        body.append(f"<p>All that follows is of number {chosen + 1}.</p>")
    body += [
        section("Met the targets", tiers.attainment(result), _service_note(result)),
        section("Cost", tiers.cost(result), PAID),
        _savings(result),
        section("Replicas over time", "".join(_tier(each, result.setup.seconds) for each in result.tiers)),
        section("What was simulated", _setup(result)),
        section("What is assumed, and where step times come from", bullets(result.notes)),
    ]
    style = common_style() + style_sheet("tierwise_sim.report_page", "page.css")
    return document(title, style, "\n".join(each for each in body if each))


def headline(result: SimulationResult) -> str:
    """The one sentence that matters."""
    total = result.total
    said = (
        f"{money(total.dollars)} US dollars paid in {span(result.setup.seconds)}, {money(total.dollars_per_hour)} "
        f"per hour; {share(total.attainment) or 'none'} of the requests met both targets"
    )
    if (found := _saved(result)) is None:
        return f"{said}."
    percent, paid, reference = found
    what = "that is" if paid else "what was used costs"
    return f"{said}; {what} {abs(percent):.1f} % {'less' if percent >= 0 else 'more'} than all on {reference}."


def _saved(result: SimulationResult) -> tuple[Decimal, bool, str] | None:
    """Percent, whether of what would have been paid (or else of use alone), and against which tier; None where nothing
    can be said."""
    found = result.savings
    if found is None or found.saved_percent is None:
        return None
    paid = found.paid_percent is not None
    return found.saved_percent if found.paid_percent is None else found.paid_percent, paid, found.reference


def _figures(result: SimulationResult) -> str:
    total = result.total
    shown = [
        (f"${money(total.dollars)}", f"paid in {span(result.setup.seconds)}"),
        (f"${money(total.dollars_per_hour)}", "paid per hour"),
        (share(total.attainment) or "\N{EN DASH}", "of the requests met both targets"),
    ]
    if total.worst_tier and len(result.tiers) > 1:
        shown.append((share(total.worst_attainment), f"met in the worst tier, {total.worst_tier}"))
    if total.dollars_per_million_tokens is not None:
        shown.append((f"${money(total.dollars_per_million_tokens)}", "paid per million tokens"))
    if (found := _saved(result)) is not None:
        percent, paid, reference = found
        shown.append((f"{percent:.1f} %", f"saved{'' if paid else ' of use'} against all on {reference}"))
    return figures(shown)


def _service_note(result: SimulationResult) -> str:
    refused = ", ".join(f"{count:,} {why}" for why, count in sorted(result.total.requests.refused.items()))
    note = "A request without an answer has not met its targets; one that is still open counts if it is late already."
    return f"{note} No answer: {refused}." if refused else note


def _savings(result: SimulationResult) -> str:
    found = result.savings
    if found is None or not found.baseline:
        return section("Savings", f"<p>{escape(savings_sentence(result))}.</p>")
    digits = Decimal("0.01") if found.baseline >= 1 else Decimal("0.000001")
    rows = with_idle(waterfall_steps(found.reference, *_rounded(found, digits)), result.total.dollars.quantize(digits))
    return section("Savings", waterfall(rows) + bullets((BASES, *found.notes)), f"{savings_sentence(result)}.")


def _rounded(found: SavingsResult, digits: Decimal) -> tuple[Decimal, list[tuple[str, Decimal]], Decimal]:
    """The bill of the reference, what each tactic saved, and what was used: to the digits that are shown. The levels
    are rounded, not the parts, so that the rows add up."""
    level = found.baseline
    parts = []
    for tactic, amount in found.parts.items():
        parts.append((tactic, level.quantize(digits) - (level - amount).quantize(digits)))
        level -= amount
    return found.baseline.quantize(digits), parts, found.actual.quantize(digits)


def _tier(tier: TierResult, seconds: float) -> str:
    drawn = timeline(tier, seconds)
    if not drawn:
        drawn = "<p>It is external: it has no replicas.</p>" if tier.external else "<p>It has no timeline.</p>"
    return f"<article><h3>{escape(tier.name)}</h3>{_held(tier)}{drawn}</article>"


def _held(tier: TierResult) -> str:
    reasons = sorted(((took, why) for why, took in tier.limited_seconds.items() if took), reverse=True)
    if not reasons:
        return ""
    said = ", ".join(f"{why} {span(took)}" for took, why in reasons)
    return f'<p class="below">Held away from what its load asked for by: {escape(said)}.</p>'


def _setup(result: SimulationResult) -> str:
    setup = result.setup
    startup = "differs by tier" if setup.startup_seconds is None else f"{setup.startup_seconds:g} s"
    rows = [
        ("trace", setup.trace),
        ("requests", f"{setup.arrivals:,} in {setup.seconds:g} s"),
        ("seed", f"{setup.seed}"),
        ("replicas decided by", setup.autoscaler),
        ("targets", f"TTFT {setup.targets.ttft:g} s, inter-token {setup.targets.inter_token:g} s"),
        ("start of a replica", startup),
        ("route", f"{setup.route}, routers: {setup.routers}"),
        ("Prometheus reads every", f"{setup.scrape_seconds:g} s"),
        ("the operator decides every", f"{setup.decide_seconds:g} s"),
        ("faults", ", ".join(setup.faults) or "none"),
        ("what if", ", ".join(setup.what_if) or "as it is"),
    ]
    return table(("what", "value"), rows, kind="facts")
