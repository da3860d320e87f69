"""Lets the kernel notice a peer that has vanished without a word.

An answer in one piece may take minutes in which neither side says anything. A peer whose machine or network is gone
would be waited for all that time, and a load balancer or a NAT between forgets a connection that is silent for long.
"""

from __future__ import annotations

import socket

_TIMES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


def keep_alive(sock: socket.socket) -> None:
    """A peer that has vanished is noticed in a minute and a half."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TIMES:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        return  # a pair of local sockets has no such option
