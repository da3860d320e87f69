"""Says figures of a simulation in words: for the terminal and for the page, so that no two can differ."""

from __future__ import annotations

from decimal import Decimal

from tierwise_sim.replay.result import Distribution, SimulationResult


def setup_sentence(result: SimulationResult) -> str:
    """What was simulated."""
    setup = result.setup
    startup = "" if setup.startup_seconds is None else f", a replica starts in {setup.startup_seconds:g} s"
    said = (
        f"{setup.trace}: {setup.arrivals:,} requests in {span(setup.seconds)}, replicas by {setup.autoscaler}{startup}"
        f", targets TTFT {setup.targets.ttft:g} s and inter-token {setup.targets.inter_token * 1000:g} ms"
    )
    return said + (f"; faults: {', '.join(setup.faults)}" if setup.faults else "")


def savings_sentence(result: SimulationResult) -> str:
    """What was saved against the reference tier, or why nothing can be said."""
    if result.savings is None:
        return f"savings: {result.no_savings}"
    found = result.savings
    if found.saved_percent is None:
        return f"savings: nothing would have cost anything on {found.reference}"
    if found.paid_percent is not None:
        return (
            f"savings: {found.paid_percent} % of what the same would have cost on {found.reference}, uncached, at its "
            f"list price ({money(found.baseline)} $ to {money(result.total.dollars)} $)"
        )
    return (
        f"savings of use: {found.saved_percent} % against all on {found.reference} at the same use "
        f"({money(found.baseline)} $ to {money(found.actual)} $)"
    )


def share(value: float | None) -> str:
    """A fraction in percent; empty where nothing was measured."""
    return "" if value is None else f"{100 * value:.1f} %"


def latency(value: Distribution | None, name: str) -> str:
    """A percentile by its field's name (p50, p95, ...); empty where nothing was measured."""
    if value is None:
        return ""
    seconds = float(getattr(value, name))
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def money(value: Decimal) -> str:
    """US dollars without their sign."""
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def span(seconds: float) -> str:
    """A span of time in the unit that reads best."""
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
