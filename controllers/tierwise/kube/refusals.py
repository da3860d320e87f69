"""Turns an answer of the API server that is not 2xx into an exception of ours.

Both clients use it, the operator's and that of the commands that people type, so that they fail in the same words.
"""

from __future__ import annotations

import json

from tierwise.errors import Conflict, Forbidden, Gone, Refused, TierwiseError, Transient

MESSAGE_LENGTH = 600


def _status_of(body: bytes) -> tuple[str, str]:
    """Message and reason of a metav1.Status; the bare text when a proxy answered instead of the API server."""
    try:
        status = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()[:MESSAGE_LENGTH], ""
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return "", ""  # not an error message: it might be an object, and an object may hold what no log should
    return str(status.get("message") or "")[:MESSAGE_LENGTH], str(status.get("reason") or "")


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:  # an HTTP date, which Kubernetes never sends
        return None


def refusal(what: str, status: int, body: bytes, retry_after: str | None = None) -> TierwiseError:
    """The error for an answer that is not 2xx. `what` names the request: verb, plural, namespace/name."""
    message, reason = _status_of(body)
    text = f"{what}: {message or f'HTTP {status}'}"
    if status == 429 or status >= 500:
        return Transient(text, retry_after=_seconds(retry_after))
    if status == 401:  # a token that is just being rotated: it is read again within a minute
        return Transient(f"{what}: the API server does not accept our credentials (401)")
    kinds: dict[int, type[Refused]] = {403: Forbidden, 404: Gone, 409: Conflict, 410: Gone}
    return kinds.get(status, Refused)(text, status=status, reason=reason)
