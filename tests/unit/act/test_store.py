"""Checks that the in-memory API server keeps the contract of the port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.port import CHECKS
from tests.unit.act.store import Store
from tierwise.ports import Cluster


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_store_keeps_the_contract_of_the_port(check: Callable[[Cluster, str], Awaitable[None]]) -> None:
    await check(Store(), "default")
