"""The few system calls that Python's standard library lacks, through libc (no compiler needed).

Imported by the kubelet and by the launcher that runs inside a container's new namespaces, so it loads
nothing but ctypes.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000

MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

_MOUNT_SETATTR = 442  # the same number on every architecture, as for all calls since Linux 5.1
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own. Raises OSError."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def enter_namespace(descriptor: int) -> None:
    """Move the calling thread into the namespace of an open descriptor. Raises OSError."""
    _check(_libc.setns(descriptor, 0), f"setns({descriptor})")


def unshare_mounts() -> None:
    """Give the calling process mounts of its own that nobody else sees. Raises OSError."""
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def die_with_parent() -> None:
    """Ask for SIGKILL when the thread that started this process ends. Raises OSError."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(9), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system or, with MS_BIND, a path. Raises OSError."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode() or None)
    _check(result, f"mount {source} on {target}")


def unmount(target: str) -> None:
    """Detach a mount, also while it is in use. Raises OSError."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def set_read_only(path: str, *, read_only: bool, recursive: bool) -> None:
    """Make a mount (and those below it) read-only or writable again. Needs Linux 5.12. Raises OSError."""
    attributes = _MountAttr()
    if read_only:
        attributes.attr_set = _MOUNT_ATTR_RDONLY
    else:
        attributes.attr_clr = _MOUNT_ATTR_RDONLY
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        path.encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"mount_setattr {path}")
