"""Starts a playground for tests, the demo and the command line.

`start()` returns when everything is ready, and what it returns is the only thing that keeps the playground
alive. Everything a client needs (kubeconfig, URLs, proxy) works from the host, without entering anything.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playground import binaries, prepare
from playground.control import ask
from playground.errors import PlaygroundError
from playground.inside import Orders
from playground.layout import Layout
from playground.nodes import NODES
from playground.sandbox import Sandbox, choose_namespaces, enter, enter_command, loopback_listener

STEP_SECONDS = 90.0
START_SECONDS = 180.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Playground:
    """A running control plane; ends with `stop()`, at the end of a `with` block, and with this process."""

    state: Path
    binaries: Path
    prometheus_url: str
    proxy_url: str
    seconds_to_start: float
    _sandbox: Sandbox
    _reader: threading.Thread
    _heard: queue.Queue[tuple[str, str]]
    _temporary: bool
    _stopped: bool = field(default=False)

    @property
    def layout(self) -> Layout:
        """Return all files of this instance."""
        return Layout(self.state)

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig for use on the host."""
        return self.layout.host_kubeconfig

    @property
    def audit_log(self) -> Path:
        """Return the API server's audit log."""
        return self.layout.audit_log

    @property
    def init(self) -> int:
        """Return the process id, on the host, of process 1 inside. Raises PlaygroundError if it has ended."""
        return self._sandbox.init()

    def control(self, verb: str, component: str = "") -> dict[str, Any]:
        """Stop, kill, start, pause or resume a component, or ask for the status of all.

        `start` returns when the component is ready. Raises PlaygroundError.
        """
        return ask(self.layout.control_socket, verb, component)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl as administrator; return its output. Raises PlaygroundError with its complaint."""
        return self._run("kubectl", arguments, stdin, timeout)

    def helm(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run helm as administrator; return its output. Raises PlaygroundError with its complaint."""
        return self._run("helm", arguments, stdin, timeout)

    def _run(self, tool: str, arguments: tuple[str, ...], stdin: str | None, timeout: float) -> str:
        done = subprocess.run(
            [str(self.binaries / tool), *arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=tool_environment(self.state),
        )
        if done.returncode != 0:
            raise PlaygroundError(f"{tool} {' '.join(arguments)} failed", (done.stderr or done.stdout).strip())
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command inside the namespaces; whoever called ends it. Raises PlaygroundError, OSError."""
        entering = enter_command(self.init, Path.cwd(), processes=False)
        return subprocess.Popen([*entering, *command], stdin=subprocess.DEVNULL)

    def unplug(self, node: str) -> None:
        """Cut a node's power: its processes end, and it says nothing any more, until `plug`."""
        self.layout.unplugged(node).touch()

    def plug(self, node: str) -> None:
        """Give a node its power back; it starts as after a reboot."""
        self.layout.unplugged(node).unlink(missing_ok=True)

    def why_ended(self) -> str:
        """Wait until everything has ended by itself; return what was said at the end."""
        return self._heard.get()[1]

    def stop(self) -> None:
        """End everything and remove a temporary state folder; a second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        _end(self._sandbox, self._reader)
        if self._temporary:
            remove(self.state)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def tool_environment(state: Path) -> dict[str, str]:
    """Return an environment in which kubectl and helm see this cluster and nothing of the user's own."""
    folder = state / "helm"
    return {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "KUBECONFIG": str(Layout(state).host_kubeconfig),
        "KUBECACHEDIR": str(state / "kubectl"),
        "HELM_CACHE_HOME": str(folder / "cache"),
        "HELM_CONFIG_HOME": str(folder / "config"),
        "HELM_DATA_HOME": str(folder / "data"),
    }


def start(
    state: Path | None = None,
    *,
    scrape_interval: float = 10,
    engine: Mapping[str, Any] | None = None,
    images: Sequence[Mapping[str, Any]] = (),
    progress: Say | None = None,
) -> Playground:
    """Build what is missing, start a playground and return when it is ready.

    `state` is a folder for its files (default: a temporary one, removed at the end); `scrape_interval` is
    Prometheus' in seconds; `engine` configures the simulated engines (tierwise_sim.config); `images` are further
    rows of the table of images, which win over images.yaml; `progress` gets lines for a human, from a thread of
    ours once it runs.
    Raises PlaygroundError.
    """
    say: Say = progress or (lambda _: None)
    built = binaries.ensure(say)
    command = choose_namespaces()
    began = time.monotonic()
    folder, temporary = _state_folder(state)
    try:
        return _start(_Plan(folder, temporary, built, command, scrape_interval, engine or {}, images, began), say)
    except PlaygroundError:
        raise  # the logs that tell why stay where they are
    except BaseException:
        if temporary:
            remove(folder)
        raise


@dataclass(frozen=True, slots=True)
class _Plan:
    folder: Path
    temporary: bool
    built: Path
    command: list[str]
    scrape_interval: float
    engine: Mapping[str, Any]
    images: Sequence[Mapping[str, Any]]
    began: float


def _start(plan: _Plan, say: Say) -> Playground:
    layout, listeners = Layout(plan.folder), [loopback_listener() for _ in range(3)]
    try:
        api, prometheus, proxy = (listener.getsockname()[1] for listener in listeners)
        nodes = tuple(node.name for node in NODES)
        token = prepare.write(layout, nodes, api, plan.scrape_interval)
        prepare.write_images(layout, plan.engine, plan.images)
        lifeline = os.pipe()
        for_api, for_prometheus, for_proxy = (listener.fileno() for listener in listeners)
        orders = Orders(
            state=str(plan.folder),
            binaries=str(plan.built),
            nodes=nodes,
            sockets=(for_api, for_prometheus, for_proxy),
            lifeline=lifeline[0],
            step_seconds=STEP_SECONDS,
            token=token,
        )
        sandbox = enter(plan.command, orders.dump(), orders.sockets, lifeline)
    finally:
        for listener in listeners:
            listener.close()
    heard: queue.Queue[tuple[str, str]] = queue.Queue()
    reader = threading.Thread(target=_listen, args=(sandbox, heard, say), daemon=True)
    reader.start()
    try:
        _wait_ready(heard, layout)
        playground = Playground(
            state=plan.folder,
            binaries=plan.built,
            prometheus_url=f"http://127.0.0.1:{prometheus}",
            proxy_url=f"http://127.0.0.1:{proxy}",
            seconds_to_start=time.monotonic() - plan.began,
            _sandbox=sandbox,
            _reader=reader,
            _heard=heard,
            _temporary=plan.temporary,
        )
        _describe(playground)
    except BaseException:
        _end(sandbox, reader)
        raise
    return playground


def _listen(sandbox: Sandbox, heard: queue.Queue[tuple[str, str]], say: Say) -> None:
    """Pass on what comes from inside: what decides about the start to the queue, the rest to the user."""
    with sandbox.output as lines:
        for line in lines:
            try:
                message = json.loads(line)
                kind, text = message["kind"], message["text"]
            except (ValueError, KeyError, TypeError):
                kind, text = "say", line.rstrip()
            if kind == "say":
                say(text)
            else:
                heard.put((kind, text))
    heard.put(("failed", "the playground ended"))


def _wait_ready(heard: queue.Queue[tuple[str, str]], layout: Layout) -> None:
    try:
        kind, text = heard.get(timeout=START_SECONDS)
    except queue.Empty:
        kind, text = "failed", f"nothing happened for {START_SECONDS:.0f} s"
    if kind != "ready":
        raise PlaygroundError("the playground did not come up", f"{text}\n(logs are in {layout.logs})")


def _describe(playground: Playground) -> None:
    described = {
        "init": playground.init,
        "kubeconfig": str(playground.kubeconfig),
        "prometheus": playground.prometheus_url,
        "proxy": playground.proxy_url,
        "binaries": str(playground.binaries),
    }
    playground.layout.description.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _end(sandbox: Sandbox, reader: threading.Thread) -> None:
    sandbox.end()
    reader.join()


def _state_folder(wanted: Path | None) -> tuple[Path, bool]:
    """Return the folder for the state, and whether it is temporary. Raises PlaygroundError if it is in use."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="tierwise-")), True
    folder = wanted.absolute()
    if folder.exists() and any(folder.iterdir()):
        if not Layout(folder).ca.exists():
            raise PlaygroundError(f"{folder} is not empty and no earlier playground's", "Choose another folder.")
        if prepare.alive(folder):
            raise PlaygroundError(f"a playground runs in {folder} already", "Stop it, or choose another folder.")
        remove(folder)
    return folder, False


def remove(folder: Path) -> None:
    """Remove a state folder, read-only volumes of pods included."""

    def again(function: Callable[[str], object], path: str, _: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(0o700)
            Path(path).chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=again)
