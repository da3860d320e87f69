"""The demo from a terminal: `python -m playground.demo` (or `make demo`)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from rich.console import Console

from playground.demo import account, drive, money, quality, scenario, summary
from playground.demo.account import Answer, TierSample
from playground.demo.screen import Frame, screen
from playground.demo.stage import Stage
from playground.errors import PlaygroundError
from playground.handle import start
from playground.release import Release
from tierwise_sim.workloads import TraceError

LOOK_SECONDS = 2.0
SHRINK_SECONDS = 150.0
"""After the last answer: the minute over which arrivals are counted, the scale-down window, the drain, some cycles."""
ANSWER_SECONDS = 60.0
SHOWN_EVENTS = 4


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m playground.demo", description="Two tiers follow a real load.")
    found.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the summary")
    found.add_argument("--plain", action="store_true", help="lines instead of a table that is redrawn")
    found.add_argument(
        "--seconds", type=float, default=scenario.TRACE_SECONDS, help="how much of the trace, in its own time"
    )
    found.add_argument("--state", type=Path, help="folder for the playground's files, kept afterwards")
    return found


def watch(stage: Stage, load: scenario.Load, report: Path, out: TextIO, *, plain: bool) -> dict[str, list[TierSample]]:
    """Send the load and look until it is answered and the tiers are small again; the samples of each tier."""
    served = [tier.name for tier in scenario.tiers()]
    orders = report.with_suffix(".orders")
    drive.write_orders(orders, report, stage.address(), scenario.ROUTE, load.arrivals)
    samples: dict[str, list[TierSample]] = {name: [] for name in (*served, scenario.BOUGHT)}
    began, wall = time.monotonic(), time.time()
    driver = stage.playground.start(sys.executable, "-m", "playground.demo.drive", str(orders))
    ended: float | None = None
    try:
        with screen(out, plain=plain) as show:
            while True:
                at = time.monotonic() - began
                for name, sample in stage.sample(at).items():
                    samples[name].append(sample)
                answers = drive.read_report(report)
                show(_frame(stage, load, answers, at, wall))
                if driver.poll() is None and at > load.seconds + ANSWER_SECONDS:
                    raise PlaygroundError(f"requests are still open {ANSWER_SECONDS:.0f} s after the last was sent")
                if driver.poll() is not None:
                    ended = ended or at
                    if all(samples[name][-1].replicas == 1 for name in served) or at > ended + SHRINK_SECONDS:
                        return samples
                time.sleep(max(0.0, began + at + LOOK_SECONDS - time.monotonic()))
    finally:
        driver.kill()
        driver.wait()


def _frame(stage: Stage, load: scenario.Load, answers: list[Answer], at: float, wall: float) -> Frame:
    sent = sum(arrival.at <= at for arrival in load.arrivals)
    events = [event for event in stage.scale_events() if event.at >= wall][-SHOWN_EVENTS:]
    return Frame(
        at=at,
        total=load.seconds,
        table=stage.table(),
        sent=sent,
        answered=sum(answer.ok for answer in answers),
        failed=sum(not answer.ok for answer in answers),
        events=tuple(f"{event.at - wall:5.0f} s  {event.tier}: {event.reason}: {event.note}" for event in events),
    )


def run(options: argparse.Namespace, environment: Mapping[str, str], out: TextIO) -> summary.Summary:
    """The whole demo; its progress goes to `out`. Raises PlaygroundError, TraceError."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=out, flush=True)

    load = scenario.load(environment, options.seconds)
    print(f"{scenario.explanation(load)}\n", file=out, flush=True)
    with start(
        options.state,
        scrape_interval=scenario.SCRAPE_SECONDS,
        progress=say,
        engine=scenario.engine_config(),
    ) as playground:
        stage = Stage(playground, Release(playground))
        stage.set_up(scenario.tiers(), say)
        say("the load begins")
        wall = time.time()
        report = playground.state / "answers.jsonl"
        samples = watch(stage, load, report, out, plain=options.plain)
        time.sleep(2 * scenario.SCRAPE_SECONDS)  # the last answers' tokens are scraped
        answers, engines = drive.read_report(report), stage.served_tokens()
        accounts = tuple(
            account.account(
                name,
                answers,
                seen,
                engines.get(name, (0.0, 0.0)),
                scenario.PRICES if name == scenario.BOUGHT else None,
            )
            for name, seen in samples.items()
        )
        saved = stage.savings()
        ladder = [tier["name"] for tier in scenario.route()["spec"]["tiers"]]
        bill = money.bill(
            money.lines_of(stage.access_logs()), ladder, saved["referenceTier"], Decimal(saved["lengthRatio"] or 1)
        )
        final = {name: seen[-1].replicas for name, seen in samples.items()}
        return summary.Summary(
            began=wall,
            accounts=accounts,
            events=tuple(event for event in stage.scale_events() if event.at >= wall),
            checks=(
                *summary.check(accounts, load.requests, final, stage.operator_restarts()),
                *money.check_savings(saved, bill),
                *quality.check(stage.quality(), answers),
            ),
            outcomes=summary.outcomes(answers),
            lag=max((answer.lag for answer in answers), default=0.0),
            playground_seconds=playground.seconds_to_start,
            total_seconds=time.monotonic() - began,
            savings=saved,
            waterfall=stage.waterfall(),
        )


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every check holds, 1 otherwise, 130 on Ctrl-C."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = run(options, os.environ, sys.stderr if options.output == "json" else sys.stdout)
    except (PlaygroundError, TraceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("the demo was interrupted; everything it started has ended", file=sys.stderr)
        return 130
    if options.output == "json":
        print(json.dumps(summary.as_json(result), indent=2))
    else:
        summary.show(result, Console())
        print(
            f"\nThe demo took {result.total_seconds:.0f} s, {result.playground_seconds:.0f} s of it the control plane."
        )
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
