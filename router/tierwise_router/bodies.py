"""Bounds the memory that the bodies of all requests take together, each until its answer begins.

A bound on each body alone bounds nothing: a few dozen clients with large ones would take all the memory that the
process may have. What no longer fits is refused with 503 and not read on more slowly, since a connection that is not
read from does not show that its client has gone. A quarter is kept for small bodies, so that a few large ones do not
shut everybody else out. Nothing is asked for again once its client has got some of the answer, so the body goes then:
thousands of streams may be open, and last for minutes.
"""

from __future__ import annotations

from tierwise_router.http_request import Request
from tierwise_router.openai_error import ClientError

MOST_BYTES = 128 << 20
"""Of all bodies together. A body is in memory up to three times while it is sent on, so a router of 1 GiB has room."""
SMALL_BYTES = 1 << 20
RETRY_AFTER_SECONDS = 5


class Bodies:
    """Of one process. `used` are the bytes held now; what is over `most` is refused and counted."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self.used = 0
        self.refused = 0

    def expect(self, size: int) -> None:
        """A body of this size is announced. Raises ClientError (503) where there is no room for it now; nothing is
        set aside for it, since a client may announce what it never sends."""
        self._check(size, size)

    def take(self, request: Request, size: int) -> None:
        """So many bytes more of a body have come. Raises ClientError (503) where there is no room for them."""
        self._check(size, max(request.held + size, request.length or 0))
        self.used += size
        request.held += size

    def give_back(self, request: Request) -> None:
        """Its answer has begun, the request has ended, or its body will not be read; may be said more than once."""
        self.used -= request.held
        request.held = 0

    def _check(self, more: int, body: int) -> None:
        most = self._most if body <= SMALL_BYTES else self._most - self._most // 4
        if self.used + more > most:
            self.refused += 1
            raise ClientError(
                503,
                "the bodies of other requests take all the memory there is for them; try again later",
                code="bodies_full",
                headers={"retry-after": str(RETRY_AFTER_SECONDS)},
                close=True,
            )
