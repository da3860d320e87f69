"""Creates network, process and mount namespaces for an ordinary user.

With Linux namespaces made inside a user namespace, in which he is root, by `unshare` of util-linux. The
starter keeps three listening sockets on the host's loopback and one end of a pipe; everything inside ends
when that pipe closes (see inside.py).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from playground.errors import PlaygroundError

PROBE_SECONDS = 20
# Of the user's environment these would lead programs inside to somewhere outside.
_DROPPED = ("KUBECONFIG", "http_proxy", "https_proxy", "all_proxy", "no_proxy")

FORBIDDEN_HELP = """\
The playground needs Linux namespaces, and this machine does not let this user make them. One of these helps:
  - run it as root, or in a container with the capability SYS_ADMIN;
  - allow unprivileged user namespaces (as root), whichever of these your system has:
      sysctl -w kernel.apparmor_restrict_unprivileged_userns=0     (Ubuntu 23.10 and newer)
      sysctl -w kernel.unprivileged_userns_clone=1                 (Debian 10 and older)
      sysctl -w user.max_user_namespaces=10000                     (RHEL and others, if it is 0)
  - use another cluster with KServe, such as kind: with TIERWISE_TEST_KUBECONFIG=FILE the cluster tests run that need no
    more than an API server with KServe. The demo needs the playground."""


def loopback_listener(port: int = 0) -> socket.socket:
    """Return a listening socket on 127.0.0.1; 0 takes a free port. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def unshare_command(*, user_namespace: bool) -> list[str]:
    """Return the start of a command line that runs the rest in new namespaces."""
    user = ["--user", "--map-root-user"] if user_namespace else []
    return ["unshare", *user, "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]


def enter_command(process: int, folder: Path, *, processes: bool = True) -> list[str]:
    """Return the start of a command line that runs the rest in the namespaces of a process, in a folder.

    With `processes` it ends together with the playground; without, it is the caller's own child and takes its
    signals (to enter a process namespace, nsenter must fork, and it passes none on).
    """
    user = ["--preserve-credentials", "--user"] if _in_other_user_namespace(process) else []
    pid = ["--pid"] if processes else []
    return ["nsenter", *user, *pid, "--net", "--mount", f"--target={process}", "--", "env", f"--chdir={folder}", "--"]


def _in_other_user_namespace(process: int) -> bool:
    return os.readlink(f"/proc/{process}/ns/user") != os.readlink("/proc/self/ns/user")


def choose_namespaces() -> list[str]:
    """Return the unshare command that works here.

    Root falls back to namespaces without a user namespace. Raises PlaygroundError that says what to do.
    """
    if sys.platform != "linux":
        raise PlaygroundError("the playground needs Linux", "Use a Linux machine, or a virtual one.")
    for tool in ("unshare", "nsenter"):
        if shutil.which(tool) is None:
            raise PlaygroundError(f"{tool} is not installed", "Install the package util-linux.")
    complaints: list[str] = []
    for user_namespace in (True, False) if os.geteuid() == 0 else (True,):
        command = unshare_command(user_namespace=user_namespace)
        result = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
        if result.returncode == 0:
            return command
        complaints.append(result.stderr.strip())
    raise PlaygroundError(f"namespaces are forbidden here ({'; '.join(complaints)})", FORBIDDEN_HELP)


def inner_environment(outer: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return the environment of the processes inside: the user's, without what points outside."""
    kept = {name: value for name, value in outer.items() if name not in _DROPPED and name.lower() not in _DROPPED}
    path = kept.get("PYTHONPATH", "")
    # `playground` is a folder of the checkout, not an installed package.
    return kept | {"PYTHONPATH": f"{root}:{path}" if path else str(root), "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The running namespaces: the `unshare` process, the pipe that keeps them alive, and what they say."""

    process: subprocess.Popen[str]
    lifeline: int
    output: IO[str]

    def init(self) -> int:
        """Return process 1's number as the host sees it. Raises PlaygroundError if it has ended."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return int(children.read_text(encoding="ascii").split()[0])
        except (OSError, IndexError) as error:
            raise PlaygroundError("the playground has ended") from error

    def end(self) -> None:
        """Take everything down, and wait until the last process has gone."""
        os.close(self.lifeline)
        self.process.wait()


def enter(command: list[str], orders: str, descriptors: tuple[int, ...], lifeline: tuple[int, int]) -> Sandbox:
    """Start process 1 in new namespaces.

    `lifeline` is a pipe: the read end goes in, the write end stays with us. Raises OSError.
    """
    inner, outer = lifeline
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "playground.inside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[*descriptors, inner],
        env=inner_environment(os.environ, root),
        # The terminal's Ctrl-C is for the starter alone, which then takes things down in order.
        start_new_session=True,
    )
    os.close(inner)
    sandbox = Sandbox(process, outer, cast(IO[str], process.stdout))
    try:
        with cast(IO[str], process.stdin) as stream:
            stream.write(orders)
    except OSError:
        sandbox.end()
        raise
    return sandbox
