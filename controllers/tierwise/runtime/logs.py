"""Formats log lines.

They are text for people at a terminal, and one JSON object per line for a log store. Times are UTC. kopf logs every
object at length; only its warnings are useful here, since what happened to a tier is in its conditions and Events.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

_CONTEXT = ("tier", "cycle")  # passed as `extra=`: which tier, which cycle


class JsonLines(logging.Formatter):
    """One JSON object per record, keys in a fixed order."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _CONTEXT if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Text(logging.Formatter):
    """Time, level, logger, message."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%SZ")


def configure(level: str, style: str, stream: TextIO = sys.stderr) -> None:
    """Send every record of this process to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if style == "json" else Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    chatty = logging.DEBUG if level == "DEBUG" else logging.WARNING
    for name in ("kopf", "asyncio", "aiohttp", "urllib3", "kubernetes"):
        logging.getLogger(name).setLevel(chatty)
    # These tell at length how kopf ends, and that it does not see the process' signals (it is not meant to). The
    # informer says in one line what there is to say.
    for name in ("kopf._core.reactor.running", "kopf._core.reactor.orchestration"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
