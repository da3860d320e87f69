"""Runs `tierwise simulate`: reads manifests and a trace, simulates, and says what it found.

All reading and printing is here; what happens in between is pure (`replay`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tierwise.errors import Invalid
from tierwise_sim import calibrated, simulate_trace
from tierwise_sim.calibrated import Calibration
from tierwise_sim.replay import fault_text, manifests, result_json, what_if
from tierwise_sim.replay.result import Targets
from tierwise_sim.replay.scenario import STARTUP_SECONDS, Scenario, ServedTier
from tierwise_sim.replay.simulate import simulate
from tierwise_sim.report_page.page import page
from tierwise_sim.settings import EngineSettings
from tierwise_sim.simulate_text import as_text, compared
from tierwise_sim.step_source import step_source
from tierwise_sim.step_time import StepSource
from tierwise_sim.traces.arrival import Trace

SHOWN_AFTER_SECONDS = 2.0
LONGEST_STARTUP_SECONDS = 14400.0
PIPED_WIDTH = 240
"""Columns where nobody's terminal says how many there are: a program that reads a table wants its rows whole."""
Document = Mapping[str, Any]


def run(given: argparse.Namespace) -> int:
    """Simulate what was asked for; the exit code. Raises Invalid, OSError."""
    _check(given)
    documents = _documents(given.filename)
    trace = simulate_trace.get(given)
    changes = [what_if.change_of(text) for text in given.what_if]
    runs = [_run(given, variant, trace) for variant in what_if.variants(documents, changes)]
    with _progress(Console(stderr=True)) as shown:
        results = [simulate(each, autoscaler, rule, shown(each)) for each, autoscaler, rule in runs]
    if given.report:
        given.report.write_text(page(results), encoding="utf-8")
    if given.output == "json":
        print(result_json.as_json(results if changes else results[0]))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        console.print(compared(results) if changes else as_text(results[0]))
    return 0


def _run(given: argparse.Namespace, variant: what_if.Variant, trace: Trace) -> tuple[Scenario, str, str]:
    """One variant: what is simulated, who decides, and by which rule a budget is divided."""
    changed = argparse.Namespace(**vars(given))
    for option, value in variant.options.items():
        name = option.replace("-", "_")
        setattr(changed, name, [value] if isinstance(getattr(given, name), list) else _like(option, value))
    _check(changed)
    return scenario(changed, variant, trace), changed.autoscaler, changed.budget_rule


def _like(option: str, value: str) -> object:
    if option in ("autoscaler", "budget-rule"):
        return value
    try:
        return int(value) if option == "seed" else float(value)
    except ValueError:
        raise Invalid(f"--what-if {option}={value}: {value!r} is no number") from None


def scenario(given: argparse.Namespace, variant: what_if.Variant, trace: Trace) -> Scenario:
    """What the options and one variant of the manifests say. Raises Invalid."""
    startups = dict(_startup(text) for text in given.startup)
    assumed = manifests.Assumed(
        gpu=given.gpu,
        startup_seconds=startups.pop("", STARTUP_SECONDS),
        startups=startups,
        acceptance=given.acceptance,
        external_first_token=given.external_ttft,
        external_token=given.external_inter_token,
        steps=_steps(given),
        initial=dict(_initial(text) for text in given.initial),
    )
    found = manifests.read(variant.documents, assumed, given.route)
    served = [tier.name for tier in found.tiers if tier.spec.external is None]
    trace, renamed = simulate_trace.for_route(trace, found)
    content = found.route.policy.type == "Classifier"
    if content and given.share is None:
        raise Invalid(
            f"ModelRoute {found.route_name} lets a classifier choose, and a trace has no prompts to score: say with "
            "--share how many percent go to the reference tier (`tierwise train` says how many keep the quality)"
        )
    notes = (*found.ignored, *renamed)
    if found.route.policy.type == "Cascade":
        notes += ("the cascade is not simulated: its default tier answers",)
    return Scenario(
        tiers=found.tiers,
        route_name=found.route_name,
        route=found.route,
        trace=trace,
        targets=Targets(given.ttft, given.inter_token),
        seed=given.seed,
        share=given.share if content else None,
        budget={**found.budget, **dict(_limit(text, found) for text in given.gpus)},
        priorities={**found.priorities, **dict(_priority(text, served) for text in given.priority)},
        faults=tuple(sorted(fault_text.fault_of(text, served) for text in given.fault)),
        what_if=variant.said,
        notes=notes,
        assumed_route=found.assumed_route,
    )


