"""Gives a pod a network namespace and an address.

A pair of links, one end in the pod, both sides with plain /32 routes: no bridge, no forwarding rules. The
namespaces (network, hostname, shared memory) are held by open descriptors alone, so there is no pause
process and nothing is left behind when the kubelet ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from playground.kubelet.netlink import Netlink
from playground.kubelet.syscalls import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, unshare

HOST_ADDRESS = "10.200.0.1"
POD_RANGE = "10.200.0.0/16"
FIRST_POD = "10.200.1.1"

T = TypeVar("T")


class AddressPool:
    """Hands out pod addresses in turn, so that one just given back is not used again at once."""

    def __init__(self, first: str = FIRST_POD, network: str = POD_RANGE) -> None:
        """Start at `first` and stay inside `network`."""
        self._first, self._last = int(IPv4Address(first)), int(IPv4Network(network).broadcast_address) - 1
        self._next = self._first
        self._used: set[int] = set()

    def take(self) -> str:
        """Return an address that no pod has. Raises OSError if there is none."""
        for _ in range(self._first, self._last + 1):
            candidate = self._next
            self._next = self._first if candidate >= self._last else candidate + 1
            if candidate not in self._used:
                self._used.add(candidate)
                return str(IPv4Address(candidate))
        raise OSError("no pod address is left")

    def give_back(self, address: str) -> None:
        """Free an address."""
        self._used.discard(int(IPv4Address(address)))


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's namespaces, as open descriptors, and its address."""

    address: str
    link: str
    net: int
    ipc: int
    uts: int

    @property
    def descriptors(self) -> tuple[int, int, int]:
        """Return what a process needs to inherit to enter the namespaces."""
        return (self.net, self.ipc, self.uts)


class Network:
    """Makes and removes the sandboxes of all pods; must be created in the playground's own namespace."""

    def __init__(self) -> None:
        """Open the kernel's door in the current namespace. Raises OSError."""
        self._outside = Netlink()
        self._pool = AddressPool()

    async def create(self, hostname: str) -> Sandbox:
        """Return new namespaces with a link to the outside. Raises OSError."""
        address = self._pool.take()
        building = asyncio.ensure_future(_in_own_thread(lambda: self._build(hostname, address)))
        try:
            return await asyncio.shield(building)
        except OSError:
            self._pool.give_back(address)
            raise
        except asyncio.CancelledError:
            # A thread cannot be stopped half-way: what it makes is taken away again.
            await self.remove(await building)
            raise

    async def remove(self, sandbox: Sandbox) -> None:
        """Take the link away and let the namespaces go."""

        def work() -> None:
            try:
                self._outside.delete_link(sandbox.link)
            finally:
                for descriptor in sandbox.descriptors:
                    os.close(descriptor)

        try:
            await _in_own_thread(work)
        finally:
            self._pool.give_back(sandbox.address)

    def _build(self, hostname: str, address: str) -> Sandbox:
        # This thread leaves the playground's namespaces for ever, so it must not be one of a pool.
        unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC)
        socket.sethostname(hostname[:63])
        number = int(IPv4Address(address)) - int(IPv4Address(POD_RANGE.partition("/")[0]))
        link = f"veth{number}"
        net, ipc, uts = (os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "ipc", "uts"))
        inside = Netlink()
        try:
            self._outside.add_veth(link, "eth0", net)
            self._outside.set_up(link)
            self._outside.add_route(link, address, source=HOST_ADDRESS)
            inside.set_up("lo")
            inside.set_up("eth0")
            inside.add_address("eth0", address)
            inside.add_route("eth0", HOST_ADDRESS)
            inside.add_route("eth0", None, gateway=HOST_ADDRESS)
        except OSError:
            for descriptor in (net, ipc, uts):
                os.close(descriptor)
            raise
        finally:
            inside.close()
        return Sandbox(address=address, link=link, net=net, ipc=ipc, uts=uts)


async def _in_own_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread made for it alone."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="pod-network").start()
    return await asyncio.wrap_future(done)
