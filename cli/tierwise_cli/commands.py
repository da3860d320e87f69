"""Lists the commands, each with what loads it.

A loader imports its command's module when that command is asked for: a simulation needs numpy and the operator needs
kopf, and neither should make `get` wait.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from tierwise.errors import Invalid

TRAINING_EXTRA = "pip install '.[training]' in Tierwise's source"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A command that is ready: what adds its arguments, what runs it (returns the exit code), examples of its use."""

    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its name, what it is for in a list, what it is for in its own help."""

    name: str
    help: str
    description: str
    load: Callable[[], Loaded]


def _no_options(_: argparse.ArgumentParser) -> None:
    """A command without arguments."""


def _get() -> Loaded:
    from tierwise_cli import get_command

    return Loaded(get_command.add_options, get_command.run, get_command.EXAMPLES)


def _explain() -> Loaded:
    from tierwise_cli import explain_command

    return Loaded(explain_command.add_options, explain_command.run, explain_command.EXAMPLES)


def _restart() -> Loaded:
    from tierwise_cli import restart_command

    return Loaded(restart_command.add_options, restart_command.run, restart_command.EXAMPLES)


def _savings() -> Loaded:
    from tierwise_cli import savings_command

    return Loaded(savings_command.add_options, savings_command.run, savings_command.EXAMPLES)


def _convert() -> Loaded:
    from tierwise_cli import convert_command

    return Loaded(convert_command.add_options, convert_command.run, convert_command.EXAMPLES)


def _doctor() -> Loaded:
    from tierwise_cli import doctor_command

    return Loaded(doctor_command.add_options, doctor_command.run, doctor_command.EXAMPLES)


def _completion() -> Loaded:
    from tierwise_cli import completion_command

    return Loaded(completion_command.add_options, completion_command.run, completion_command.EXAMPLES)


def _run() -> Loaded:
    from tierwise_operator import run_command, settings

    return Loaded(settings.add_options, run_command.run)


def _router() -> Loaded:
    from tierwise_router import cli as router

    return Loaded(router.add_options, router.run, router.EXAMPLE)


def _label() -> Loaded:
    from tierwise_training import label_options

    def run(given: argparse.Namespace) -> int:
        from tierwise_training import label_command  # it brings numpy

        return label_command.run(given)

    return Loaded(label_options.add_options, run, label_options.EXAMPLES)


def _train() -> Loaded:
    from tierwise_training import train_options

    def run(given: argparse.Namespace) -> int:
        try:
            from tierwise_training import train_command
        except ImportError as error:  # scikit-learn, or what it needs
            raise Invalid(f"{error.name} is missing, without which nothing can be learned: {TRAINING_EXTRA}") from error
        return train_command.run(given)

    return Loaded(train_options.add_options, run, train_options.EXAMPLES)


def _simulate() -> Loaded:
    from tierwise_sim import simulate_options

    def run(given: argparse.Namespace) -> int:
        from tierwise_sim import simulate_command  # it brings the engine model

        return simulate_command.run(given)

    return Loaded(simulate_options.add_options, run, simulate_options.EXAMPLES)


def _calibrate() -> Loaded:
    from tierwise_sim import calibrate_options

    def run(given: argparse.Namespace) -> int:
        from tierwise_sim import calibrate_command  # it brings numpy and aiohttp's client

        return calibrate_command.run(given)

    return Loaded(calibrate_options.add_options, run, calibrate_options.EXAMPLES)


def _crds() -> Loaded:
    def run(_: argparse.Namespace) -> int:
        from tierwise.api import crd
        from tierwise.api.kinds import KINDS

        print("---\n".join(crd.to_yaml(crd.definition(kind)) for kind in KINDS), end="")
        return 0

    return Loaded(_no_options, run)


def _version() -> Loaded:
    def run(_: argparse.Namespace) -> int:
        from importlib.metadata import version

        print(version("tierwise"))
        return 0

    return Loaded(_no_options, run)


COMMANDS = (
    Command(
        "get",
        "what there is: tiers, routes, GPU pools",
        "Lists the ModelTiers, ModelRoutes and GPUPools of a namespace, or of all.",
        _get,
    ),
    Command(
        "explain",
        "why a tier has the replicas it has; what a route does with requests",
        "Why a tier has the replicas it has; what a route does, and why a tier of it is not used.",
        _explain,
    ),
    Command(
        "restart",
        "start every replica of a tier anew",
        "Starts every replica of a tier anew, as its rollout says: for a rotated token, or weights that changed.",
        _restart,
    ),
    Command(
        "savings",
        "what a route has saved against its reference tier",
        "What a route has saved against its reference tier, and which tactic saved how much.",
        _savings,
    ),
    Command(
        "doctor",
        "find out what keeps a cluster from serving",
        "Looks at what tiers need of a cluster, with your own rights, and says what to do about what is missing.",
        _doctor,
    ),
    Command(
        "convert",
        "make a tier of what serves a model today",
        "Makes ModelTiers of an InferenceService, a Deployment, values of the vLLM production-stack or a command line.",
        _convert,
    ),
    Command(
        "simulate",
        "what a trace would cost on these tiers, without a cluster",
        "Runs the operator's and the router's own decisions on simulated engines, in virtual time.",
        _simulate,
    ),
    Command(
        "calibrate",
        "measure how long the steps of an engine take",
        "Measures an OpenAI-compatible vLLM engine, and writes a file that a simulation of it reads.",
        _calibrate,
    ),
    Command(
        "label",
        "find out which prompts a cheap tier answers as well as a reference tier",
        "Asks two tiers the same prompts through their route, and judges the answers.",
        _label,
    ),
    Command(
        "train",
        "learn from labels which requests need the reference tier",
        "Makes a classifier from labels, and says what it promises and what that costs.",
        _train,
    ),
    Command(
        "router",
        "serve a route: one OpenAI endpoint over tiers",
        "One OpenAI endpoint over tiers, from a ModelRoute or without Kubernetes.",
        _router,
    ),
    Command("run", "run the operator", "Run the operator. Each flag can be given as the variable in [].", _run),
    Command("crds", "print the CustomResourceDefinitions", "Prints the CRDs, for kubectl apply.", _crds),
    Command(
        "completion",
        "print a script that completes commands in your shell",
        "Prints a script for bash, zsh or fish; of `tierwise` and of `kubectl tierwise`.",
        _completion,
    ),
    Command("version", "print the version", "Prints the version.", _version),
)
