"""Prepares a new network namespace for a control plane.

Loopback up, the playground's address, the service range as local (so that any ClusterIP can be listened on
without an address of its own), and forwarding between pods. Spoken to the kernel directly (rtnetlink, RFC
3549): the `ip` command need not be installed.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Network
from pathlib import Path

from playground.kubelet.netlink import Netlink
from playground.layout import HOST_ADDRESS, SERVICE_RANGE

_RTM_NEWROUTE, _NLM_CREATE, _NLM_EXCL = 24, 0x400, 0x200
_RTA_DST, _RTA_OIF = 1, 4
_TABLE_LOCAL, _PROTO_BOOT, _SCOPE_HOST, _TYPE_LOCAL = 255, 3, 254, 2
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class HostNetlink(Netlink):
    """The requests of a pod's network, and local ranges."""

    def add_local_range(self, link: str, network: str) -> None:
        """Let every address of a range be this host's. Raises OSError."""
        message = local_route(self.index(link), IPv4Network(network))
        self._ask(_RTM_NEWROUTE, _NLM_CREATE | _NLM_EXCL, message, f"local range {network}")


def local_route(link: int, network: IPv4Network) -> bytes:
    """Return the body of RTM_NEWROUTE for `ip route add local NETWORK dev LINK` (struct rtmsg, rtattr)."""
    route = struct.pack(
        "=BBBBBBBBI",
        *(socket.AF_INET, network.prefixlen, 0, 0),
        *(_TABLE_LOCAL, _PROTO_BOOT, _SCOPE_HOST, _TYPE_LOCAL),
        0,
    )
    destination = struct.pack("=HH4s", 8, _RTA_DST, network.network_address.packed)
    return route + destination + struct.pack("=HHi", 8, _RTA_OIF, link)


def prepare() -> None:
    """Set up the current network namespace. Raises OSError."""
    link = HostNetlink()
    try:
        link.set_up("lo")
        link.add_address("lo", HOST_ADDRESS)
        link.add_local_range("lo", SERVICE_RANGE)
    finally:
        link.close()
    _FORWARDING.write_text("1", encoding="ascii")
