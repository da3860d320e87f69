"""Checks `tierwise calibrate` on the real engine: its fit says what it was not fitted to, within a fifth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vllm.conftest import told
from tests.vllm.routed import engine
from tierwise_cli.main import main
from tierwise_sim.calibrate_command import GOOD_PERCENT
from tierwise_sim.calibrated import read

pytestmark = pytest.mark.vllm
BATCHED = 1024


def test_the_fit_says_what_it_was_not_fitted_to(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    loads = ["--users", "1", "3", "8", "--prompt-tokens", "100", "600", "--output-tokens", "32", "64"]
    options = ["--max-num-batched-tokens", str(BATCHED)]
    with engine(models / "slow", tmp_path, [f"--max-num-batched-tokens={BATCHED}"]) as url, told("calibrating"):
        code = main(["calibrate", "--url", url, "--out", str(out), *options, *loads])
    found = read(out)
    assert [each.load.output_tokens for each in found.judged if not each.fitted] == [32, 32, 64]
    assert found.inter_token_error is not None
    assert found.ttft_error is not None
    assert max(found.inter_token_error, found.ttft_error) * 100 <= GOOD_PERCENT
    assert code == 0
