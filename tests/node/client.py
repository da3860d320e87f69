"""Asks a server with the official Node client, in a process of its own that is told what to ask line by line."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.node.environment import HERE, modules, node


class Client:
    """A process of Node that asks one server, line by line."""

    def __init__(self, url: str) -> None:
        variables = {"PATH": os.environ["PATH"], "BASE_URL": f"{url}/v1", "CLIENT": str(modules())}
        self._process = subprocess.Popen(
            [node(), str(HERE / "ask.cjs")],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, method: str, body: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
        """What the client made of the answer: `answer`, `chunks` or `error`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        plain = {**(body or {}), **(body or {}).get("extra_body", {})}
        plain.pop("extra_body", None)
        self._process.stdin.write(json.dumps({"method": method, "body": plain, **how}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def asked_of_both(
    direct: tuple[Client, str], routed: tuple[Client, str], method: str, body: dict[str, Any], **how: Any
) -> tuple[Any, Any]:
    """What the engine says, and what the router says, each asked for its own model name; no error."""
    plain, through = (client.ask(method, {**body, "model": model}, **how) for client, model in (direct, routed))
    assert "error" not in plain, plain
    assert "error" not in through, through
    return plain, through
