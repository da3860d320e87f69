"""Defines the exceptions, and which of them are worth another try.

One tree, so that the loop needs one `except` per answer and a person reads one kind of sentence: what happened, to
which object, what to do about it.

    TierwiseError
    ├── Invalid            the object says something that cannot be done; only a person can change that
    │   └── Unsupported    ...because the engine version or the GPU does not have it
    ├── Refused            the API server (or a webhook behind it) said no; `status` is the HTTP code
    │   ├── Conflict       409: somebody else wrote first; look again and decide again
    │   ├── Forbidden      403: a missing verb in the Role, or a namespace that is going away
    │   └── Gone           404/410: the object (or its kind) is not there
    └── Transient          nobody answered, or not in time: try again, later each time
"""

from __future__ import annotations

__all__ = ["Conflict", "Forbidden", "Gone", "Invalid", "Refused", "TierwiseError", "Transient", "Unsupported"]


class TierwiseError(Exception):
    """Any failure that Tierwise itself raises. `message` is fit for a condition: no secret, no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(TierwiseError):
    """The object asks for something that cannot be done. Trying again changes nothing."""


class Unsupported(Invalid):
    """The engine version, or the GPU, does not have what the object asks for."""


class Refused(TierwiseError):
    """The API server answered, and the answer was no. `status` is its HTTP code, `reason` Kubernetes' own word."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Conflict(Refused):
    """Somebody else wrote first (409). Look again, decide again; never force."""


class Forbidden(Refused):
    """A verb is missing from the Role, or the namespace is being deleted (403)."""


class Gone(Refused):
    """The object, or its kind, does not exist (404), or the watch is too old (410)."""


class Transient(TierwiseError):
    """Nobody answered, or not in time (connection, timeout, 429, 5xx). `retry_after`: seconds the server asks for."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
