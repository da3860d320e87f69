"""Checks how two timelines are compared, how the playground is read, and that the page prints what was found."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.agreement import compare, picture, play, results, scene
from tools.agreement.compare import Timeline
from tools.agreement.play import Played, Watch
from tools.agreement.simulated import simulate

STEPS = st.lists(st.tuples(st.floats(0, 700), st.integers(0, 9)), min_size=1, max_size=8).map(
    lambda steps: sorted(steps)
)


@given(STEPS, STEPS)
def test_the_share_is_that_of_a_close_look(one: compare.Steps, other: compare.Steps) -> None:
    count = 3000
    looks = [600.0 * (place + 0.5) / count for place in range(count)]
    near = sum(abs(compare.value(one, at) - compare.value(other, at)) <= 1 for at in looks) / count
    assert compare.share_near(one, other, 600.0) == pytest.approx(near, abs=0.01)


@given(STEPS)
def test_a_timeline_is_always_near_itself(steps: compare.Steps) -> None:
    assert compare.share_near(steps, steps, 600.0, most=0) == pytest.approx(1.0)


def test_two_apart_for_a_quarter_of_the_time_is_three_quarters() -> None:
    assert compare.share_near([(0.0, 1)], [(0.0, 1), (300.0, 3), (450.0, 2)], 600.0) == pytest.approx(0.75)
    assert compare.mean([(0.0, 1), (300.0, 3)], 600.0) == pytest.approx(2.0)


def test_nothing_recorded_is_not_taken_for_agreement() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        compare.share_near([], [(0.0, 1)], 600.0)


def test_the_watch_reads_what_kubectl_prints() -> None:
    watch = Watch()
    for at, text in enumerate(["1 ", "1 1\n", "3 1\n", "3 1\n", "3 3\n"]):
        watch.line(100.0 + at, text)
    timeline = watch.since(101.5)
    assert timeline.asked == [(0.0, 1), (0.5, 3)]
    assert timeline.ready == [(0.0, 1), (2.5, 3)]


def test_a_start_is_from_the_creation_of_a_pod_to_its_readiness() -> None:
    def pod(name: str, status: str) -> dict[str, object]:
        condition = {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:25Z"}
        return {
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [condition]},
        }

    pods = [pod("small-predictor-a", "True"), pod("small-predictor-b", "False"), pod("chat-router", "True")]
    assert play.startups(pods) == [25.0]


def test_both_sides_get_the_same_requests_and_enough_of_them() -> None:
    name, requests = scene.arrivals({})
    again = scene.arrivals({})
    assert (name, requests) == again
    assert len(requests) / scene.SECONDS == pytest.approx(scene.RATE, rel=0.1)
    assert requests[-1].at < scene.SECONDS


def test_the_simulation_of_the_scene_has_something_to_compare() -> None:
    name, requests = scene.arrivals({})
    timeline = simulate(name, [each for each in requests if each.at < 240], 25.0)
    assert timeline.asked[0] == (0.0, 1)
    assert max(value for _, value in timeline.asked) >= 2
    assert compare.share_near(timeline.asked, timeline.ready, 240.0) > 0


PLAYED = Played(Timeline([(0.0, 1), (100.0, 3)], [(0.0, 1), (130.0, 3)]), 24.5, 1300, 2, 0.4)
SIMULATED = Timeline([(0.0, 1), (100.0, 2)], [(0.0, 1), (400.0, 2)])


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    made = json.loads(json.dumps(results.made("a trace", 1302, PLAYED, SIMULATED)))
    assert made["near"] == {"asked": 1.0, "ready": pytest.approx(0.55)}
    assert not results.kept_promise(made)
    path = tmp_path / results.RESULTS
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made))
    files = results.files(tmp_path)
    text = files[results.PAGE]
    assert "100.0 % of the time" in text
    assert "55.0 %. Wanted: 95 % of both, missed." in text
    assert "24.5 s to start" in text
    assert all(len(line) <= 120 or line.startswith("|") for line in text.splitlines())
    root = ET.fromstring(files[results.PICTURE])
    paths = [each.get("class") for each in root.iter("{http://www.w3.org/2000/svg}path")]
    assert paths.count("real") == paths.count("made") == 1 + len(picture.KINDS)


def test_what_earlier_runs_found_is_kept_and_said() -> None:
    once = results.made("a trace", 1302, PLAYED, SIMULATED)
    twice = results.made("a trace", 1302, PLAYED, PLAYED.timeline, once)
    thrice = results.made("a trace", 1302, PLAYED, PLAYED.timeline, twice)
    assert "Runs before" not in "\n".join(results.page(once))
    assert "- Runs before this one, asked for and ready, the oldest first: 100.0 and 55.0 %; 100.0 and 100.0 %." in (
        list(results.page(thrice))
    )


def test_before_there_is_a_comparison_the_page_says_so(tmp_path: Path) -> None:
    assert "make agreement" in results.files(tmp_path)[results.PAGE]


def test_the_pages_of_the_last_comparison_are_those_that_are_committed() -> None:
    assert not [path for path, text in results.files().items() if (results.REPO / path).read_text("utf-8") != text]
