"""Runs as process 1 inside the namespaces, and ends everything when the starter ends.

Process 1 only waits: for its one child, the supervisor; for orphans, which nobody else would bury; and, in a
thread, for the end of a pipe whose other end the starter holds. However the starter ends, the pipe closes,
process 1 ends, and the kernel kills everything else in the process namespace: the orderly end is the same as
any other, because nothing here outlives it. (A parent-death signal would
do the same, but counts the death of the thread that started us, and must be set between fork and exec.)
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from playground import network
from playground.api import Api
from playground.boot import Boot
from playground.components import describe
from playground.control import ControlServer
from playground.errors import PlaygroundError
from playground.layout import API_PORT, HOST_ADDRESS, PROMETHEUS_PORT, Layout
from playground.relay import serve_fixed, serve_proxy, service_of
from playground.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Orders:
    """What the starter tells: folders, the nodes' names, the inherited descriptors, the administrator's token.

    The sockets listen on the host: for the API server, Prometheus and the proxy, in this order.
    """

    state: str
    binaries: str
    nodes: tuple[str, ...]
    sockets: tuple[int, int, int]
    lifeline: int
    step_seconds: float
    token: str

    def dump(self) -> str:
        """Return the orders as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Orders:
        """Read orders. Raises ValueError or TypeError."""
        fields = json.loads(text)
        return cls(**(fields | {"nodes": tuple(fields["nodes"]), "sockets": tuple(fields["sockets"])}))


def tell(kind: str, text: str = "") -> None:
    """Send one line to the starter, which may have gone."""
    try:
        print(json.dumps({"kind": kind, "text": text}), flush=True)
    except BrokenPipeError:
        os._exit(1)


async def supervise(orders: Orders) -> None:
    """Bring everything up and keep it up, for ever. Raises PlaygroundError if it does not come up."""
    layout = Layout(Path(orders.state))
    supervisor = Supervisor(layout, describe(layout, Path(orders.binaries)), lambda text: tell("say", text))
    async with Api(orders.token, layout.ca.read_bytes()) as api:
        for_api, for_prometheus, for_proxy = map(_listener, orders.sockets)
        servers = [
            await serve_fixed(for_api, HOST_ADDRESS, API_PORT),
            await serve_fixed(for_prometheus, HOST_ADDRESS, PROMETHEUS_PORT),
            await serve_proxy(for_proxy, lambda host: _resolve(api, host)),
            await ControlServer(supervisor, layout.control_socket).serve(),
        ]
        boot = Boot(layout, Path(orders.binaries) / "kserve", supervisor, api, seconds=orders.step_seconds)
        try:
            await boot.run(orders.nodes, lambda text: tell("say", text))
            tell("ready")
            await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()


def _listener(descriptor: int) -> socket.socket:
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    return listener


async def _resolve(api: Api, host: str) -> str:
    """Return the address of a host name inside. Raises LookupError."""
    service = service_of(host)
    if service is None:
        return host
    namespace, name = service
    try:
        found = await api.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    except (PlaygroundError, aiohttp.ClientError, OSError) as error:
        raise LookupError(f"{host} cannot be looked up: {error}") from error
    if found is None:
        raise LookupError(f"there is no Service {name} in namespace {namespace}")
    address = str(found["spec"].get("clusterIP", "None"))
    return await _endpoint(api, namespace, name) if address == "None" else address


async def _endpoint(api: Api, namespace: str, name: str) -> str:
    selector = f"labelSelector=kubernetes.io/service-name%3D{name}"
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{selector}"
    slices = (await api.get(path) or {}).get("items", [])
    for endpoint in (one for part in slices for one in part.get("endpoints") or []):
        if endpoint.get("conditions", {}).get("ready", True):
            return str(endpoint["addresses"][0])
    raise LookupError(f"the headless Service {name} in namespace {namespace} has no ready endpoint")


def _run(orders: Orders) -> int:
    try:
        network.prepare()
        asyncio.run(supervise(orders))
    except Exception as failure:  # whatever it is, the starter must hear of it
        tell("failed", "\n".join(_words(failure)))
        return 1
    return 0


def _words(failure: BaseException) -> list[str]:
    """Return what each leaf of an error says; a group says nothing itself."""
    if isinstance(failure, BaseExceptionGroup):
        return [words for one in failure.exceptions for words in _words(one)]
    if isinstance(failure, PlaygroundError):
        return [str(failure)]
    return ["".join(traceback.format_exception(failure)).rstrip()]


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(0)


def _bury(child: int) -> int:
    """Wait for our child, and for whoever else ends up with us; return the child's exit code."""
    while True:
        process, status = os.wait()
        if process == child:
            return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Fork: the parent becomes process 1's waiting part, the child the supervisor."""
    orders = Orders.load(sys.stdin.read())
    child = os.fork()
    if child == 0:
        os.close(orders.lifeline)
        sys.exit(_run(orders))
    for descriptor in orders.sockets:
        os.close(descriptor)
    threading.Thread(target=_watch, args=(orders.lifeline,), daemon=True).start()
    os._exit(abs(_bury(child)))


if __name__ == "__main__":
    main()
