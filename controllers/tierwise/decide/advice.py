"""Finds advice: settings that work but bring no benefit.

Three sources. What the engine's profile says of the spec and of the GPUs (`engines.check`); what would be refused if it
were not running already; and what is measured:

    PrefixCacheUnused   requests finish, and no prompt token is found in the prefix cache
    SpeculationSlows    so few drafted tokens are accepted that drafting costs more than it saves

Speculation pays while a >  c (Leviathan et al., arXiv 2211.17192, theorem 3.8): a round drafts K tokens, yields 1 + a·K
and costs 1 + c·K of the rounds without drafts, where `a` is the accepted share of the drafted tokens and `c` what
drafting one token costs, in passes of the model itself. Both passes read their weights, so c is the ratio of their
sizes; seen on the real engine with a draft of about half the cost (c = 0.5): a = 0.2 ran at 0.7 of the plain speed,
a = 0.56 at 1.2. Where the sizes are not known, or nothing is read for a draft (n-gram), c counts as LEAST: proposing
and verifying are not free either (arXiv 2601.11580: verification is most of the time at large batches).

Only measured values count, over enough requests, for a while; and advice that was given is taken back only when the
measurement is clearly better, or the spec changes. What was given stands in the status, so a restart keeps it.
Advice changes nothing else: no replica, no argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import Finding, effective_facts
from tierwise.text_sanitize import truncate
from tierwise.types import Advice, TierSignals, TierState, TierView
from tierwise.types.capabilities import Facts, ModelShape

HOLD_SECONDS = 600.0  # for so long it must be so, on top of the 5 minutes over which it is measured
ENOUGH_REQUESTS = 50.0  # finished in 5 minutes
ENOUGH_DRAFTED = 1000.0  # tokens drafted in 5 minutes
NO_HITS, SOME_HITS = 0.005, 0.02  # what is shown as 0 %, and what takes the advice back
LEAST, BETTER = 0.10, 1.25  # least cost of a drafted token; how far above it drafting must pay again
MOST = 12  # the CRD's maxItems
_LONGEST = 512


def advise(
    view: TierView, spec: ModelTierSpec, findings: Iterable[Finding], state: TierState, now: float
) -> tuple[tuple[Advice, ...], TierState]:
    """The advice on one tier that is served, sorted by reason, and the state it leaves. `findings`: everything that
    the checks found, fatal ones included. `now`: seconds since the epoch."""
    given: dict[str, list[str]] = {}
    for finding in findings:
        said = f"It runs, and would be refused today: {finding.message}" if finding.fatal else finding.message
        given.setdefault(finding.reason, []).append(said)
    if view.metadata_error:
        given[reasons.MODEL_NOT_READ] = [f"Whether the model fits was not checked: {view.metadata_error}"]
    measured, state = _measured(view, spec, state, now)
    given |= {reason: [message] for reason, message in measured}
    advice = (
        Advice(reason, truncate("; ".join(dict.fromkeys(said)), _LONGEST)) for reason, said in sorted(given.items())
    )
    shown = tuple(advice)[:MOST]
    advised = tuple(each.reason for each in shown)
    return shown, replace(state, advised=advised, advised_for=view.tier.generation)


def _measured(
    view: TierView, spec: ModelTierSpec, state: TierState, now: float
) -> tuple[list[tuple[str, str]], TierState]:
    same = state.advised_for == view.tier.generation
    shown = set(state.advised) if same else set()
    since = dict(state.doubts) if same else {}
    given, doubts = [], []
    for reason, message, bad in _findings(spec, view.signals, effective_facts(spec, view.facts)):
        first = since.get(reason, now)
        if reason in shown:
            if bad is not False:
                given.append((reason, message))
        elif bad:
            if now - first >= HOLD_SECONDS:
                given.append((reason, message))
            doubts.append((reason, first))
    return given, replace(state, doubts=tuple(doubts))


def _findings(spec: ModelTierSpec, signals: TierSignals, facts: Facts) -> Iterator[tuple[str, str, bool | None]]:
    """Each thing that is measured: its reason, the sentence, and whether it does not pay (None: that is not known)."""
    if spec.caching.prefix == "Enabled":
        message = "No prompt token is found in the prefix cache: the prompts of this tier begin differently"
        yield reasons.PREFIX_CACHE_UNUSED, message, _unused(signals)
    if spec.speculation.mode != "Disabled" and spec.speculation.method is not None:
        cost = draft_cost(facts)
        message = f"Fewer than {cost:.0%} of the drafted tokens are accepted: drafting costs more than it saves"
        yield reasons.SPECULATION_SLOWS, message, _slows(signals, cost)


def _unused(signals: TierSignals) -> bool | None:
    hits, finished = signals.prefix_hit_ratio, signals.finished_requests
    if not hits.has_value or not finished.has_value or finished.value < ENOUGH_REQUESTS:
        return None
    return True if hits.value < NO_HITS else False if hits.value >= SOME_HITS else None


def _slows(signals: TierSignals, cost: float) -> bool | None:
    accepted, drafted = signals.accepted_ratio, signals.drafted_tokens
    if not accepted.has_value or not drafted.has_value or drafted.value < ENOUGH_DRAFTED:
        return None
    return True if accepted.value < cost else False if accepted.value >= min(1.0, BETTER * cost) else None


def draft_cost(facts: Facts) -> float:
    """What drafting one token costs, as a share of a pass of the model itself; LEAST where that is not known."""
    draft, model = _size(facts.draft), _size(facts.model)
    return LEAST if draft is None or model is None else min(1.0, max(LEAST, draft / model))


def _size(shape: ModelShape | None) -> float | None:
    """Bytes of the weights, or a number in proportion to it."""
    if shape is None:
        return None
    if shape.weight_bytes is not None:
        return float(shape.weight_bytes)
    return None if shape.parameters is None else shape.parameters * (4.0 if shape.dtype == "float32" else 2.0)
