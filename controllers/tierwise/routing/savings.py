"""Computes what the same work would have cost on the reference tier, and which tactic saved how much of that.

There is one counterfactual: every answer of the window on the declared reference tier, uncached, at the length that the
reference tier gives it. From there the levels go down to what was paid, one tactic after another in a fixed order; each
part is the step between two levels, so the parts add up to the whole by construction and nothing is counted twice. A
tactic that cost more than it saved has a negative part. docs/savings.md has the formula and its sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tierwise.routing.cost import MILLION, NOTHING
from tierwise.routing.length_ratio import LengthRatio, length_ratio
from tierwise.routing.route import Tariff, TokenRates
from tierwise.types.route_work import Answered, RouteWork, Tokens

ROUTING, PREFIX_CACHE, CACHE_WRITES, SPILL = "routing", "prefixCache", "cacheWrites", "spill"
OTHER_RATES, RETRIES, DISCARDED = "otherRates", "retries", "discarded"
JUDGES, SHADOWS = "judges", "shadows"
TACTICS = (ROUTING, PREFIX_CACHE, CACHE_WRITES, SPILL, OTHER_RATES, RETRIES, DISCARDED, JUDGES, SHADOWS)
"""In the order in which they are taken off the counterfactual."""
OUTPUT_WEIGHT = 4
"""A served tier's time says what all its tokens cost together, not what one of each kind does. A generated token counts
as four of a prompt, as on most price lists; how a prompt and its answer mix differs little between tiers, so that this
number nearly cancels."""
_PICODOLLARS = Decimal("1e-12")
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class PricedTier:
    """A tier as far as its price goes. `concurrency`: requests that one replica is given at a time."""

    name: str
    tariff: Tariff
    concurrency: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one tactic has saved, in US dollars; negative where it has cost."""

    tactic: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Savings:
    """Of one route in `window_seconds`, in US dollars. `baseline`: the same work on the reference tier, uncached;
    `cached_baseline`: every prompt from its cache; `lower_baseline`: that, its replicas always full, and the answers as
    short as the pairs allow with 95 % confidence. `notes` are sentences about what was assumed."""

    reference: str
    window_seconds: int
    baseline: Decimal
    cached_baseline: Decimal
    lower_baseline: Decimal
    actual: Decimal
    parts: tuple[Part, ...]
    ratio: LengthRatio
    notes: tuple[str, ...] = ()

    @property
    def saved(self) -> Decimal:
        """Against the reference tier, uncached."""
        return self.baseline - self.actual

    @property
    def saved_percent(self) -> Decimal | None:
        """Percent of the baseline; None where nothing would have cost anything."""
        return _percent(self.baseline, self.actual)

    @property
    def lower_bound_percent(self) -> Decimal | None:
        """Percent that was saved at least: against the lower baseline."""
        return _percent(self.lower_baseline, self.actual)


@dataclass(frozen=True, slots=True)
class NoSavings:
    """Why nothing can be said: a sentence."""

    why: str


def savings(work: RouteWork, ladder: Sequence[PricedTier], reference: str) -> Savings | NoSavings:
    """What the route has saved against `reference`, the name of a tier of `ladder` (cheapest first)."""
    places = {tier.name: place for place, tier in enumerate(ladder)}
    if reference not in places:
        return NoSavings(f"the reference tier {reference} is no tier of this route")
    if not any(tokens.prompt or tokens.output for tokens in work.answers.values()):
        return NoSavings("nothing was answered in this time")
    gone = sorted({who.tier for who in work.answers} - places.keys())
    if gone:
        return NoSavings(f"tier {gone[0]} has answered in this time and is no tier of the route any more")
    rates = {tier.name: token_rates(tier, work) for tier in ladder}
    free = sorted({who.tier for who in work.answers if rates[who.tier] is None})
    if free:
        return NoSavings(f"tier {free[0]} has no price: set price.gpuHour of the ModelTier, or replicaHour in a file")
    own = rates[reference]
    if own is None:
        return NoSavings(
            f"the reference tier {reference} has answered nothing in this time, so what a token costs there is not "
            "known: name a tier with prices per token as referenceTier, or wait until it has answered"
        )
    ratio = length_ratio(work.pairs)
    account = _Account(work, rates, own, places, reference)
    fullness = _fullness(ladder[places[reference]], work)
    baseline, levels = account.baseline(ratio.value), [*account.levels(), *account.overheads()]
    tops = [baseline, *levels[:-1]]
    parts = (Part(tactic, top - level) for tactic, top, level in zip(TACTICS, tops, levels, strict=True))
    return Savings(
        reference=reference,
        window_seconds=work.window_seconds,
        baseline=baseline,
        cached_baseline=account.baseline(ratio.value, cached=True),
        lower_baseline=(account.baseline(ratio.lower, cached=True, fullness=fullness)).quantize(_PICODOLLARS),
        actual=levels[-1],
        parts=tuple(parts),
        ratio=ratio,
        notes=tuple(_notes(work, ratio, reference, account)),
    )


