"""Writes times as RFC 3339, and reads them back.

Kubernetes writes RFC 3339 in UTC with whole seconds; everything in here is seconds since the epoch.
"""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """Seconds since the epoch as Kubernetes writes times: UTC, whole seconds (rounded down)."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: object) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None for what is no time."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
