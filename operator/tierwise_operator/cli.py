"""Defines the command line.

    tierwise run        the operator itself
    tierwise router     one OpenAI endpoint over tiers, from a ModelRoute or a file
    tierwise explain    why a tier has the replicas it has, or what a route does, and what to do about what is wrong
    tierwise label      what a cheap and a reference tier answer rightly, for `tierwise train`
    tierwise train      a classifier that chooses between two tiers, from the labels
    tierwise savings    what a route has saved against its reference tier, by tactic
    tierwise simulate   what a trace would cost on these tiers, and how good it would be, before anything is installed
    tierwise calibrate  how long the steps of your own engine take, for a simulation of it
    tierwise crds       the CustomResourceDefinitions, for kubectl apply
    tierwise version

Errors are one line on stderr and exit code 2 (what was typed or configured) or 1 (what was found).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

from tierwise.api import crd
from tierwise.api.kinds import KINDS
from tierwise.errors import Invalid, TierwiseError
from tierwise.runtime import logs
from tierwise_operator import explain_command, savings_command
from tierwise_operator.settings import Settings, add_options, resolve
from tierwise_router import cli as router_cli
from tierwise_sim import calibrate_options, simulate_options
from tierwise_training import label_options, train_options

TRAINING_EXTRA = "pip install 'tierwise[training]'"
EXAMPLES = """\
examples:
  tierwise crds | kubectl apply --server-side -f -
  tierwise run --kubeconfig ~/.kube/config --prometheus-url http://localhost:9090
  tierwise router --file route.yaml
  tierwise explain chat -n models
  tierwise explain route chat -n models
  tierwise explain chat -n models -o json
  tierwise savings chat -n models
  tierwise simulate -f manifests/ --trace access-log.jsonl"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="tierwise",
        description="Serves language models in tiers on Kubernetes: run the operator, explain its decisions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    running = commands.add_parser(
        "run", help="run the operator", description="Run the operator. Each flag can be given as the variable in []."
    )
    add_options(running)
    router_cli.add_options(
        _command(
            commands,
            "router",
            "serve a route: one OpenAI endpoint over tiers",
            "One OpenAI endpoint over tiers, from a ModelRoute or without Kubernetes.",
            router_cli.EXAMPLE,
        )
    )
    explain_command.add_options(
        _command(
            commands,
            "explain",
            "why a tier has the replicas it has; what a route does with requests",
            "Why a tier has the replicas it has; what a route does, and why a tier of it is not used.",
            explain_command.EXAMPLES,
        )
    )
    label_options.add_options(
        _command(
            commands,
            "label",
            "find out which prompts a cheap tier answers as well as a reference tier",
            "Asks two tiers the same prompts through their route, and judges the answers.",
            label_options.EXAMPLES,
        )
    )
    train_options.add_options(
        _command(
            commands,
            "train",
            "learn from labels which requests need the reference tier",
            "Makes a classifier from labels, and says what it promises and what that costs.",
            train_options.EXAMPLES,
        )
    )
    savings_command.add_options(
        _command(
            commands,
            "savings",
            "what a route has saved against its reference tier",
            "What a route has saved against its reference tier, and which tactic saved how much.",
            savings_command.EXAMPLES,
        )
    )
    simulate_options.add_options(
        _command(
            commands,
            "simulate",
            "what a trace would cost on these tiers, without a cluster",
            "Runs the operator's and the router's own decisions on simulated engines, in virtual time.",
            simulate_options.EXAMPLES,
        )
    )
    calibrate_options.add_options(
        _command(
            commands,
            "calibrate",
            "measure how long the steps of an engine take",
            "Measures an OpenAI-compatible vLLM engine, and writes a file that a simulation of it reads.",
            calibrate_options.EXAMPLES,
        )
    )
    commands.add_parser("crds", help="print the CustomResourceDefinitions")
    commands.add_parser("version", help="print the version")
    return made


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A command with examples, whose lines are kept as they are."""
    raw = argparse.RawDescriptionHelpFormatter
    return commands.add_parser(name, help=help_, description=description, epilog=examples, formatter_class=raw)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = parser().parse_args(arguments)
    try:
        return _run_command(given)
    except Invalid as error:
        return _complain(error.message, 2)
    except (TierwiseError, OSError) as error:
        return _complain(str(error), 1)
    except BrokenPipeError:
        return 0


def _run_command(given: argparse.Namespace) -> int:
    match given.command:
        case "run":
            return _run(resolve(vars(given)))
        case "router":
            return router_cli.run(given)
        case "explain":
            return asyncio.run(explain_command.run(given))
        case "label":
            return _label(given)
        case "train":
            return _train(given)
        case "savings":
            return asyncio.run(savings_command.run(given))
        case "simulate":
            return _simulate(given)
        case "calibrate":
            return _calibrate(given)
        case "crds":
            print("---\n".join(crd.to_yaml(crd.definition(kind)) for kind in KINDS), end="")
        case _:
            print(version("tierwise"))
    return 0


def _label(given: argparse.Namespace) -> int:
    from tierwise_training import label_command  # it brings numpy, for which the operator has no use

    return label_command.run(given)


def _train(given: argparse.Namespace) -> int:
    try:
        from tierwise_training import train_command
    except ImportError as error:  # scikit-learn, or what it needs
        raise Invalid(f"{error.name} is missing, without which nothing can be learned: {TRAINING_EXTRA}") from error
    return train_command.run(given)


def _simulate(given: argparse.Namespace) -> int:
    from tierwise_sim import simulate_command  # it brings the engine model, for which the operator has no use

    return simulate_command.run(given)


def _calibrate(given: argparse.Namespace) -> int:
    from tierwise_sim import calibrate_command  # it brings numpy and aiohttp's client

    return calibrate_command.run(given)


def _complain(text: str, code: int) -> int:
    print(f"tierwise: {text}", file=sys.stderr)
    return code


def _run(settings: Settings) -> int:
    logs.configure(settings.log_level, settings.log_format)
    asyncio.run(_until_signal(settings))
    return 0


async def _until_signal(settings: Settings) -> None:
    from tierwise_operator import app  # it brings kopf, for which the other commands have no use

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await app.run(settings, stop, listening=lambda port: print(f"probes and metrics on port {port}", file=sys.stderr))