def token_rates(tier: PricedTier, work: RouteWork) -> TokenRates | None:
    """What a token costs in a tier: its list price, or what its time has cost per token in this window.

    A served tier's price for a prompt token is cost / (uncached prompt tokens + OUTPUT_WEIGHT x output tokens): the
    dollars are busy replica seconds x replicaHour / 3600. A cached token costs it nothing. None where it has answered
    nothing, or has no price."""
    tariff = tier.tariff
    if tariff.rates is not None:
        return tariff.rates
    tokens = _sum(tokens for who, tokens in work.answers.items() if who.tier == tier.name)
    weight = tokens.input + tokens.cache_write + OUTPUT_WEIGHT * tokens.output
    if tariff.replica_hour is None or not weight:
        return None
    each = work.costs.get(tier.name, NOTHING) * MILLION / weight
    return TokenRates(each, NOTHING, each, OUTPUT_WEIGHT * each)


@dataclass(frozen=True, slots=True)
class _Account:
    """The levels from the counterfactual down to what was paid."""

    work: RouteWork
    rates: Mapping[str, TokenRates | None]
    reference_rates: TokenRates
    places: Mapping[str, int]
    reference: str

    def baseline(self, ratio: Decimal, *, cached: bool = False, fullness: Decimal = _ONE) -> Decimal:
        """All answers on the reference tier. Those of cheaper tiers get its length; those of dearer ones keep theirs,
        since nobody has compared them. Who asked for a tier by its name would have asked for it anyhow."""
        total = NOTHING
        for who, tokens in self.work.answers.items():
            direct = not who.first
            rates = self._of(who.tier) if direct else self.reference_rates
            longer = not direct and self.places[who.tier] < self.places[self.reference]
            prompt = rates.cached_input if cached else rates.input
            money = tokens.prompt * prompt + (ratio if longer else _ONE) * tokens.output * rates.output
            total += money * (fullness if not direct or who.tier == self.reference else _ONE)
        return _rounded(total / MILLION)

    def levels(self) -> list[Decimal]:
        """What the answers would have cost after routing, prefix cache, cache writes and spilling, and what they cost.

        Before spilling, tokens are priced at the tier that the policy had chosen."""
        routed = cached = written = spilled = NOTHING
        for who, tokens in self.work.answers.items():
            first = self._first(who)
            answer = tokens.output * first.output
            routed += tokens.prompt * first.input + answer
            read = tokens.cached_input * first.cached_input
            cached += (tokens.input + tokens.cache_write) * first.input + read + answer
            written += tokens.input * first.input + tokens.cache_write * first.cache_write + read + answer
            spilled += _price(tokens, self._of(who.tier))
        levels = [_rounded(level / MILLION) for level in (routed, cached, written, spilled)]
        return [*levels, _rounded(sum(self.work.costs.values(), NOTHING))]

    def overheads(self) -> list[Decimal]:
        """What was paid, after each of the costs that gave no answer; the last is all of it."""
        work, level, found = self.work, self.levels()[-1], []
        for amount in (work.failed, work.discarded, work.judges, work.shadows):
            level += _rounded(amount)
            found.append(level)
        return found

    def unpriced(self) -> list[str]:
        """Tiers that were chosen first, have answered nothing themselves, and so have no price."""
        return sorted({who.first for who in self.work.answers if who.first and self.rates.get(who.first) is None})

    def _of(self, tier: str) -> TokenRates:
        rates = self.rates[tier]
        return self.reference_rates if rates is None else rates  # `savings` has looked: there is one

    def _first(self, who: Answered) -> TokenRates:
        return self.rates.get(who.first) or self._of(who.tier)


def _price(tokens: Tokens, rates: TokenRates) -> Decimal:
    return (
        tokens.input * rates.input
        + tokens.cached_input * rates.cached_input
        + tokens.cache_write * rates.cache_write
        + tokens.output * rates.output
    )


def _fullness(tier: PricedTier, work: RouteWork) -> Decimal:
    """How full the replicas of a served reference tier were while they worked, 0 to 1; 1 for a list price.

    A replica that works on n requests of the C that fit would serve at most C / n times as many tokens in the same
    time, so that a token of a full one costs at least n / C of what it did."""
    hour = tier.tariff.replica_hour
    cost = work.costs.get(tier.name, NOTHING)
    if tier.tariff.rates is not None or hour is None or not cost or not hour:
        return _ONE
    busy = cost * 3600 / hour
    return min(_ONE, work.seconds.get(tier.name, NOTHING) / busy / tier.concurrency)


def _notes(work: RouteWork, ratio: LengthRatio, reference: str, account: _Account) -> Iterable[str]:
    if ratio.assumed and ratio.pairs:
        yield f"only {ratio.pairs} pairs: {reference}'s answers are assumed to be as long as the others'"
    elif ratio.assumed:
        yield f"no pairs: {reference}'s answers are assumed to be as long as the others' (ratio 1)"
    if work.uncounted:
        yield f"not counted by the routers, taken as 0: {', '.join(work.uncounted)}"
    for tier in account.unpriced():
        yield f"{tier} has answered nothing itself: what spilled from it is priced where it was answered"


def _percent(baseline: Decimal, actual: Decimal) -> Decimal | None:
    return 100 * (baseline - actual) / baseline if baseline > 0 else None


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_PICODOLLARS)


def _sum(many: Iterable[Tokens]) -> Tokens:
    total = Tokens()
    for tokens in many:
        total += tokens
    return total
