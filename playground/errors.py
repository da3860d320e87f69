"""What can go wrong with the playground, in words for the person who started it."""

from __future__ import annotations


class PlaygroundError(Exception):
    """Something failed that the user can act on: what happened, and details such as the last log lines."""

    def __init__(self, what: str, details: str = "") -> None:
        """Keep both parts; `str()` shows them one below the other."""
        super().__init__(f"{what}\n{details}" if details else what)
        self.what = what
        self.details = details
