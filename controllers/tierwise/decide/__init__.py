"""Decides how many replicas each tier has, and why, and how the tiers of a route are reached.

It is pure: the same snapshot and the same state give the same plan, to the last byte, on any machine and at any time.
"""

from __future__ import annotations

from tierwise.decide.fleet import Allocation
from tierwise.decide.plan import decide, decide_in_turns
from tierwise.decide.pools import held, share
from tierwise.decide.routes import plan_routes
from tierwise.decide.spec_checks import SpecChecks
from tierwise.decide.standing import again, stands
from tierwise.decide.state_codec import remember, resume

__all__ = [
    "Allocation",
    "SpecChecks",
    "again",
    "decide",
    "decide_in_turns",
    "held",
    "plan_routes",
    "remember",
    "resume",
    "share",
    "stands",
]
