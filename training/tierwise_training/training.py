"""Makes a classifier and its findings from labels: from lines of a file to the bytes that routers read.

A classifier that must not be used is made all the same, and says so: with too few labels, or where nothing can be
promised below sending everything to the reference tier. Routers then go by rules, and the file tells why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from tierwise.errors import Invalid
from tierwise.routing.classifier import FILE_VERSION, Classifier, CurvePoint, Header, quantiles_of, salt_check
from tierwise.routing.cost import Usage, token_cost
from tierwise.routing.promise import SHARES, Step, curve, promised_share, taken
from tierwise.routing.question import question_of
from tierwise.routing.route import TokenRates
from tierwise.routing.text_features import VERSION as FEATURES_VERSION
from tierwise.routing.text_features import Features, TextFacts, features_of
from tierwise_training import findings, model
from tierwise_training.findings import Findings
from tierwise_training.labels import Label
from tierwise_training.model import Model, Questions, Reals
from tierwise_training.weighting import effective, weights_of

LEAST_LABELS = 300
"""With fewer, nothing is promised: the interval alone costs 20 points of large calls, and the classifier knows
little."""
LEAST_TO_FIT = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to train for. `created_at` is RFC 3339; `salt` the secret that features were hashed with; `prices` are by
    tier, and those that are missing are not guessed."""

    quality_percent: int = 95
    created_at: str = ""
    salt: bytes = b""
    prices: Mapping[str, TokenRates] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Trained:
    """The classifier, and what was found about it."""

    classifier: Classifier
    findings: Findings


def train(labels: Sequence[Label], wanted: Wanted, unlabelled: Sequence[Features] = ()) -> Trained:
    """Learn from the labels of one route whose verdicts are known. `unlabelled` are features of requests as they come;
    with them a share is a quantile of their scores, without them of the labelled ones.

    Raises Invalid when the labels are of several routes or tiers, or too few to learn anything."""
    known = [each for each in labels if each.known]
    route, small, large = _names(known)
    asked = questions_of(known, wanted.salt)
    scores = model.out_of_fold(asked)
    fitted = model.fit(asked)
    steps = curve(scores, asked.small, asked.large, wanted.quality_percent, weights=asked.weights)
    share = promised_share(steps)
    counts_as = effective(asked.weights, len(known))
    refusal = _refusal(len(known), counts_as, share, wanted.quality_percent, large)
    header = _header(fitted, wanted, steps).model_copy(
        update={
            "route": route,
            "from_tier": small,
            "reference_tier": large,
            "labels_hash": labels_hash(known),
            "labels": len(known),
            "large_share_percent": float(100 if share is None else share),
            "refusal": refusal,
            "thresholds": quantiles_of(_scores_of(fitted, unlabelled).tolist())
            if len(unlabelled) >= LEAST_TO_FIT
            else _quantiles(scores, asked.weights),
        }
    )
    naive = [step.share_percent for step in steps if step.quality_percent >= wanted.quality_percent]
    to_reference, to_from = findings.sent(scores, asked, 100 if share is None else share)
    apgr, between = findings.apgr(scores, asked)
    found = Findings(
        route=route,
        from_tier=small,
        reference_tier=large,
        labels=len(known),
        counts_as=counts_as,
        not_known=len(labels) - len(known),
        groups=len(set(asked.blocks)) if any(each.group for each in known) else 0,
        from_right_percent=100 * float(np.average(asked.small, weights=asked.weights)),
        reference_right_percent=100 * float(np.average(asked.large, weights=asked.weights)),
        quality_percent=wanted.quality_percent,
        share=share,
        refusal=refusal,
        apgr=apgr,
        apgr_interval=between,
        naive_share=min(naive),
        curve=steps,
        costs=_costs(known, scores, asked.weights, wanted.prices or {}),
        to_reference=to_reference,
        to_from=to_from,
        sizes=findings.deciding_sizes(fitted, asked),
        words=findings.deciding_words(fitted, [_question(each)[0] for each in known if each.prompt], wanted.salt),
        learned=findings.learned(asked, scores, wanted.quality_percent),
        more=findings.more(asked, scores, wanted.quality_percent),
    )
    return Trained(Classifier(header, fitted.weights.astype("<f2").astype(np.float32), wanted.salt), found)


def questions_of(labels: Sequence[Label], salt: bytes = b"") -> Questions:
    """Rows of labels whose verdicts are known. A row's block is the label's group, else a block of its own when others
    have groups. Where a question comes again, as it does in traffic, it is one block: a model that has seen it would
    look better than it is. Raises Invalid when a label has neither prompt nor features that can be read, or when only
    some say their sampling rate."""
    hashes = [each.prompt_hash for each in labels]
    grouped = any(each.group for each in labels) or len(set(hashes)) < len(hashes)
    return model.questions(
        [_features(each, salt) for each in labels],
        [bool(each.small.right) for each in labels],
        [bool(each.reference.right) for each in labels],
        [each.group or f"\0{each.prompt_hash}" for each in labels] if grouped else None,
        weights_of(labels),
    )


