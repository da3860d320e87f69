"""Maps a failed write to a reason and a sentence.

The API server's own message is kept, because it names the object and the field. We add what only we know: that a
webhook that does not answer is KServe's controller, and that a namespace that is being deleted is no fault.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.errors import Conflict, Forbidden, Gone, Refused, TierwiseError, Transient
from tierwise.types import ActionError

_WEBHOOK_SILENT = "failed calling webhook"
_WEBHOOK_DENIED = "denied the request"
_TERMINATING = "is being terminated"
_NAMESPACE_GONE = "namespaces "
_NO_RIGHT = " cannot "


def to_action_error(error: TierwiseError) -> ActionError:
    """The reason and the message of a write that failed. Total: every TierwiseError has an answer."""
    text = error.message
    if isinstance(error, Transient):
        if _WEBHOOK_SILENT in text:
            return ActionError(reasons.KSERVE_NOT_ANSWERING, text, transient=True)
        return ActionError(reasons.API_UNAVAILABLE, text, transient=True)
    if isinstance(error, Conflict):
        return ActionError(reasons.CONFLICT, text, transient=True)
    if isinstance(error, Refused) and (_TERMINATING in text or (isinstance(error, Gone) and _NAMESPACE_GONE in text)):
        return ActionError(reasons.DELETING, text)
    if isinstance(error, Gone):
        return _gone(text)
    if isinstance(error, Forbidden) and _NO_RIGHT in text and _WEBHOOK_DENIED not in text:
        return ActionError(reasons.FORBIDDEN, text)
    return ActionError(reasons.APPLY_REFUSED, text)


def _gone(text: str) -> ActionError:
    if "inferenceservices" in text:
        return ActionError(reasons.KSERVE_MISSING, f"{text}: install KServe")
    return ActionError(reasons.WAITING_FOR_CHILDREN, text, transient=True)
