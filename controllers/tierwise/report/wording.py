"""How does a reason become a sentence that a person can act on?

What happened comes first, what to do about it last: the remedy of the table is added unless the sentence has it
already. A message holds nothing that changes by itself (no ages, no retry counters, no random names inside the
cluster's own texts): a status that says the same thing twice must be the same bytes twice, or it is written for ever.
"""

from __future__ import annotations

import re

from tierwise.reasons import Reason, table

MESSAGE_LENGTH = 1024
_NOTHING = "Nothing."
_TABLE: dict[str, Reason] = {reason.word: reason for reason in table()}
_BACK_OFF = re.compile(r'^Back-off pulling image "([^"]*)":? ?(?:ErrImagePull: )?')
_RANDOM_POD = re.compile(r'\bpods "[^"]*"')
_SPACES = re.compile(r"\s+")
_ERROR_LINE = re.compile(r"\b[A-Za-z_.]*(?:Error|Exception)\b:? ?\S|\berror:", re.ASCII)
# The engine's last word is often only that some other process of its own has failed.
_SYMPTOM = re.compile(r"Engine core initialization failed|See root cause above|Engine process failed to start")


def say(reason: str, detail: str = "") -> str:
    """One message for `reason`: `detail` (or what the reason means), then what to do, within 1024 characters.

    Raises KeyError for a reason that is not in the table."""
    entry = _TABLE[reason]
    text = clean(detail) or entry.meaning
    if entry.remedy == _NOTHING or entry.remedy.rstrip(".") in text:
        return clip(text, MESSAGE_LENGTH)
    text = clip(text, MESSAGE_LENGTH - len(entry.remedy) - 2)
    return f"{text}{'' if text.endswith(('.', '…')) else '.'} {entry.remedy}"


def remedy(reason: str) -> str:
    """What a person should do about `reason`; empty when nothing is to be done or the word is not ours."""
    entry = _TABLE.get(reason)
    return "" if entry is None or entry.remedy == _NOTHING else entry.remedy


def clip(text: str, length: int) -> str:
    """`text`, or its beginning and an ellipsis, in at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def clean(text: str) -> str:
    """`text` on one line, without the random name of a pod that was never made."""
    return _RANDOM_POD.sub("pods", _SPACES.sub(" ", text).strip())


def pull_failure(message: str) -> str:
    """The lasting part of a kubelet's message about an image: attempt and back-off alternate, the cause does not."""
    text = clean(message)
    back_off = _BACK_OFF.match(text)
    if back_off is None:
        return text
    return text[back_off.end() :] or f"image {back_off.group(1)} cannot be pulled"


def last_words(message: str) -> str:
    """The line of an engine's last output that names the cause: its last error that is not a mere symptom of another
    one, else its last line."""
    lines = [line for line in (clean(line) for line in message.splitlines()) if line]
    causes = [line for line in lines if _ERROR_LINE.search(line) and not _SYMPTOM.search(line)]
    chosen = (causes or lines or [""])[-1]
    return clip(chosen, 400)
