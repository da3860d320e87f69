"""Turns a reason into a sentence that a person can act on.

What happened comes first, what to do about it last: the remedy of the table is added unless the sentence has it
already. A message holds nothing that changes by itself (no ages; `tierwise.text_sanitize` takes the rest out of the
cluster's own texts): a status that says the same thing twice must be the same bytes twice, or it is written for ever.
"""

from __future__ import annotations

from tierwise.reasons import Reason, table
from tierwise.text_sanitize import sanitize, truncate

MESSAGE_LENGTH = 1024
_NOTHING = "Nothing."
_TABLE: dict[str, Reason] = {reason.word: reason for reason in table()}


def message_for(reason: str, detail: str = "") -> str:
    """One message for `reason`: `detail` (or what the reason means), then what to do, within 1024 characters.

    Raises KeyError for a reason that is not in the table."""
    entry = _TABLE[reason]
    text = sanitize(detail) or entry.meaning
    if entry.remedy == _NOTHING or entry.remedy.rstrip(".") in text:
        return truncate(text, MESSAGE_LENGTH)
    text = truncate(text, MESSAGE_LENGTH - len(entry.remedy) - 2)
    return f"{text}{'' if text.endswith(('.', '…')) else '.'} {entry.remedy}"


def remedy(reason: str) -> str:
    """What a person should do about `reason`; empty when nothing is to be done or the word is not ours."""
    entry = _TABLE.get(reason)
    return "" if entry is None or entry.remedy == _NOTHING else entry.remedy
