"""A part that failed comes back, later each time."""

from __future__ import annotations

from tierwise.runtime.supervision import supervise


async def test_a_part_that_fails_is_started_again_later_each_time_but_not_after_a_long_good_run() -> None:
    runs = [0.0, 0.0, 0.0, 0.0, 3600.0, 0.0]  # how long each run lasts
    now, started, slept = 0.0, 0, list[float]()

    async def part() -> None:
        nonlocal now, started
        started += 1
        if not runs:
            return
        now += runs.pop(0)
        raise RuntimeError("a defect")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await supervise("part", part, monotonic=lambda: now, sleep=sleep)
    assert started == 7
    assert slept[3] > slept[2] > slept[1] > slept[0]
    assert slept[4] <= 0.5 < slept[3]
    assert slept[5] > slept[4]
