"""Removes from the cluster's own texts what changes by itself.

A message that is kept (in a condition, in the status) must be the same bytes as long as it means the same, or it is
written for ever. Retry counters and the random names of pods that were never created are therefore left out, and of an
engine's last output only the line that names the cause is kept.
"""

from __future__ import annotations

import re

_BACK_OFF = re.compile(r'^Back-off pulling image "([^"]*)":? ?(?:ErrImagePull: )?')
_RANDOM_POD = re.compile(r'\bpods "[^"]*"')
_SPACES = re.compile(r"\s+")
# An engine's last line becomes a condition, which more people may read than the Secret that it may have printed.
_SECRET = re.compile(
    r"\b(?:hf_|sk-|nvapi-|ghp_)[A-Za-z0-9_-]{20,}"
    r"|(?<=earer )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^\s/@]+(?=@)"
)
_HIDDEN = "***"
_ERROR_LINE = re.compile(r"\b[A-Za-z_.]*(?:Error|Exception)\b:? ?\S|\berror:", re.ASCII)
# The engine's last word is often only that some other process of its own has failed.
_SYMPTOM = re.compile(r"Engine core initialization failed|See root cause above|Engine process failed to start")


def truncate(text: str, length: int) -> str:
    """`text`, or its beginning and an ellipsis, in at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def sanitize(text: str) -> str:
    """`text` on one line, without the random name of a pod that was never made and without what looks like a key."""
    return _SECRET.sub(_HIDDEN, _RANDOM_POD.sub("pods", _SPACES.sub(" ", text).strip()))


def pull_failure(message: str) -> str:
    """The lasting part of a kubelet's message about an image: attempt and back-off alternate, the cause does not."""
    text = sanitize(message)
    back_off = _BACK_OFF.match(text)
    if back_off is None:
        return text
    return text[back_off.end() :] or f"image {back_off.group(1)} cannot be pulled"


def last_words(message: str) -> str:
    """The line of an engine's last output that names the cause: its last error that is not a mere symptom of another
    one, else its last line."""
    lines = [line for line in (sanitize(line) for line in message.splitlines()) if line]
    causes = [line for line in lines if _ERROR_LINE.search(line) and not _SYMPTOM.search(line)]
    chosen = (causes or lines or [""])[-1]
    return truncate(chosen, 400)
