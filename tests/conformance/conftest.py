"""The releases that judge: a test that asks for `release` or `code` runs once for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.environments import RELEASES, vllm_code


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Its first two numbers: 0.33."""
    return str(request.param)


@pytest.fixture(scope="module")
def code(release: str) -> Path:
    """The folder of that release's own source."""
    return vllm_code(release)
