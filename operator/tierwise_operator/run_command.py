"""Runs the operator until it is told to end.

kopf is imported last: whoever only asks for the options of this command has no use for it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from tierwise.runtime import logs
from tierwise_operator.settings import Settings, resolve


def run(given: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; the exit code. Raises TierwiseError, OSError."""
    settings = resolve(vars(given))
    logs.configure(settings.log_level, settings.log_format)
    asyncio.run(_until_signal(settings))
    return 0


async def _until_signal(settings: Settings) -> None:
    from tierwise_operator import app

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await app.run(settings, stop, listening=lambda port: print(f"probes and metrics on port {port}", file=sys.stderr))
