"""Says how much of what was written to a client the client has not taken yet.

A transport tells what it holds, but over TLS it tells only what is not encrypted yet: megabytes may wait below it, in a
buffer that nothing shows. There the kernel is asked, which counts the bytes that the other side has acknowledged.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios

_MUCH = 1 << 62
_ACKNOWLEDGED_AT = 120  # tcpi_bytes_acked in struct tcp_info, since Linux 4.1
_TCP_INFO_BYTES = 128


def unsent(transport: asyncio.Transport) -> int:
    """0 when nothing is left. Otherwise bytes; over TLS not their number, but one that falls as bytes are taken."""
    held = transport.get_write_buffer_size()
    if transport.get_extra_info("sslcontext") is None:
        return held
    try:
        sock: socket.socket = transport.get_extra_info("socket")
        (queued,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
        if not queued and not held:
            return 0
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        (acknowledged,) = struct.unpack_from("Q", info, _ACKNOWLEDGED_AT)
    except (AttributeError, OSError, ValueError, struct.error):
        return held  # it has ended, or this system does not tell
    return _MUCH - int(acknowledged)
