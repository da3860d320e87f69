"""Makes errors as OpenAI's API answers them, so that every client library reads them.

The message says what happened and what to do; it holds no prompt, no key and no address of a replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "invalid_request_error", 429: "rate_limit_error"}


@dataclass
class ClientError(Exception):
    """An answer that is an error. `close`: the connection cannot be used any more."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False

    def body(self) -> bytes:
        """The JSON body."""
        return error_json(self.status, self.message, self.code, self.param)


def error_json(status: int, message: str, code: str | None = None, param: str | None = None) -> bytes:
    """`{"error": {...}}`; the type follows the status."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
