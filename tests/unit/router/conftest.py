"""Runs the tests of connections on both event loops: they differ in what they do with a connection that ends.

The other tests of this folder start the router as a process of its own; they get one loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

pytest.register_assert_rewrite("tests.unit.router.running_router", "tests.unit.router.scripted_upstream")

ON_BOTH = ("test_http_", "test_upstream_")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return loops | {"uvloop": uvloop.new_event_loop} if item.path.name.startswith(ON_BOTH) else loops