def _startup(text: str) -> tuple[str, float]:
    tier, _, number = text.rpartition("=")
    try:
        seconds = float(number)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_STARTUP_SECONDS:
        most = f"{LONGEST_STARTUP_SECONDS:g}"
        raise Invalid(f"--startup {text!r} is not understood; expected SECONDS or TIER=SECONDS, from 0 to {most}")
    return tier, seconds


def _initial(text: str) -> tuple[str, int]:
    tier, _, number = text.rpartition("=")
    if not (number.isascii() and number.isdigit()):
        raise Invalid(f"--initial {text!r} is not understood; expected N or TIER=N")
    return tier, int(number)


def _limit(text: str, found: manifests.Manifests) -> tuple[str, int]:
    product, _, number = text.rpartition("=")
    products = sorted({tier.gpu for tier in found.tiers if isinstance(tier, ServedTier)})
    if product not in ("", *products) or not (number.isascii() and number.isdigit()):
        raise Invalid(
            f"--gpus {text!r} is not understood; expected N or PRODUCT=N, PRODUCT one of {', '.join(products)}"
        )
    return product, int(number)


def _priority(text: str, served: Sequence[str]) -> tuple[str, int]:
    tier, _, number = text.partition("=")
    if tier not in served or not (number.isascii() and number.isdigit() and int(number) > 0):
        raise Invalid(f"--priority {text!r} is not understood; expected TIER=N, TIER one of {', '.join(served)}")
    return tier, int(number)


def _steps(given: argparse.Namespace) -> manifests.Steps:
    """What tells step times: what was measured on the user's own engine, else the best that is known of the GPU."""
    measured: dict[str, Calibration] = {}
    for text in given.calibration:
        tier, equals, file = text.partition("=")
        measured[tier if equals else ""] = calibrated.read(Path(file if equals else text))

    def steps(tier: str, settings: EngineSettings) -> StepSource:
        own = measured.get(tier, measured.get(""))
        return step_source(settings, own, measured_kernels=not given.no_kernels)

    return steps


def _documents(files: Sequence[Path]) -> list[Document]:
    found: list[Document] = []
    for path in files:
        inside = sorted((*path.glob("*.yaml"), *path.glob("*.yml"))) if path.is_dir() else [path]
        if not inside:
            raise Invalid(f"there is no YAML file in {path}")
        for file in inside:
            found += _of_file(file)
    return found


def _of_file(file: Path) -> Iterator[Document]:
    try:
        for number, body in enumerate(yaml.safe_load_all(file.read_text(encoding="utf-8")), start=1):
            if body is None:
                continue
            if not isinstance(body, Mapping) or not isinstance(body.get("metadata"), Mapping):
                raise Invalid(f"{file}: document {number} is no Kubernetes object")
            yield body
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is not YAML: {error}") from error


def _check(given: argparse.Namespace) -> None:
    for name, low, high in (
        ("ttft", 0.001, 3600.0),
        ("inter_token", 0.0001, 60.0),
        ("share", 0.0, 100.0),
        ("acceptance", 0.0, 1.0),
        ("scale", 1e-6, 1e6),
        ("external_ttft", 0.0, 3600.0),
        ("external_inter_token", 0.0, 60.0),
        ("step", 1, 86400),
    ):
        value = getattr(given, name)
        if value is not None and not low <= value <= high:
            raise Invalid(f"--{name.replace('_', '-')} is {value:g}; it must be from {low:g} to {high:g}")


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Scenario], Callable[[float], None] | None]]:
    """A bar on a terminal, for whoever has waited for two seconds."""
    if not console.is_terminal:
        yield lambda each: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    began = monotonic()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("simulating", total=None, visible=False)

        def of(each: Scenario) -> Callable[[float], None]:
            what = " ".join(each.what_if) or each.trace.name
            return lambda at: bar.update(
                task,
                completed=at,
                total=each.seconds,
                description=what,
                visible=monotonic() - began >= SHOWN_AFTER_SECONDS,
            )

        yield of
