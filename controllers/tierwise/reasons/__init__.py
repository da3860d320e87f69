"""Holds the one table of reasons: the words for what happened, and what to do about each.

One table. A condition, an Event, a metric label and `tierwise explain` use the same constant; docs/conditions.md is
generated from this table and a test refuses a reason that is not in it. The words stand in two files: what is said of a
spec before anything runs (`specs`), and what is said of what runs (`states`). Everybody imports them from here.
"""

from __future__ import annotations

from tierwise.reasons.runtime_reasons import *
from tierwise.reasons.spec_reasons import *
from tierwise.reasons.table import *
