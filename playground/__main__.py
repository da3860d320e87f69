"""The playground from a terminal: build it, start it, use it."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from playground import binaries
from playground.cache import current_pointer
from playground.control import VERBS, ask
from playground.errors import PlaygroundError
from playground.handle import Playground, start, tool_environment
from playground.kubelet.images import load_table
from playground.layout import Layout
from playground.prepare import alive
from playground.release import Release
from playground.sandbox import enter_command

EXAMPLES = """\
examples:
  python -m playground up                      start, and run until Ctrl-C
  python -m playground up --tierwise           the same, with Tierwise installed, so that the examples can be applied
  python -m playground kubectl get nodes       in another terminal: kubectl against it
  python -m playground exec -- curl -s http://10.200.0.1:9090/-/ready
  python -m playground control pause kube-apiserver"""

# Each simulated engine has the GPU of the node on which it runs.
ENGINE = {"gpu": "node"}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser(
        prog="python -m playground",
        description="A real Kubernetes control plane with KServe and Prometheus, without containers and without root.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = found.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the binaries from source (done by `up` as well)")
    up = commands.add_parser("up", help="start a playground and run until Ctrl-C")
    up.add_argument("--state", type=Path, help="folder for its files, kept afterwards (default: a temporary one)")
    up.add_argument("--scrape-interval", type=float, default=10.0, help="Prometheus' interval in seconds")
    up.add_argument("--images", type=Path, help="one more table of images, in the form of playground/images.yaml")
    up.add_argument("--tierwise", action="store_true", help="install Tierwise with helm, as a user does")
    for name, what in (
        ("exec", "run a command inside the namespaces of a running playground"),
        ("kubectl", "run kubectl against a running playground"),
        ("helm", "run helm against a running playground"),
        ("control", f"{', '.join(VERBS)}: a component of a running playground"),
    ):
        command = commands.add_parser(name, help=what, prefix_chars="\0", add_help=False)
        command.add_argument("arguments", nargs="*")
    for name in ("exec", "kubectl", "helm", "control"):
        commands.choices[name].usage = f"python -m playground {name} ARGUMENTS"
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = parser().parse_args(arguments)
    try:
        match given.command:
            case "build":
                print(binaries.ensure(_say(), terminal=sys.stderr.isatty()))
                return 0
            case "up":
                return up(given.state, given.scrape_interval, images=given.images, tierwise=given.tierwise)
            case "control":
                return control(given.arguments)
            case tool:
                return run_tool(tool, given.arguments)
    except PlaygroundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _say() -> Callable[[str], None]:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    return say


def up(state: Path | None, scrape_interval: float, *, images: Path | None = None, tierwise: bool = False) -> int:
    """Start a playground, say how to use it, and wait for Ctrl-C, SIGTERM or its end. Raises PlaygroundError."""
    say = _say()
    if scrape_interval <= 0:
        raise PlaygroundError(f"the scrape interval must be positive, not {scrape_interval:g}")
    try:
        # SIGTERM means the same as Ctrl-C, also in the middle of the start; a shell's background job ignores Ctrl-C.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        rows = further_images(images) if images else ()
        with start(state, scrape_interval=scrape_interval, engine=ENGINE, images=rows, progress=say) as playground:
            point_to(playground.state)
            if tierwise:
                install(playground, scrape_interval)
                say("Tierwise is installed")
            print(how_to_use(playground) + (what_next(playground) if tierwise else ""), flush=True)
            why = playground.why_ended()
    except KeyboardInterrupt:
        print("the playground has ended", file=sys.stderr)
        return 0
    raise PlaygroundError(
        "the playground ended by itself", f"{why}\nStart it again; with --state DIR its logs are kept."
    )


def further_images(file: Path) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a table of images. Raises PlaygroundError for a file that is not one."""
    try:
        return [entry.model_dump() for entry in load_table([file], {}).entries]
    except (OSError, yaml.YAMLError, ValueError, TypeError) as error:
        raise PlaygroundError(f"{file} is not a table of images", str(error)) from error


def install(playground: Playground, scrape_interval: float) -> None:
    """Install the CRDs and the operator as a user does. Raises PlaygroundError."""
    release = Release(playground)
    release.install_crds()
    release.install(
        {
            "operator": {"logFormat": "text"},
            "prometheus": {"scrapeIntervalSeconds": math.ceil(scrape_interval)},
        }
    )


def point_to(state: Path) -> None:
    """Let `exec`, `kubectl`, `helm` and `control` find this playground."""
    pointer = current_pointer()
    pointer.parent.mkdir(parents=True, exist_ok=True)
    fresh = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    fresh.symlink_to(state)
    fresh.replace(pointer)


def how_to_use(playground: Playground) -> str:
    """Return what a user needs to know about a playground that has just come up."""
    return f"""\
The playground is ready after {playground.seconds_to_start:.1f} s. It ends with Ctrl-C here.

  export KUBECONFIG={playground.kubeconfig}
  kubectl get nodes          (no kubectl of your own? {sys.executable} -m playground kubectl get nodes)

  Prometheus   {playground.prometheus_url}
  Services     curl --proxy {playground.proxy_url} http://NAME.NAMESPACE.svc/...
  logs         {playground.layout.logs}
"""


def what_next(playground: Playground) -> str:
    """Return what a user types first when Tierwise is installed."""
    return f"""
Tierwise is installed (helm releases tierwise-crds and tierwise; its pod is in tierwise-system). Next:

  kubectl apply -f examples/01-small-tier
  kubectl get modeltiers --watch
  curl --proxy {playground.proxy_url} http://small-predictor.default.svc/v1/models
  {Path(sys.executable).parent}/tierwise explain small
"""


def _current() -> Path:
    """Return the state folder of the running playground. Raises PlaygroundError if there is none."""
    try:
        state = Path(os.readlink(current_pointer()))
    except OSError:
        state = Path("/nonexistent")
    # The files of one that has ended may lie there still, with a process id that is somebody else's by now.
    if not alive(state):
        raise PlaygroundError("no playground is running", f"Start one with: {sys.executable} -m playground up")
    return state


def control(arguments: list[str]) -> int:
    """Ask the running playground for something; print the answer. Raises PlaygroundError."""
    if not arguments or len(arguments) > 2:
        raise PlaygroundError("control needs a verb and a component", f"verbs: {', '.join(VERBS)}")
    answer = ask(Layout(_current()).control_socket, arguments[0], *arguments[1:])
    for name, status in answer.get("components", {}).items():
        print(f"{name:<26} {status['state']:<8} pid {status['pid'] or '-':<6} starts {status['starts']}")
    return 0


def run_tool(tool: str, arguments: list[str]) -> int:
    """Become kubectl, helm, or any command inside. Raises PlaygroundError."""
    state = _current()
    try:
        found = json.loads(Layout(state).description.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlaygroundError("the playground is not ready yet", "Try again when `up` has said so.") from None
    rest = arguments[1:] if arguments[:1] == ["--"] else arguments
    if tool == "exec":
        if not rest:
            raise PlaygroundError("exec needs a command", "For example: python -m playground exec -- id")
        command = [*enter_command(int(str(found["init"])), Path.cwd()), *rest]
        environment = {**os.environ, "KUBECONFIG": str(Layout(state).admin_kubeconfig)}
    else:
        command = [f"{found['binaries']}/{tool}", *rest]
        environment = tool_environment(state)
    os.execvpe(command[0], command, environment)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    sys.exit(main())
