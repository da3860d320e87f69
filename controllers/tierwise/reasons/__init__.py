"""Holds the one table of reasons: the words for what happened, and what to do about each.

A condition, an Event, a metric label and `tierwise explain` use the same constant. docs/conditions.md is generated from
this table, and a test refuses a reason that is not in it. The reasons are in six files: about a spec before anything
runs (`spec_reasons`), about what runs (`runtime_reasons`), about routes (`route_reasons`), about choosing a tier by
content (`content_reasons`), about measured quality (`quality_reasons`), and about pools (`pool_reasons`). Import them
from here.
"""

from __future__ import annotations

from tierwise.reasons.content_reasons import *
from tierwise.reasons.pool_reasons import *
from tierwise.reasons.quality_reasons import *
from tierwise.reasons.route_reasons import *
from tierwise.reasons.runtime_reasons import *
from tierwise.reasons.spec_reasons import *
from tierwise.reasons.table import *
