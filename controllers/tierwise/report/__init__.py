"""The last room: what happened becomes status, events, metrics and an explanation.

`report` is the door; `should_write` and `Recorder` decide what of it reaches the API server.
"""

from __future__ import annotations

from tierwise.report.compose import Report, TierReport, report
from tierwise.report.events import Recorder
from tierwise.report.throttle import should_write

__all__ = ["Recorder", "Report", "TierReport", "report", "should_write"]
