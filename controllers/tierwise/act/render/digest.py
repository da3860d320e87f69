"""Makes a short digest of what was rendered, so that a field that is no longer rendered shows."""

from __future__ import annotations

import hashlib
import json


def digest(value: object) -> str:
    """Sixteen characters that change with the value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
