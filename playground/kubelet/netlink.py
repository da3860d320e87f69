"""Links, addresses and routes, spoken to the kernel directly (rtnetlink, RFC 3549).

Only the six requests that a pod's network needs. A netlink socket belongs for ever to the network namespace
of the thread that made it; a pod's own socket is therefore made by the thread that creates the namespace and
works from any thread afterwards, which no library that opens sockets lazily guarantees.
"""

from __future__ import annotations

import os
import socket
import struct
import threading

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE = 16, 17, 18, 20, 24
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2

_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_IFF_UP = 1
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK, _UNICAST = 254, 4, 0, 253, 1


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _name(name: str) -> bytes:
    return _attribute(_IFLA_IFNAME, name.encode() + b"\0")


class Netlink:
    """One rtnetlink socket in the network namespace of the thread that creates it."""

    def __init__(self) -> None:
        """Open the socket. Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.settimeout(10)
        self._sequence = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def add_veth(self, name: str, peer: str, peer_namespace: int) -> None:
        """Make a pair of links, the second in the namespace of that descriptor."""
        other = _attribute(_VETH_PEER, _link() + _name(peer) + self._fd(peer_namespace))
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, other)
        self._ask(_NEWLINK, _CREATE | _EXCL, _link() + _name(name) + _attribute(_IFLA_LINKINFO, info), name)

    def delete_link(self, name: str) -> None:
        """Remove a link (and its peer)."""
        self._ask(_DELLINK, 0, _link() + _name(name), name)

    def set_up(self, name: str) -> None:
        """Switch a link on."""
        self._ask(_NEWLINK, 0, _link(0, _IFF_UP, _IFF_UP) + _name(name), name)

    def index(self, name: str) -> int:
        """Return a link's number."""
        answer = self._ask(_GETLINK, 0, _link() + _name(name), name)
        return int(struct.unpack_from("=i", answer, 4)[0])

    def add_address(self, name: str, address: str) -> None:
        """Give a link a /32 address."""
        packed = socket.inet_aton(address)
        body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, self.index(name))
        body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
        self._ask(_NEWADDR, _CREATE | _EXCL, body, f"{address} on {name}")

    def add_route(self, name: str, destination: str | None, *, gateway: str = "", source: str = "") -> None:
        """Add a route to one address (None: the default route) over a link."""
        length, scope = (32 if destination else 0), (_SCOPE_UNIVERSE if gateway else _SCOPE_LINK)
        body = struct.pack("=BBBBBBBBI", socket.AF_INET, length, 0, 0, _TABLE_MAIN, _PROTO_STATIC, scope, _UNICAST, 0)
        if destination:
            body += _attribute(_RTA_DST, socket.inet_aton(destination))
        if gateway:
            body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
        if source:
            body += _attribute(_RTA_PREFSRC, socket.inet_aton(source))
        body += _attribute(_RTA_OIF, struct.pack("=i", self.index(name)))
        self._ask(_NEWROUTE, _CREATE | _EXCL, body, f"route to {destination or 'default'} over {name}")

    @staticmethod
    def _fd(descriptor: int) -> bytes:
        return _attribute(_IFLA_NET_NS_FD, struct.pack("=i", descriptor))

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> bytes:
        """Send one request; return the body of the answer. Raises OSError with the kernel's errno."""
        with self._lock:
            self._sequence += 1
            acknowledge = 0 if kind == _GETLINK else _ACK
            header = struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST | acknowledge, self._sequence, 0)
            self._socket.send(header + body)
            answer = self._socket.recv(65536)
        length, kind_back, *_ = struct.unpack_from("=IHHII", answer)
        if kind_back == _ERROR:
            number = -struct.unpack_from("=i", answer, 16)[0]
            if number:
                raise OSError(number, f"netlink: {what}: {os.strerror(number)}")
        return answer[16:length]
