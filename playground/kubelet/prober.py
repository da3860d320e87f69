"""Carries out probes, and reports their results.

HTTP and TCP probes go to the pod's address from outside, as a kubelet's do, so a server that listens on the
pod's loopback only is not ready. Exec probes run inside the container.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from playground.kubelet.model import Json
from playground.kubelet.probes import Kind, ProbeSpec, initial_state, looks, observe
from playground.kubelet.process import run_inside
from playground.versions import kubernetes_minor

MAX_OUTPUT = 200
_USER_AGENT = f"kube-probe/{kubernetes_minor()}"


@dataclass(frozen=True, slots=True)
class Target:
    """The running container that is probed."""

    address: str
    container: Json
    pid: int
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class Heard:
    """What to do when a probe's result changes (`result`) or a counted look fails (`unhealthy`)."""

    result: Callable[[ProbeSpec, bool], None]
    unhealthy: Callable[[ProbeSpec, str], None]


def port_number(container: Json, port: int | str) -> int:
    """Return a port given by number or by the name of a container port. Raises ValueError."""
    if isinstance(port, int):
        return port
    for entry in container.get("ports", []):
        if entry.get("name") == port:
            return int(entry["containerPort"])
    if port.isdigit():
        return int(port)
    raise ValueError(f"couldn't find port: {port}")


async def check(spec_action: Json, target: Target, seconds: float) -> tuple[bool, str]:
    """Carry out an httpGet, tcpSocket or exec action once; return whether it succeeded and why not."""
    try:
        if "httpGet" in spec_action:
            return await _http(spec_action["httpGet"], target, seconds)
        if "tcpSocket" in spec_action:
            return await _tcp(spec_action["tcpSocket"], target, seconds)
        if "exec" in spec_action:
            code, output = await run_inside(target.pid, spec_action["exec"]["command"], target.env, seconds)
            return code == 0, output[:MAX_OUTPUT] or f"exit code {code}"
    except TimeoutError:
        return False, f"timed out after {seconds:g} s"
    except (OSError, ValueError) as error:
        return False, str(error)
    return False, f"the playground has no probe of type {', '.join(sorted(spec_action))}"


async def _http(action: Json, target: Target, seconds: float) -> tuple[bool, str]:
    host = action.get("host") or target.address
    scheme = action.get("scheme", "HTTP").lower()
    url = f"{scheme}://{host}:{port_number(target.container, action['port'])}/{action.get('path', '/').lstrip('/')}"
    headers = {"User-Agent": _USER_AGENT, "Accept": "*/*", "Connection": "close"}
    headers |= {header["name"]: header["value"] for header in action.get("httpHeaders", [])}
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
        ):
            good = 200 <= response.status < 400
            return good, "" if good else f"HTTP probe failed with statuscode: {response.status}"
    except aiohttp.ClientError as error:
        return False, f'Get "{url}": {error}'


async def _tcp(action: Json, target: Target, seconds: float) -> tuple[bool, str]:
    host = action.get("host") or target.address
    async with asyncio.timeout(seconds):
        _, writer = await asyncio.open_connection(host, port_number(target.container, action["port"]))
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True, ""


async def watch(
    spec: ProbeSpec, look: Callable[[], Awaitable[tuple[bool, str]]], heard: Heard, since_start: float
) -> None:
    """Probe until cancelled, or until a startup probe passes or a startup or liveness probe fails for good."""
    loop = asyncio.get_running_loop()
    zero = loop.time() - since_start
    state = initial_state(spec.kind)
    settled = False
    for moment in looks(spec, since_start):
        if settled and not moment.counts:
            continue
        wait = zero + moment.at - loop.time()
        # A look that took longer than the period does not cause a burst of late ones.
        if wait < 0 and moment.counts and state.outcome is not None:
            continue
        await asyncio.sleep(max(0.0, wait))
        good, why = await look()
        if not good and moment.counts:
            heard.unhealthy(spec, why)
        if not good and not moment.counts:
            continue
        before, state = state.passing, observe(state, spec, good)
        settled = state.passing is True
        if state.passing is not None and state.passing != before:
            heard.result(spec, state.passing)
            if spec.kind is Kind.STARTUP or (spec.kind is Kind.LIVENESS and not state.passing):
                return
