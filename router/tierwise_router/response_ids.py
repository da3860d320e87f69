"""Names a response so that every router of a route can tell which replica keeps it. Pure.

An engine keeps responses in its own memory, and the next request that continues one must reach the same replica, also
through a router that has never heard of it. vLLM and SGLang call a response what the request's `request_id` says, so
the router gives it a name with a mark of the replica, and no byte of the answer has to be changed. The mark is a hash
of tier, replica and tenant. It says nothing to a reader, is found again by trying the replicas that there are, and does
not fit another tenant: an id that has leaked opens nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

PREFIX = "resp_tw1"
MARK_DIGITS = 16
_OURS = re.compile(PREFIX + r"([0-9a-f]{16})[0-9a-f]{24,}")


def mark(tier: str, replica: str, tenant: str) -> str:
    """What stands for a replica in the names of the responses that it keeps for a tenant."""
    return hashlib.sha256("\0".join((tier, replica, tenant)).encode()).hexdigest()[:MARK_DIGITS]


def name(tier: str, replica: str, tenant: str, chance: str) -> str:
    """A name for a response; `chance` are at least 24 hexadecimal digits that nobody can guess."""
    return PREFIX + mark(tier, replica, tenant) + chance


def mark_of(response_id: str) -> str | None:
    """The mark in a name of ours; None for any other name."""
    ours = _OURS.fullmatch(response_id)
    return None if ours is None else ours.group(1)


def find(wanted: str, tenant: str, replicas: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The tier and the replica that a mark stands for, of these."""
    return next(((tier, replica) for tier, replica in replicas if mark(tier, replica, tenant) == wanted), None)
