"""Opens the page in a real browser, where there is one: it must fit the screen, and the console must stay empty."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.simulator.report_page.results import external, savings, simulation, tier_result, wave
from tierwise_sim.report_page.page import page

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), "")
LONG = "a-tier-with-a-name-as-long-as-kubernetes-allows-" + "x" * 15

pytestmark = pytest.mark.skipif(not BROWSER, reason="needs Chromium")


def browse(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What the browser writes; its console goes to stderr."""
    return subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options, file.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiers = [tier_result(LONG, timeline=wave()), external()]
    results = [
        simulation(tiers, met=met, what_if=(f"{LONG}.scaling.maxReplicas={met}",), saved=savings()) for met in (9, 99)
    ]
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page(results), encoding="utf-8")
    return file


def test_the_browser_has_nothing_to_say(report: Path) -> None:
    done = browse(report, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert "<svg" in done.stdout


def test_the_console_is_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<script>console.error('seen')</script>")
    assert "CONSOLE" in browse(broken, "--dump-dom").stderr


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_no_wider_than_the_screen(report: Path, tmp_path: Path, width: int) -> None:
    frame = tmp_path / "frame.html"  # a script of ours measures the page from outside; the page itself lets none run
    frame.write_text(
        "<body><script>onload = () => { const page = document.querySelector('iframe').contentDocument;"
        "document.body.dataset.width = page.documentElement.scrollWidth }</script>"
        f"<iframe src='{report.as_uri()}' style='width:{width}px;height:900px;border:0'>"
    )
    done = browse(frame, "--dump-dom", "--allow-file-access-from-files", "--window-size=1400,1000")
    found = re.search(r'data-width="(\d+)"', done.stdout)
    assert found is not None
    assert int(found[1]) <= width
