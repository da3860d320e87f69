"""Follows the quality of a route from what its routers have counted, and moves the share where that is proven wrong.

The status is all that is remembered: the verdicts of the last two weeks by day, what the alarm remembers, and what each
router had counted. What has come since is added to that, so a status that is not written, or is written by another
operator, counts nothing twice. After a change of the share its effect is measured from nothing: what was measured
before is of another split of the requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute_status import (
    MOST_LEASES,
    QualityDay,
    QualityMove,
    QualityStatus,
    QualityWatch,
    RouterVerdicts,
)
from tierwise.routing.adaptation import Day, Evidence, next_move, quality
from tierwise.routing.alarm import E_ALARM, FALL, Watch, e_value, watch
from tierwise.routing.quality import PERFECT, Audit, Interval, Tally
from tierwise.times import rfc3339, seconds
from tierwise.types import VerdictCounts

DAYS = 14
MOST_MOVES = 8
MOST_AGAIN = 4_000
"""More verdicts on second answers than that are halved: the reference tier may change as well."""
ACCEPT_DAYS = 7
_DAYS_PER_MONTH = 30
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Aim:
    """What the route promises, and what can be moved for it. `target`: quality, 0 to 1; `share`: percent of the
    requests that the reference tier is to get; each None where the route has none. `held`: the share is not to be moved
    now, since a full reference tier moves it. `classifier`: the digest of the file that all routers use, empty where
    they do not agree on one."""

    target: float | None = None
    share: float | None = None
    held: bool = False
    classifier: str = ""


def measure(
    before: QualityStatus | None,
    spec: RouteQuality,
    aim: Aim,
    routers: Mapping[str, VerdictCounts | None],
    now: float,
) -> QualityStatus:
    """The quality from now on. `routers`: by the UID of the pods that there are, what each has counted (None: not
    known). `now`: seconds since the epoch."""
    old = for_classifier(before or QualityStatus(since=rfc3339(now)), aim.classifier, now)
    known = {one.router: _counts(one.counts) for one in old.routers}
    grown = VerdictCounts()
    for uid, counts in sorted(routers.items()):
        if counts is not None:
            grown += counts.since(known.get(uid, VerdictCounts()))
            known[uid] = counts
    listed = [RouterVerdicts(router=uid, counts=list(astuple(known[uid]))) for uid in sorted(routers) if uid in known]
    days = _days(old, grown, now)
    audit = _audit(spec)
    again = _again(old, grown)
    watched = watch(_watch(old.watch), Tally(grown.cheaper_good, grown.cheaper_bad), _per_month(days), _raw_fall(audit))
    alarm = watched.alarm or e_value([Tally(day.good, day.bad) for day in days], watched.usual) >= E_ALARM
    evidence = Evidence(
        days=[_day(day) for day in days],
        whole=int((now - (seconds(old.since) or now)) // _DAY_SECONDS),
        again=again,
        audit=audit,
        run=(watched.run if watched.run.count else _sum(days)) if alarm else None,
        tightened=bool(old.moves) and old.moves[-1].points > 0,
    )
    found = quality(evidence, DAYS)
    if alarm and aim.target is not None and evidence.whole >= ACCEPT_DAYS and found.lower >= aim.target:
        # It is worse than it was, and good enough: that is what is usual from now on.
        watched, alarm = Watch(usual=_sum(days)), False
    measured = old.model_copy(
        update={
            **_figures(found, evidence),
            "again_good": again.good,
            "again_bad": again.bad,
            "watch": _memory(watched, alarm),
            "days": days,
            "routers": listed[:MOST_LEASES],
        }
    )
    return _moved(measured, aim, evidence, now)


def for_classifier(known: QualityStatus, digest: str, now: float) -> QualityStatus:
    """What is known, for the classifier in use. Another file needs another share and makes another split of the
    requests: what was added for the one before, and what is usual with it, says nothing of this one."""
    if not digest or digest == known.classifier_hash:
        return known
    changes: dict[str, object] = {"classifier_hash": digest}
    if known.classifier_hash:
        changes |= {"added_share_percent": 0, "since": rfc3339(now), "days": [], "watch": QualityWatch()}
    return known.model_copy(update=changes)


def _moved(measured: QualityStatus, aim: Aim, evidence: Evidence, now: float) -> QualityStatus:
    if aim.target is None or aim.share is None or aim.held:
        return measured
    found = next_move(evidence, aim.target, aim.share)
    if found is None:
        return measured
    said = shown(found.quality)
    move = QualityMove(at=rfc3339(now), points=found.points, quality=said)
    today = measured.days[-1:] and [QualityDay(day=measured.days[-1].day)]
    return measured.model_copy(
        update={
            "added_share_percent": measured.added_share_percent + found.points,
            "moves": [*measured.moves, move][-MOST_MOVES:],
            "since": rfc3339(now),
            "days": today,
            "watch": _watched_from(measured.watch, found.points),
        }
    )


def _watched_from(before: QualityWatch, points: int) -> QualityWatch:
    """What the alarm remembers when the share changes by so many points.

    With a smaller share the cheaper tiers get harder requests, and answer them less well than was usual: by our own
    doing, and no fall. What a fall is measured against is learned anew. With a larger one that holds on, and so does an
    alarm. Without one the sum begins anew with the days: it is of other requests, and the threshold, which goes by the
    pace of the days that are known, is low as long as they are hours."""
    if points < 0:
        return QualityWatch()
    begun = {"run_good": 0, "run_bad": 0} | ({} if before.alarm else {"sum": QualityWatch().sum})
    return before.model_copy(update=begun)


def shown(found: Interval) -> str:
    """A quality with its interval, in percent: 96.1 (93.8-97.9)."""
    value, lower, upper = (100 * part for part in (found.value, found.lower, found.upper))
    return f"{value:.1f} ({lower:.1f}-{min(999.0, upper):.1f})"


def _figures(found: Interval, evidence: Evidence) -> dict[str, object]:
    total = Day()
    for day in evidence.days:
        total += day
    if not total.cheap.count:
        return {"parity_percent": "", "lower_percent": "", "upper_percent": "", "samples": 0, "share_percent": None}
    return {
        "parity_percent": f"{100 * found.value:.1f}",
        "lower_percent": f"{100 * found.lower:.1f}",
        "upper_percent": f"{min(999.0, 100 * found.upper):.1f}",
        "samples": total.cheap.count,
        "share_percent": round(100 * total.share),
    }


def _days(old: QualityStatus, grown: VerdictCounts, now: float) -> list[QualityDay]:
    """The days until today, those without a verdict too: a window of days is one of the calendar."""
    today = datetime.fromtimestamp(now, UTC).date()
    known = {day.day: day for day in old.days}
    if not known and grown == VerdictCounts():
        return []
    dates = [(today - timedelta(days=back)).isoformat() for back in range(DAYS - 1, -1, -1)]
    dates = [date for date in dates if date >= min([*known, today.isoformat()])]
    days = [known.get(date, QualityDay(day=date)) for date in dates]
    last = days[-1]
    days[-1] = last.model_copy(
        update={
            "good": last.good + grown.cheaper_good,
            "bad": last.bad + grown.cheaper_bad,
            "margin_good": last.margin_good + grown.margin_good,
            "margin_bad": last.margin_bad + grown.margin_bad,
            "sampled": last.sampled + grown.sampled_cheaper + grown.sampled_reference,
            "reference": last.reference + grown.sampled_reference,
        }
    )
    return days


def _day(day: QualityDay) -> Day:
    return Day(
        Tally(day.good, day.bad), Tally(day.margin_good, day.margin_bad), day.sampled, min(day.sampled, day.reference)
    )


def _sum(days: list[QualityDay]) -> Tally:
    return Tally(sum(day.good for day in days), sum(day.bad for day in days))


def _per_month(days: list[QualityDay]) -> float:
    """Verdicts a month, at the pace of the days that are known."""
    return _DAYS_PER_MONTH * _sum(days).count / max(1, len(days))


def _again(old: QualityStatus, grown: VerdictCounts) -> Tally:
    total = Tally(old.again_good + grown.again_good, old.again_bad + grown.again_bad)
    return total if total.count <= MOST_AGAIN else Tally(total.good // 2, total.bad // 2)


def _audit(spec: RouteQuality) -> Audit:
    given = spec.audit
    if given is None:
        return PERFECT
    return Audit(given.good_answers, given.good_judged_good, given.bad_answers, given.bad_judged_bad)


def _raw_fall(audit: Audit) -> float:
    """The fall that is looked for, as the judge shows it."""
    return FALL * max(0.25, audit.sensitivity + audit.specificity - 1)


def _counts(counts: list[int]) -> VerdictCounts:
    """Of the status. What another release has written counts as nothing known."""
    nothing = VerdictCounts()
    return VerdictCounts(*counts) if len(counts) == len(astuple(nothing)) else nothing


def _watch(said: QualityWatch) -> Watch:
    try:
        sum_ = max(0.0, float(said.sum))
    except ValueError:
        sum_ = 0.0
    usual, run = Tally(said.usual_good, said.usual_bad), Tally(said.run_good, said.run_bad)
    return Watch(usual, run, sum_ if sum_ < 1e6 else 0.0, said.alarm and sum_ > 0)


def _memory(watched: Watch, alarm: bool) -> QualityWatch:
    return QualityWatch(
        usual_good=watched.usual.good,
        usual_bad=watched.usual.bad,
        run_good=watched.run.good,
        run_bad=watched.run.bad,
        sum=f"{watched.sum:.4f}",
        alarm=alarm,
    )