def labels_hash(labels: Sequence[Label]) -> str:
    """Names what was learned from: prompts and verdicts, whatever the order of the lines."""
    facts = sorted(f"{each.id}\0{each.prompt_hash}\0{each.small.right}\0{each.reference.right}" for each in labels)
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _features(label: Label, salt: bytes) -> Features:
    if label.prompt is not None:
        return features_of(*_question(label), salt)
    if label.features is None:
        raise Invalid(f"label {label.id} has neither a prompt nor features")
    return Features.from_json(label.features)


def _question(label: Label) -> tuple[bytes, TextFacts]:
    asked = label.prompt
    return question_of({"prompt" if isinstance(asked, str) else "messages": asked, "tools": label.tools})


def _names(known: Sequence[Label]) -> tuple[str, str, str]:
    if len(known) < LEAST_TO_FIT:
        raise Invalid(
            f"{len(known)} labels have a verdict for both tiers; {LEAST_TO_FIT} are the least to learn from, "
            f"{LEAST_LABELS} the least to promise anything"
        )
    named = sorted({(each.route, each.from_tier, each.reference_tier) for each in known})
    if len(named) > 1:
        several = "; ".join(f"route {route}: {small} and {large}" for route, small, large in named)
        raise Invalid(
            f"the labels are of several routes or tiers ({several}): train for one, see --route, --from, --reference"
        )
    return named[0]


def _quantiles(scores: Reals, weights: Reals | None) -> tuple[float, ...]:
    """The thresholds of a header: quantiles of the requests that the labels stand for."""
    if weights is None:
        return quantiles_of(scores.tolist())
    found = np.quantile(scores, np.linspace(1.0, 0.0, 101), weights=weights, method="inverted_cdf")
    return tuple(float(value) for value in found)


def _refusal(labels: int, counts_as: int, share: int | None, quality_percent: int, large: str) -> str:
    if counts_as < LEAST_LABELS:
        weighed = f", which count as {counts_as} of one sampling rate" if counts_as < labels else ""
        return (
            f"learned from {labels} labels{weighed}, and {LEAST_LABELS} are the least with which anything is promised"
        )
    if share is None or share >= 100:
        return f"{quality_percent} % of {large}'s right answers can be promised only if {large} answers everything"
    return ""


def _header(fitted: Model, wanted: Wanted, steps: tuple[Step, ...]) -> Header:
    """What the file says, but for what `train` knows better."""
    return Header(
        version=FILE_VERSION,
        features_version=FEATURES_VERSION,
        route="",
        from_tier="",
        reference_tier="",
        labels_hash="",
        labels=0,
        created_at=wanted.created_at,
        quality_percent=wanted.quality_percent,
        large_share_percent=100,
        salt_check=salt_check(wanted.salt),
        intercepts=_pair(fitted.intercepts),
        size_means=tuple(fitted.size_means.tolist()),
        size_deviations=tuple(fitted.size_deviations.tolist()),
        size_weights=tuple(_pair(row) for row in fitted.size_weights),
        gain_mean=fitted.gain_mean,
        gain_deviation=fitted.gain_deviation,
        groups=fitted.groups,
        thresholds=(0.0,) * 101,
        curve=tuple(
            CurvePoint(
                share_percent=step.share_percent,
                quality_percent=step.quality_percent,
                lower_percent=step.lower_percent,
            )
            for step in reversed(steps)
        ),
    )


def _pair(values: Reals) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _scores_of(fitted: Model, found: Sequence[Features]) -> Reals:
    nothing = [False] * len(found)
    return fitted.scores(model.questions(found, nothing, nothing))


def _costs(
    known: Sequence[Label], scores: Reals, weights: Reals | None, prices: Mapping[str, TokenRates]
) -> dict[int, float]:
    """Percent of what the reference tier alone would have cost for these prompts; empty unless all of it is known."""
    small, large = known[0].from_tier, known[0].reference_tier
    if small not in prices or large not in prices:
        return {}
    costs: list[tuple[Decimal, Decimal]] = []
    stands_for = np.ones(len(known)) if weights is None else weights
    for each, weight in zip(known, stands_for.tolist(), strict=True):
        if each.small.tokens is None or each.reference.tokens is None:
            return {}
        both = ((each.small.tokens, prices[small]), (each.reference.tokens, prices[large]))
        cheap, dear = (token_cost(Usage(input=tokens.input, output=tokens.output), rates) for tokens, rates in both)
        costs.append((cheap * Decimal(weight), dear * Decimal(weight)))
    order = np.argsort(-scores, kind="stable")
    whole = sum((dear for _, dear in costs), Decimal(0))
    if not whole:
        return {}
    found = {}
    for share in SHARES:
        first = set(order[: taken(stands_for[order], share)].tolist())
        spent = sum((costs[row][1] if row in first else costs[row][0] for row in range(len(known))), Decimal(0))
        found[share] = float(100 * spent / whole)
    return found
