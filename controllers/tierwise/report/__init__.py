"""Turns what happened into status, Events, metrics and an explanation.

`report` is the entry; `change` and `scaled` describe one change of replicas; `should_write` and `EventDeduplicator`
decide what of it reaches the API server.
"""

from __future__ import annotations

from tierwise.report.build import Report, TierReport, report
from tierwise.report.events import EventDeduplicator, scaled
from tierwise.report.status import DECISIONS, change
from tierwise.report.throttle import should_write

__all__ = ["DECISIONS", "EventDeduplicator", "Report", "TierReport", "change", "report", "scaled", "should_write"]
